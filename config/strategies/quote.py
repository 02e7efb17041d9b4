"""`{ quote = "cheapest" }` or `"earliest"`: request quotes, choose one, allocate with it."""

from collections.abc import Sequence
from typing import ClassVar

from config.strategies.strategy import V1, V2, Flavour, QuoteChoice, RequestSpec, Strategy


def quotes_request(flavour: Flavour, reference: str) -> RequestSpec:
    """The request for a shipment's quotes; it allocates nothing."""
    if flavour == V1:
        return RequestSpec(method="GET", path=("quotes", "consignment", reference))
    return RequestSpec(method="POST", path=("shipments", reference, "quote"))


def request_with_quote(flavour: Flavour, reference: str, quote_reference: str) -> RequestSpec:
    """The request that allocates a shipment with one of its quotes."""
    if flavour == V1:
        return RequestSpec(method="PUT", path=("allocation", reference, "allocatewithquote", quote_reference))
    return RequestSpec(method="PUT", path=("shipments", reference, "allocate", "quote", quote_reference))


class Quote(Strategy):
    """One shipment and two calls in both flavours: its quotes, then the chosen one."""

    name: ClassVar[str] = "quote"
    most: ClassVar[dict[Flavour, int]] = {V2: 1, V1: 1}
    needs_quote: ClassVar[frozenset[Flavour]] = frozenset({V2, V1})

    quote: QuoteChoice
    """Which quote is chosen."""

    @property
    def choice(self) -> QuoteChoice:
        """The merchant's own."""
        return self.quote

    def request(self, flavour: Flavour, references: Sequence[str], *, bulk: bool = False) -> RequestSpec:  # noqa: ARG002  # never bulk
        """The request for quotes."""
        (reference,) = references
        return quotes_request(flavour, reference)
