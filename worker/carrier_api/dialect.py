"""The interface between the client and a generation of the API: what to send, and what a response means. No I/O."""

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Literal, Protocol
from urllib.parse import quote

from config.strategies.strategy import V1, Flavour, RequestSpec, Strategy
from tasks.rules.outcome import Finding, Outcome
from worker.carrier_api.quotes import Offer
from worker.carrier_api.response import ApiResponse
from worker.carrier_api.v1.dialect import ConsignmentsV1
from worker.carrier_api.v2.dialect import ShipmentsV2


class Dialect(Protocol):
    """A generation of the API. Every `now` is an aware time; methods that parse a response never raise."""

    def headers(self, key: str) -> dict[str, str]:
        """The headers of every request."""

    def encode(self, call: RequestSpec) -> bytes | None:
        """The body of a request, None without one."""

    def read(
        self, strategy: Strategy, references: Sequence[str], response: ApiResponse, now: datetime, /
    ) -> dict[str, Outcome]:
        """The outcomes of an allocation call: exactly one for each requested reference."""

    def read_back_request(self, reference: str) -> RequestSpec:
        """The request that reads a shipment back."""

    def find(self, reference: str, response: ApiResponse, now: datetime, /) -> Finding:
        """The finding of a read-back; never refused."""

    def parse_quotes(self, reference: str, response: ApiResponse, now: datetime, /) -> tuple[Offer, ...] | Outcome:
        """The quotes for a shipment, at least one; or the outcome without any."""


@lru_cache(maxsize=8)
def dialect_for(flavour: Flavour, body_format: Literal["json", "xml"] = "json") -> Dialect:
    """The dialect of a merchant; v2 has only JSON."""
    return ConsignmentsV1(format=body_format) if flavour == V1 else ShipmentsV2()


def target(call: RequestSpec) -> str:
    """The path of a request below the base URL, every segment escaped.

    Raises ValueError for a segment that URL resolution would remove.
    """
    if any(segment in {"", ".", ".."} for segment in call.path):
        raise ValueError(f"no such path: {call.path}")
    return "/" + "/".join(map(_escaped, call.path))


@lru_cache(maxsize=1024)  # all but the shipment's reference recur
def _escaped(segment: str) -> str:
    return quote(segment, safe="")
