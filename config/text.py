"""Normalizes text before it is compared."""

import unicodedata

BYTE_ORDER_MARK = "\ufeff"
"""Written before text by some editors; not part of it."""


def normal(text: str) -> str:
    """The text in Unicode NFC, each run of white space as one space, and none at the ends."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def caseless(text: str) -> str:
    """The normal form of case-insensitive text."""
    # Decomposed first, as some characters change case only without their accents.
    return normal(unicodedata.normalize("NFD", text).casefold())
