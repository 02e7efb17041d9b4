"""The base of all strategies: a value from a merchant file that builds its request."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

Flavour = Literal["shipments-v2", "consignments-v1"]
V2: Flavour = "shipments-v2"
V1: Flavour = "consignments-v1"

QuoteChoice = Literal["cheapest", "earliest"]


def _no_path_step(reference: str) -> str:
    if reference in {".", ".."}:
        raise ValueError(f"{reference} is not a reference")
    return reference


NO_PATH_STEP = (AfterValidator(_no_path_step), Field(json_schema_extra={"not": {"enum": [".", ".."]}}))
"""Refuses `.` and `..`, which a URL's path reads as "here" and "up" however they are escaped."""

Reference = Annotated[
    str,
    StringConstraints(min_length=1, max_length=100, pattern=r"^[ -~]*[!-~][ -~]*$"),
    *NO_PATH_STEP,
]
"""The vendor's reference of a carrier service or group: printable ASCII, escaped before it enters a path."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestSpec:
    """One request to the allocation API, before it has a host, a key or a wire format.

    `path` holds unescaped segments; the sender escapes each one.
    `root` names the document element of an XML body.
    """

    method: Literal["GET", "PUT", "POST"]
    path: tuple[str, ...]
    body: dict[str, Any] | None = None
    root: str | None = None


class Strategy(BaseModel):
    """One way to request an allocation, written in a merchant file as a table with one key: its name.

    `most`: shipments per call, for each flavour that has the strategy.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)

    name: ClassVar[str]
    most: ClassVar[dict[Flavour, int]]
    most_bulk: ClassVar[dict[Flavour, int]] = {}
    """As `most`, for merchants with `bulk = true`, which use the "many" endpoints."""
    needs_quote: ClassVar[frozenset[Flavour]] = frozenset()
    """The flavours where `request` only asks for quotes; the allocation is a second request with the chosen one."""

    @property
    def choice(self) -> QuoteChoice:
        """Which quote to choose, where the strategy needs one."""
        return "cheapest"

    def per_call(self, flavour: Flavour, *, bulk: bool = False) -> int:
        """The most shipments of one call of this strategy."""
        if bulk and flavour in self.most_bulk:
            return self.most_bulk[flavour]
        return self.most[flavour]

    def unsupported_reason(self, flavour: Flavour) -> str | None:
        """Why a merchant of this flavour cannot use the strategy; None if it can."""
        return None if flavour in self.most else f"{self.name} is not a strategy of {flavour}"

    def request(self, flavour: Flavour, references: Sequence[str], *, bulk: bool = False) -> RequestSpec:
        """The request for these shipments (for their quotes, where the strategy needs one)."""
        # Only a subclass knows its endpoint.
        raise NotImplementedError(f"{type(self).__name__} builds no call")

    @cached_property
    def table(self) -> Mapping[str, Any]:
        """The strategy as in merchant files and events: `{"carrier_service": "REF"}`."""
        return self.model_dump(mode="json", exclude_defaults=True)

    def __str__(self) -> str:
        """`carrier_service FF_LINET-00001`, for logs and Flower."""
        return strategy_text(self.table)


def strategy_text(table: Mapping[str, Any]) -> str:
    """The table of a strategy as text: `carrier_service REF`, `default_rules`, or a filter as TOML."""
    return " ".join(name if value is True else f"{name} {_toml(value)}" for name, value in table.items())


def _toml(value: Any) -> str:
    match value:
        case str():
            return value
        case Mapping():
            return f"{{ {', '.join(f'{name} = {_quoted(each)}' for name, each in value.items())} }}"
        case _:
            return str(value)


def _quoted(value: Any) -> str:
    """A TOML value. Tags and directions are plain words, whose JSON is TOML."""
    return json.dumps(value, ensure_ascii=False)
