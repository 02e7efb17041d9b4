"""What the links of a fallback chain are told: references and tokens only, as broker and Flower show all of it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tasks.rules.shipment import Shipment


class FellBack(NamedTuple):
    """A shipment whose present step was refused, and the lease token that holds it for the next one."""

    shipment: Shipment
    token: str


class LinkClaim(NamedTuple):
    """Shipments of one merchant that stand at the same step, and the lease token that holds them."""

    token: str
    merchant: str
    step: int
    references: Sequence[str]

    def as_text(self) -> str:
        """In one line, as Flower shows nothing that lies deeper in a message; none of the words has a blank."""
        return " ".join((self.token, self.merchant, str(self.step), *self.references))


def parse_link_claim(text: str) -> LinkClaim:
    """Shipments from their line; raises ValueError for what is none."""
    token, merchant, step, *references = text.split(" ")
    return LinkClaim(token=token, merchant=merchant, step=int(step), references=tuple(references))


FINISHES = ("allocated", "fell_back", "parked", "failed")
"""How shipments leave a task; its result counts them."""

IN_PROGRESS = "in_progress"
"""Counts the shipments that a task left to its process when it returned."""

_KNOWN = {"shipments", "claims", "merchants", IN_PROGRESS, *FINISHES}


class StartMessage(NamedTuple):
    """What is due, as a message shows it that starts a worker child; the child then takes what is due by then.

    `shipments`, `strategy`: of the merchant that is named; `merchants`: how many have something due.
    """

    merchants: int
    merchant: str
    shipments: int
    strategy: str

    def as_message(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return self._asdict()


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """The shipments that a link of a chain works on. `unknown_fields`: what a newer version wrote, kept as it is."""

    claims: tuple[LinkClaim, ...] = ()
    unknown_fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shipments(self) -> int:
        """How many they are."""
        return sum(len(each.references) for each in self.claims)

    def as_message(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {**self.unknown_fields, "shipments": self.shipments, "claims": [each.as_text() for each in self.claims]}


def parse_link(message: Mapping[str, Any]) -> Link:
    """A link's message as a value; fields of a newer version are kept."""
    unknown = {name: value for name, value in message.items() if name not in _KNOWN}
    return Link(claims=tuple(map(parse_link_claim, message["claims"])), unknown_fields=unknown)


def make_link(fallen_back: Iterable[FellBack], unknown_fields: Mapping[str, Any]) -> Link:
    """What the next link is told about shipments that fell back."""
    groups: dict[tuple[str, str, int], list[str]] = defaultdict(list)
    for shipment, token in fallen_back:
        groups[token, shipment.merchant, shipment.progress.step].append(shipment.reference)
    claims = tuple(LinkClaim(*same, references=tuple(references)) for same, references in groups.items())
    return Link(claims=claims, unknown_fields=unknown_fields)


def by_route(fallen_back: Iterable[FellBack]) -> dict[tuple[str, ...], list[FellBack]]:
    """Grouped by the kinds of steps that lie before them: each group shares a chain."""
    ways: dict[tuple[str, ...], list[FellBack]] = defaultdict(list)
    for each in fallen_back:
        steps = each.shipment.steps[each.shipment.progress.step :]
        ways[tuple(step.name for step in steps)].append(each)
    return ways


def summarize(merchants: Iterable[str]) -> str:
    """The first merchant, and how many more: `acme and 3 more`."""
    names = sorted(set(merchants))
    return f"{names[0]} and {len(names) - 1} more" if len(names) > 1 else "".join(names)
