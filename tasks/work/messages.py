"""The content of start messages and chain links: references and tokens only, as the broker and Flower expose them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tasks.rules.shipment import Shipment


class FellBack(NamedTuple):
    """A shipment whose last step was refused, and the lease token that owns it for the next step."""

    shipment: Shipment
    token: str


class LinkClaim(NamedTuple):
    """Shipments of one merchant at the same step, and the lease token that owns them."""

    token: str
    merchant: str
    step: int
    references: Sequence[str]

    def as_text(self) -> str:
        """As one line, since Flower does not show nested values; fields contain no spaces and are joined by them."""
        return " ".join((self.token, self.merchant, str(self.step), *self.references))


def parse_link_claim(text: str) -> LinkClaim:
    """Parse the line that `LinkClaim.as_text` writes; raises ValueError if it is malformed."""
    token, merchant, step, *references = text.split(" ")
    return LinkClaim(token=token, merchant=merchant, step=int(step), references=tuple(references))


FINISHES = ("allocated", "fell_back", "parked", "failed")
"""How shipments leave a task; the task result counts each."""

IN_PROGRESS = "in_progress"
"""The task result's count of shipments that are still in flight in the child when the task returns."""

_KNOWN = {"shipments", "claims", "merchants", IN_PROGRESS, *FINISHES}


class StartMessage(NamedTuple):
    """The content of a start message, for display only; the child claims whatever is due when it runs.

    `shipments`, `strategy`: of the named merchant; `merchants`: number of merchants with due shipments.
    """

    merchants: int
    merchant: str
    shipments: int
    strategy: str

    def as_message(self) -> dict[str, Any]:
        """As a JSON-serializable mapping."""
        return self._asdict()


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """The shipments of a chain link. `unknown_fields`: fields of a newer version, passed on unchanged."""

    claims: tuple[LinkClaim, ...] = ()
    unknown_fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shipments(self) -> int:
        """Number of shipments."""
        return sum(len(each.references) for each in self.claims)

    def as_message(self) -> dict[str, Any]:
        """As a JSON-serializable mapping."""
        return {**self.unknown_fields, "shipments": self.shipments, "claims": [each.as_text() for each in self.claims]}


def parse_link(message: Mapping[str, Any]) -> Link:
    """Parse a link's message; unknown fields are kept."""
    unknown = {name: value for name, value in message.items() if name not in _KNOWN}
    return Link(claims=tuple(map(parse_link_claim, message["claims"])), unknown_fields=unknown)


def make_link(fallen_back: Iterable[FellBack], unknown_fields: Mapping[str, Any]) -> Link:
    """The next link, for shipments that fell back."""
    groups: dict[tuple[str, str, int], list[str]] = defaultdict(list)
    for shipment, token in fallen_back:
        groups[token, shipment.merchant, shipment.progress.step].append(shipment.reference)
    claims = tuple(LinkClaim(*same, references=tuple(references)) for same, references in groups.items())
    return Link(claims=claims, unknown_fields=unknown_fields)


def by_route(fallen_back: Iterable[FellBack]) -> dict[tuple[str, ...], list[FellBack]]:
    """Group by the strategies of the remaining steps; each group shares a chain."""
    routes: dict[tuple[str, ...], list[FellBack]] = defaultdict(list)
    for each in fallen_back:
        steps = each.shipment.steps[each.shipment.progress.step :]
        routes[tuple(step.name for step in steps)].append(each)
    return routes


def summarize(merchants: Iterable[str]) -> str:
    """The first merchant and the number of others: `acme and 3 more`."""
    names = sorted(set(merchants))
    return f"{names[0]} and {len(names) - 1} more" if len(names) > 1 else "".join(names)
