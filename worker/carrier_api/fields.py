"""Reads fields of a response, where anything may be missing or of another type."""

import re
from datetime import UTC, datetime
from typing import Any

LONGEST_MESSAGE = 300
HIDDEN = "[key]"
"""Replaces an API key in a response."""

# Control characters, line separators, and lone surrogates, which UTF-8 cannot encode.
_UNWANTED = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_SMALL_NUMBER = re.compile(r"\d{1,4}", re.ASCII)
_SLUG = re.compile(r"[a-z0-9_.-]{1,64}", re.ASCII)
_ABSENT: dict[str, Any] = {}


def text(value: object) -> str | None:
    """The text without control characters; None if it is not text or empty."""
    if not isinstance(value, str):
        return None
    # Nearly every text is printable; the test is far cheaper than the substitution.
    return (value if value.isprintable() else _UNWANTED.sub(" ", value).strip(" ")) or None


def token(value: object) -> str | None:
    """A reference or a link; None if a character was lost or the key redacted."""
    if isinstance(value, str) and value.isascii() and value.isprintable() and HIDDEN not in value:  # nearly always
        return value or None
    found = text(value)
    return None if found is None or HIDDEN in found or "\ufffd" in found else found


def texts(value: object) -> tuple[str, ...]:
    """The texts in a list."""
    return tuple([found for item in entries(value) if (found := text(item))])


def tokens(value: object) -> tuple[str, ...]:
    """The references or links in a list."""
    return tuple([found for item in entries(value) if (found := token(item))])


def entries(value: object) -> list[Any]:
    """The value if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def table(value: object) -> dict[str, Any]:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else _ABSENT


def tables(value: object) -> list[dict[str, Any]]:
    """The objects in a list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def small_number(value: object) -> int | None:
    """A whole number of at most four digits; None for anything else."""
    return int(value) if isinstance(value, str) and _SMALL_NUMBER.fullmatch(value) else None


def slug(value: object) -> str | None:
    """A code such as `shipment_not_found`, in lower case; None if it cannot be one."""
    if not isinstance(value, str):
        return None
    lower = value.lower()
    return lower if _SLUG.fullmatch(lower) else None


def instant(value: object) -> datetime | None:
    """An ISO 8601 time, UTC without an offset; None if it is invalid."""
    if not isinstance(value, str):
        return None
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def named(name: object, words: object) -> str | None:
    """`name: words` as far as both are stated; None without words."""
    stated, about = text(words), text(name)
    return f"{about}: {stated}" if about and stated else stated


def message(*parts: str | None) -> str:
    """The stated parts, each once, in one line."""
    line = "; ".join(dict.fromkeys(part for part in parts if part))
    return line if len(line) <= LONGEST_MESSAGE else line[: LONGEST_MESSAGE - 1] + "…"
