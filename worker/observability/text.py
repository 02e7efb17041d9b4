"""Escapes text from outside for printing."""


def visible(text: str) -> str:
    r"""The text with control characters, line ends and invisible characters escaped: `\n`, `\x1b`, `\u202e`."""
    return "".join(letter if letter.isprintable() else _written_out(letter) for letter in text)


def _written_out(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")
