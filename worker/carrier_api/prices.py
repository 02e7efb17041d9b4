"""Prices in the API's text, and every number that such a text may mean."""

import re
from decimal import Decimal

from worker.carrier_api.bodies import Number
from worker.carrier_api.fields import table, text

UNREADABLE = "no decimal text"
"""Represents a price that is neither text nor number."""

_SIMPLE = re.compile(r"\d{1,30}\.\d{1,30}", re.ASCII)
# At most one mark, the decimal mark.
_PLAIN = re.compile(r"[+-]?(?:\d{1,30}[.,]?\d{0,30}|[.,]\d{1,30})(?:[eE][+-]?\d{1,3})?", re.ASCII)
# The same mark before every three digits, then optionally the other one and a fraction.
_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}([.,' ])\d{3}(?:\1\d{3}){0,9}(?:(?!\1)[.,]\d{0,30})?", re.ASCII)
_ALIKE = str.maketrans(
    {
        "\N{MINUS SIGN}": "-",
        "\N{RIGHT SINGLE QUOTATION MARK}": "'",
        "\N{MODIFIER LETTER APOSTROPHE}": "'",
        "\N{NO-BREAK SPACE}": " ",
        "\N{NARROW NO-BREAK SPACE}": " ",
        "\N{FIGURE SPACE}": " ",
        "\N{THIN SPACE}": " ",
    }
)


def readings(price: str) -> tuple[Decimal, ...]:
    """Every number that the text may mean, lowest first: none, one, or two for `1.050` and `1,050`."""
    written = price.translate(_ALIKE).strip()
    found: set[Decimal] = set()
    if _PLAIN.fullmatch(written):
        found.add(Decimal(written.replace(",", ".")))
    # The point of a JSON number is a decimal point.
    if not isinstance(price, Number) and (grouped := _GROUPED.fullmatch(written)):
        found.add(Decimal(written.replace(grouped[1], "").replace(",", ".")))
    return tuple(sorted(found))


def decimal_text(value: object) -> str | None:
    """A number in the API's own text, for the event; None for anything else."""
    if not isinstance(value, str):
        return None
    return str(value).strip() if _SIMPLE.fullmatch(value) or readings(value) else None


def price_text(price: object, name: str) -> str | None:
    """One amount of a price in the API's own text; None if not stated."""
    amount = price.get(name) if isinstance(price, dict) else price and UNREADABLE
    if amount is None or isinstance(amount, str):
        return amount if amount and not amount.isspace() else None
    return UNREADABLE


def currency(value: object) -> str | None:
    """The code in upper case, whether it is text or part of an object; None if not stated."""
    code = text(value) or text(table(value).get("IsoCode"))
    return code.strip().upper() or None if code else None
