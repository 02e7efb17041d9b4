"""Normalizes text before it is compared."""

import unicodedata

BYTE_ORDER_MARK = "\ufeff"
"""What some editors put before a text; it belongs to none."""


def normal(text: str) -> str:
    """The text in Unicode NFC, each run of white space one blank, and none at its ends."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def caseless(text: str) -> str:
    """The normal form of a text whose capitals do not matter."""
    # Decomposed first, as some letters have another case only without their accents.
    return normal(unicodedata.normalize("NFD", text).casefold())
