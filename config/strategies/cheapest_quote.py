"""`{ cheapest_quote = true }`: the carrier service with the cheapest quote."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from config.strategies.quote import quotes_request
from config.strategies.strategy import V1, V2, Flavour, RequestSpec, Strategy


class CheapestQuote(Strategy):
    """One shipment per call; v1 compares quotes itself, for v2 the worker requests them and chooses the cheapest."""

    name: ClassVar[str] = "cheapest_quote"
    most: ClassVar[dict[Flavour, int]] = {V2: 1, V1: 1}
    needs_quote: ClassVar[frozenset[Flavour]] = frozenset({V2})

    cheapest_quote: Literal[True]
    """The cheapest of all quotes."""

    def request(self, flavour: Flavour, references: Sequence[str], *, bulk: bool = False) -> RequestSpec:  # noqa: ARG002  # never bulk
        """`PUT /allocation/{ref}/allocatewithcheapestquote`, or v2's request for quotes."""
        (reference,) = references
        if flavour == V1:
            return RequestSpec(method="PUT", path=("allocation", reference, "allocatewithcheapestquote"))
        return quotes_request(flavour, reference)
