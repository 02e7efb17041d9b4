"""Text for people: escaped, counted, durations, times."""

from datetime import UTC, datetime

_DAY_S, _HOUR_S, _MINUTE_S = 86400, 3600, 60


def visible(text: str) -> str:
    r"""The text with control characters, line ends and invisible characters escaped: `\n`, `\x1b`, `\u202e`."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else _written_out(letter) for letter in text)


def _written_out(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")


def duration(seconds: float) -> str:
    """A duration: `0.4 s`, `42 s`, `3 min 5 s`, `2 h 5 min`, `4 d 1 h`."""
    if seconds < 1:
        return f"{seconds:.1f} s"
    for unit, name, lower, lower_name in (
        (_DAY_S, "d", _HOUR_S, "h"),
        (_HOUR_S, "h", _MINUTE_S, "min"),
        (_MINUTE_S, "min", 1, "s"),
    ):
        if seconds >= unit:
            rest = int(seconds % unit // lower)
            return f"{int(seconds // unit)} {name}" + (f" {rest} {lower_name}" if rest else "")
    return f"{int(seconds)} s"


def clock(seconds: float) -> str:
    """A time in UTC, to the second: `2026-11-21 10:03:07Z`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def count(number: int, noun: str) -> str:
    """`1 shipment`, `2 shipments`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
