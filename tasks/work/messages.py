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
"""The task result's count of shipments that are still in flight when the task returns."""

NOT_OWNED = "not_owned"
"""The result of a link counts its shipments that it could not claim, or no longer owned."""

CLAIMING = "claiming"
"""Set in the result of a task whose claim loop continues without it."""

MERCHANTS = "merchants"
"""The task result's count of merchants whose shipments it counts."""

COUNTS = (*FINISHES, IN_PROGRESS, NOT_OWNED)
"""The counts of shipments in a task result."""

RESULT_FIELDS = (*COUNTS, CLAIMING, MERCHANTS)
"""The fields of a task result; that of a link also has those of the next link."""

_LINK_FIELDS = ("merchant", "shipments", "claims")


class StartMessage(NamedTuple):
    """The content of a start message, for display only; the child claims whatever is due when it runs.

    `merchants`: number of merchants with due shipments, up to a thousand; `shipments`: of all of them; `merchant`: the
    first of them, or the empty string; `strategy`: its first step.
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
        merchant = summarize(each.merchant for each in self.claims)
        claims = [each.as_text() for each in self.claims]
        # The claims last: Celery shows the beginning of a message.
        return {"merchant": merchant, "shipments": self.shipments, **self.unknown_fields, "claims": claims}


def parse_link(message: Mapping[str, Any]) -> Link:
    """Parse a link's message; unknown fields are kept."""
    known = {*RESULT_FIELDS, *_LINK_FIELDS}
    unknown = {name: value for name, value in message.items() if name not in known}
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
    return and_more(names[0], len(names)) if names else ""


def and_more(merchant: str, merchants: int) -> str:
    """The name of one of several merchants, with the number of others."""
    return f"{merchant} and {merchants - 1} more" if merchants > 1 else merchant
