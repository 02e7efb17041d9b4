"""Examples in the help of commands."""


def example(*lines: str) -> str:
    """The end of a command's help: command lines to copy, which click does not join into a paragraph."""
    return "\n".join(["\b", "Example:", *(f"  {line}" for line in lines)])
