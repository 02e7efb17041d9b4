"""The one seam between a client and a generation of the API: what to send, and what an answer means. No I/O."""

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
    """A generation of the API. Every `now` is an aware time; no method that reads an answer ever raises."""

    def headers(self, key: str) -> dict[str, str]:
        """The headers of every request."""

    def encode(self, call: RequestSpec) -> bytes | None:
        """The body of a request, None when it has none."""

    def read(
        self, strategy: Strategy, references: Sequence[str], response: ApiResponse, now: datetime, /
    ) -> dict[str, Outcome]:
        """What the answer to an allocation call came to: exactly one outcome for each reference asked for."""

    def read_back_request(self, reference: str) -> RequestSpec:
        """The call that reads a shipment back."""

    def find(self, reference: str, response: ApiResponse, now: datetime, /) -> Finding:
        """What the answer to a read-back came to; never refused."""

    def parse_quotes(self, reference: str, response: ApiResponse, now: datetime, /) -> tuple[Offer, ...] | Outcome:
        """The quotes for a shipment, at least one; or what asking for them came to."""


@lru_cache(maxsize=8)
def dialect_for(flavour: Flavour, body_format: Literal["json", "xml"] = "json") -> Dialect:
    """The wire of a merchant; v2 has only JSON."""
    return ConsignmentsV1(format=body_format) if flavour == V1 else ShipmentsV2()


def target(call: RequestSpec) -> str:
    """The path of a call below the base URL, every segment escaped.

    Raises ValueError for a segment that a URL would resolve away: it would be another path.
    """
    if any(segment in {"", ".", ".."} for segment in call.path):
        raise ValueError(f"no such path: {call.path}")
    return "/" + "/".join(map(_escaped, call.path))


@lru_cache(maxsize=1024)  # all but the shipment's reference come again and again
def _escaped(segment: str) -> str:
    return quote(segment, safe="")
