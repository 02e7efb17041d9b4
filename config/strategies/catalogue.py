"""All strategies, and the type that parses one from a merchant file."""

from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator
from pydantic_core import PydanticCustomError

from config.strategies.carrier_service import CarrierService
from config.strategies.cheapest_quote import CheapestQuote
from config.strategies.default_rules import DefaultRules
from config.strategies.filters import Filters
from config.strategies.quote import Quote
from config.strategies.service_group import ServiceGroup
from config.strategies.strategy import Flavour, Strategy
from config.strategies.virtual_service import VirtualService

STRATEGIES: tuple[type[Strategy], ...] = (
    VirtualService,
    CarrierService,
    ServiceGroup,
    DefaultRules,
    CheapestQuote,
    Filters,
    Quote,
)

_BY_NAME = {strategy.name: strategy for strategy in STRATEGIES}


def _strategy(value: object) -> Strategy:
    """The strategy of a table with one key; an invalid argument is reported at its own key."""
    if isinstance(value, Strategy):
        return value
    return _BY_NAME[_only_key(value)].model_validate(value)


def _only_key(value: object) -> str:
    """The one key of the table, which must be the name of a strategy."""
    known = ", ".join(_BY_NAME)
    if not isinstance(value, dict):
        raise PydanticCustomError("strategy", "A strategy is a table with one key, one of: {known}", {"known": known})
    if len(value) != 1:
        found = ", ".join(map(str, value)) or "none"
        words = "A strategy is a table with exactly one key, found: {found}; known strategies: {known}"
        raise PydanticCustomError("strategy", words, {"found": found, "known": known})
    (name,) = value
    if name not in _BY_NAME:
        words = "Unknown strategy {name}; known strategies: {known}"
        raise PydanticCustomError("strategy", words, {"name": str(name), "known": known})
    return str(name)


def _table(strategy: Strategy) -> dict[str, Any]:
    return dict(strategy.table)


AnyStrategy = Annotated[
    Strategy,
    PlainValidator(
        _strategy,
        # Only the JSON Schema uses this union: its error messages would list seven wrong guesses.
        json_schema_input_type=VirtualService
        | CarrierService
        | ServiceGroup
        | DefaultRules
        | CheapestQuote
        | Filters
        | Quote,
    ),
    PlainSerializer(_table),
]
"""A strategy as a field of a pydantic model: a table with one key."""


def available(flavour: Flavour) -> tuple[str, ...]:
    """The names of the strategies that the flavour has, in the order of the catalogue."""
    return tuple(strategy.name for strategy in STRATEGIES if flavour in strategy.most)
