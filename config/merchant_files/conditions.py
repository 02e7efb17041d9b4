"""The conditions of a rule (`when`): text, numbers and ranges of numbers."""

import math
from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, NonNegativeFloat, model_validator

_NOT_EMPTY = ConfigDict(
    frozen=True,
    extra="forbid",
    strict=True,
    use_attribute_docstrings=True,
    json_schema_extra={"minProperties": 1},
)


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _number(value: object) -> object:
    """TOML numbers only: pydantic would parse a Decimal from text too."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ValueError("must be a number that is not below 0, without quotes")
    return value


def _as_range(value: object) -> object:
    """A single number is a range of one value."""
    if isinstance(value, dict):
        return value
    return {"at_least": _number(value), "at_most": _number(value)}


Bound = Annotated[Decimal, Field(strict=False), BeforeValidator(_number, json_schema_input_type=NonNegativeFloat)]
Word = Annotated[str, Field(min_length=1)]
Words = Annotated[
    tuple[Word, ...],
    BeforeValidator(_as_list, json_schema_input_type=Word | Annotated[tuple[Word, ...], Field(min_length=1)]),
    Field(min_length=1, strict=False),
]


class Range(BaseModel):
    """A number, or `{ over, under, at_least, at_most }`; all that are given must hold."""

    model_config = _NOT_EMPTY

    over: Bound | None = None
    """More than this."""
    under: Bound | None = None
    """Less than this."""
    at_least: Bound | None = None
    """This or more."""
    at_most: Bound | None = None
    """This or less."""

    @model_validator(mode="after")
    def _says_something(self) -> "Range":
        if not self.model_fields_set:
            raise ValueError("an empty range; give a number, or one of over, under, at_least, at_most")
        return self


Number = Annotated[Range, BeforeValidator(_as_range, json_schema_input_type=NonNegativeFloat | Range)]


class Conditions(BaseModel):
    """`when`: all given conditions must hold; one on a fact that the order does not state does not hold.

    Text is stored as written; `config.text` defines which texts are equal.
    """

    model_config = _NOT_EMPTY

    country: Words | None = None
    """One or several countries."""
    postcode_prefix: Words | None = None
    """The beginning of the postcode; a space at the end is part of it."""
    shipping_method: Words | None = None
    """One or several shipping methods."""
    tags_any: Words | None = None
    """Tags of which the shipment has at least one."""
    tags_all: Words | None = None
    """Tags all of which the shipment has."""
    currency: Words | None = None
    """One or several currencies of the goods' value."""
    weight_kg: Number | None = None
    """The weight in kilograms: a number or a range."""
    value: Number | None = None
    """What the goods are worth: a number or a range."""
    shipments: Number | None = None
    """How many shipments the order has: a number or a range."""

    @model_validator(mode="after")
    def _says_something(self) -> "Conditions":
        if not self.model_fields_set:
            raise ValueError("no condition; the case without any is [allocation]")
        return self
