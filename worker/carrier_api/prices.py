"""Prices as the API writes them, and every number that such a text may stand for."""

import re
from decimal import Decimal

from worker.carrier_api.bodies import Number
from worker.carrier_api.fields import table, text

UNREADABLE = "no decimal text"
"""Stands for a price that is neither a text nor a number."""

_SIMPLE = re.compile(r"\d{1,30}\.\d{1,30}", re.ASCII)
# One mark at most, and it is the decimal mark.
_PLAIN = re.compile(r"[+-]?(?:\d{1,30}[.,]?\d{0,30}|[.,]\d{1,30})(?:[eE][+-]?\d{1,3})?", re.ASCII)
# The same mark before every three digits, then perhaps the other one and a fraction.
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
    """Every number that the text may mean, the lowest first: none, one, or two for `1.050` and `1,050`."""
    written = price.translate(_ALIKE).strip()
    found: set[Decimal] = set()
    if _PLAIN.fullmatch(written):
        found.add(Decimal(written.replace(",", ".")))
    # The point of a JSON number is a decimal point.
    if not isinstance(price, Number) and (grouped := _GROUPED.fullmatch(written)):
        found.add(Decimal(written.replace(grouped[1], "").replace(",", ".")))
    return tuple(sorted(found))


def decimal_text(value: object) -> str | None:
    """A number in the words of the API, for the event: however it is written; None for anything else."""
    if not isinstance(value, str):
        return None
    return str(value).strip() if _SIMPLE.fullmatch(value) or readings(value) else None


def price_text(price: object, name: str) -> str | None:
    """One amount of a price in the API's own text; None when nothing is stated."""
    amount = price.get(name) if isinstance(price, dict) else price and UNREADABLE
    if amount is None or isinstance(amount, str):
        return amount if amount and not amount.isspace() else None
    return UNREADABLE


def currency(value: object) -> str | None:
    """The code in capitals, whether it stands alone or in a table; None when none is stated."""
    code = text(value) or text(table(value).get("IsoCode"))
    return code.strip().upper() or None if code else None
