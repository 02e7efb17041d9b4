"""What the ledger's scripts are told, and what their answers say."""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from pydantic_core import to_json

from tasks.rules.shipment import Shipment, slot
from tasks.rules.unreadable import UnreadableRecord, parse_shipment
from tasks.work.messages import StartMessage
from tasks.work.ports import Claim, Pause, Permit, PermitRequest, Report

_FIELDS = ("entered", "facts", "received", "published", "progress", "step", "lost_call", "lost", "replays", "changed")

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Rejected:
    """An event for the rejected stream. `event_base64`: its bytes, where `event` cannot hold them."""

    stream_id: str
    event: str
    reason: str
    error: str
    event_base64: str = ""


class Accepted(NamedTuple):
    """A shipment for the ledger. `published`: seconds since the epoch, when the event said so.

    `entered`: when it came into being at the earliest, by stream id and event.
    """

    merchant: str
    reference: str
    facts: str
    asks: str
    published: float | None
    entered: float = 0.0


class ClaimResult(NamedTuple):
    """What `take` brought: shipments of several merchants, and how it is about the rest.

    `next_s`: in how many seconds more is due. `start`: the message that the caller must send, to start another child.
    `empty_for`: merchant and reference of a shipment that must be alone in its child, for which the caller gets rid of
    what it has.
    """

    claim: tuple[Claim, ...]
    next_s: float = math.inf
    start: StartMessage | None = None
    empty_for: tuple[str, str] | None = None

    @property
    def is_more(self) -> bool:
        """Whether more is due now."""
        return self.next_s == 0

    @property
    def is_alone(self) -> bool:
        """Whether what was taken shares its child with nothing else."""
        return any(each.lease_token.endswith(".a") for each in self.claim)

    @property
    def shipments(self) -> int:
        """How many were taken."""
        return sum(len(each.shipments) + len(each.unreadable) for each in self.claim)


class ClaimReply(NamedTuple):
    """What a script that takes answered: the server's time in seconds, how often it has changed, and the rest."""

    server_s: float
    changes: int
    rest: Sequence[Any]


def portions(items: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    """What is asked or told, in the portions of one script call each."""
    for start in range(0, len(items), most):
        yield items[start : start + most]


def accepting(accepted: Iterable[Accepted], rejected: Iterable[Rejected]) -> list[Any]:
    """The part of `accept` that says what is accepted and what is rejected."""
    args: list[Any] = []
    for new in accepted:
        published = "" if new.published is None else f"{new.published:.3f}"
        args += [new.merchant, new.reference, new.facts, published, new.asks, round(new.entered * 1000)]
    for bad in rejected:
        args += [bad.stream_id, bad.event, bad.reason, bad.error, bad.event_base64]
    return args


def asking(requests: Iterable[PermitRequest], *, looking: bool) -> list[Any]:
    """The part of `hold` that says who asks for what. `looking`: to read what nobody holds."""
    args: list[Any] = []
    for request in requests:
        shipment = request.shipment
        args += [shipment.merchant, shipment.reference, request.lease_token]
        args += ["look" if looking else request.purpose, request.per_second, request.in_flight, request.api]
    return args


def permit(word: bytes, wait_ms: int) -> Permit:
    """The permit that `hold` gives; beyond our patience a wait is spent in the schedule, not in a task."""
    return Permit(
        owned=word != b"lost",
        wait_s=wait_ms / 1000,
        park=word in (b"wait", b"open"),
        busy=word == b"busy",
        place=word == b"place",
        by_limit=word in (b"wait", b"busy"),
    )


def claim_reply(answer: Any) -> ClaimReply:
    """The answer of `take` or `claim_link`, before its records are read."""
    now_ms, changes, *rest = answer
    return ClaimReply(server_s=int(now_ms) / 1000, changes=int(changes), rest=rest)


def start(answer: Sequence[Any]) -> StartMessage | None:
    """The message that a script wants to be sent, if it does."""
    if not answer:
        return None
    merchants, merchant, shipments, asks = answer
    return StartMessage(merchants=merchants, merchant=merchant.decode(), shipments=shipments, strategy=asks.decode())


def due(asked: float, rest: Sequence[Any]) -> ClaimResult:
    """What `take` brought that was asked then; see take.lua."""
    due_in_ms, starts, whose, alone, stopped, groups = rest
    not_before = frozenset(name.decode() for name in stopped)
    return ClaimResult(
        claim=tuple(
            _taken(merchant, token, paused, rows, asked, not_before) for merchant, token, paused, rows in groups
        ),
        next_s=due_in_ms / 1000 if due_in_ms >= 0 else math.inf,
        start=start(starts),
        empty_for=(whose.decode(), alone.decode()) if whose else None,
    )


def of_link(lease_token: str, rows: Iterable[Any]) -> tuple[Claim, ...]:
    """What `claim_link` brought; see there."""
    groups: dict[tuple[bytes, bytes], list[Any]] = {}
    for merchant, paused, *row in rows:
        groups.setdefault((merchant, paused), []).append(row)
    return tuple(_taken(merchant, lease_token.encode(), paused, rows) for (merchant, paused), rows in groups.items())


def _taken(
    merchant: bytes,
    lease_token: bytes,
    paused_as: bytes,
    rows: Sequence[Any],
    asked: float = 0.0,
    stopped: frozenset[str] = frozenset(),
) -> Claim:
    name, paused = merchant.decode(), json.loads(paused_as) if paused_as else {}
    found = [parse_shipment(name, row[0].decode(), dict(zip(_FIELDS, row[1:-1], strict=True))) for row in rows]
    admitted = {row[0].decode() for row in rows if row[-1]}
    shipments = tuple(each for each in found if isinstance(each, Shipment))
    return Claim(
        merchant=name,
        lease_token=lease_token.decode(),
        paused=Pause(why=paused["why"], purpose=paused.get("purpose", "")) if paused else None,
        shipments=shipments,
        unreadable=tuple(each for each in found if isinstance(each, UnreadableRecord)),
        probe=paused.get("probe", ""),
        admitted=frozenset(each.reference for each in shipments if each.reference in admitted),
        asked=asked,
        stopped=stopped,
    )


def reporting(report: Report) -> list[Any]:
    """The part of `report` that tells of one shipment."""
    shipment, progress, feedback = report.shipment, report.shipment.progress, report.feedback
    return [
        shipment.merchant,
        shipment.reference,
        report.lease_token,
        report.verdict,
        round(report.due * 1000),
        progress.step,
        progress.as_json(),
        str(shipment.strategy) if shipment.steps else "",
        slot(max(1, progress.entries)),
        b"" if report.entry is None else to_json(report.entry),
        report.event,
        report.reason,
        report.api,
        *(
            ("", "", 0)
            if feedback is None
            else (feedback.signal, feedback.purpose, round(feedback.retry_after_s * 1000))
        ),
        int(report.place),
        report.asked_again,
    ]
