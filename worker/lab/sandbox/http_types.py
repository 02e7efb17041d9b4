"""The values that pass between the HTTP server and the two generations of the API, and their JSON text."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from json.encoder import encode_basestring_ascii
from typing import Protocol, TypeAlias

from worker.lab.sandbox.effect import Special
from worker.lab.sandbox.fault import Kind

Tree: TypeAlias = Mapping[str, "Tree"] | Sequence["Tree"] | str | float | bool | Decimal | None
"""A body before it has a format."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Incoming:
    """One accepted request; `base` is the absolute address that links in the response start with."""

    method: str
    segments: Sequence[str]
    key: str
    base: str
    body: bytes = b""
    xml_in: bool = False
    xml_out: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """One response, ready to send."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    retry_after_s: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Detail:
    """One cause of an error; `concerns` names the property or carrier service it is about."""

    code: str
    message: str
    concerns: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ApiError:
    """An error before it has the form of v1 or v2. `code` is the parent, `details` are the causes."""

    status: int
    code: str
    message: str
    details: tuple[Detail, ...] = ()
    retry_after_s: int | None = None

    @property
    def cause(self) -> str:
        """The most specific code there is."""
        return self.details[0].code if self.details else self.code


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """The endpoint of a request: its kind, the shipments it concerns, and the action (now in Unix seconds).

    `in_order`: the shipments are allocated one after the other rather than accepted as a whole.
    """

    kind: Kind
    references: tuple[str, ...]
    act: Callable[[float, Special], Reply]
    in_order: bool = False


class Flavour(Protocol):
    """One generation of the API."""

    @property
    def key_header(self) -> str:
        """The header with the API key."""

    @property
    def version_header(self) -> str:
        """The header with the version."""

    def endpoint(self, request: Incoming) -> Endpoint | Reply:
        """The endpoint of a request, or the response to a request that matches none."""

    def error(self, error: ApiError) -> Reply:
        """The error in this generation's form."""


def caused(status: int, code: str, cause: str, message: str) -> ApiError:
    """An error with one cause and the same message."""
    return ApiError(status=status, code=code, message=message, details=(Detail(code=cause, message=message),))


def json_text(tree: Tree) -> str:
    """JSON in which a decimal keeps its digits: a price of 2.00 is printed as 2.00, as the vendor does."""
    match tree:
        case str():
            return encode_basestring_ascii(tree)
        case Mapping():
            return "{" + ",".join([f'"{name}":{json_text(value)}' for name, value in tree.items()]) + "}"
        case Sequence():
            return "[" + ",".join([json_text(value) for value in tree]) + "]"
        case Decimal():
            return str(tree)
        case _:
            return json.dumps(tree)


def json_reply(status: int, tree: Tree, retry_after_s: int | None = None) -> Reply:
    """A JSON response."""
    return Reply(status=status, body=json_text(tree).encode(), retry_after_s=retry_after_s)


def timestamp(at: float) -> str:
    """Unix seconds as an ISO 8601 time in UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat()
