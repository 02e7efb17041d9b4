"""Between values and scripts: rows of arguments from values, and values from replies."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic_core import to_json

from tasks.rules.shipment import Shipment, entry_field
from tasks.rules.unreadable import UnreadableRecord, parse_shipment
from tasks.work.messages import StartMessage
from tasks.work.ports import Claim, Pause, Permit, PermitRequest, Report
from worker.ledger.arguments import ClaimedRow, PermitRow, ReportRow
from worker.ledger.counters import counted
from worker.ledger.stream_arguments import AcceptedRow


class Accepted(NamedTuple):
    """A shipment for the ledger. Times are seconds since the epoch.

    `intake`: what the ledger fixes at intake, as JSON. `published`: the event's own time, if it stated one.
    `earliest_at`: the earliest time at which the shipment can have been created, by stream id and event.
    """

    merchant: str
    reference: str
    intake: str
    strategy: str
    published: float | None
    earliest_at: float = 0.0
    order: str = ""
    event_id: str = ""


class ServerReply(NamedTuple):
    """The reply of a script that claims: the server's time in seconds, its epoch, and the rest."""

    server_s: float
    epoch: int
    rest: Sequence[Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class ClaimResult:
    """Claims of several merchants. `next_s`: in how many seconds more is due.

    `start`: the message that the caller must send, to start another child. `isolate_next`: merchant and reference of a
    shipment that must be isolated, for which the caller empties its child.
    """

    claims: tuple[Claim, ...]
    next_s: float = math.inf
    start: StartMessage | None = None
    isolate_next: tuple[str, str] | None = None

    @property
    def is_more(self) -> bool:
        """Whether more is due now."""
        return self.next_s == 0

    @property
    def is_isolated(self) -> bool:
        """Whether what was claimed must have the child to itself."""
        return any(each.lease_token.endswith(".a") for each in self.claims)

    @property
    def shipments(self) -> int:
        """How many were claimed."""
        return sum(len(each.shipments) + len(each.unreadable) for each in self.claims)


def accepted_row(new: Accepted) -> AcceptedRow:
    """The row of a shipment that intake accepted."""
    published = "" if new.published is None else f"{new.published:.3f}"
    earliest_ms = round(new.earliest_at * 1000)
    fixed = new.merchant, new.reference, new.intake, published, new.strategy
    return AcceptedRow(*fixed, earliest_ms, new.order, new.event_id)


def permit_row(request: PermitRequest, purpose: str) -> PermitRow:
    """The row of a request. `purpose`: the request's own, or `unowned_read`."""
    shipment, token = request.shipment, request.lease_token
    limits = request.per_second, request.in_flight
    return PermitRow(shipment.merchant, shipment.reference, token, purpose, *limits, request.api)


def permit(word: bytes, wait_ms: int) -> Permit:
    """A permit from its reply. A wait that the script refuses is spent in the schedule, not in a task."""
    return Permit(
        owned=word != b"lost",
        wait_s=wait_ms / 1000,
        park=word in (b"wait", b"open"),
        busy=word == b"busy",
        slot=word == b"granted_slot",
        by_limit=word in (b"wait", b"busy"),
    )


def report_row(report: Report) -> ReportRow:
    """The row of a report."""
    shipment, progress, feedback = report.shipment, report.shipment.progress, report.feedback
    signal, purpose, retry_after_s = ("", "", 0.0) if feedback is None else feedback
    return ReportRow(
        shipment.merchant,
        shipment.reference,
        report.lease_token,
        report.verdict,
        round(report.due * 1000),
        progress.step,
        progress.as_json(),
        str(shipment.strategy) if shipment.steps else "",
        entry_field(max(1, progress.entries)),
        b"" if report.entry is None else to_json(report.entry),
        report.event,
        report.reason,
        report.api,
        signal,
        purpose,
        round(retry_after_s * 1000),
        int(report.slot),
        report.repeated_calls,
        round(report.quiet_until * 1000),
        round(report.near_deadline * 1000),
        counted(report),
    )


def server_reply(reply: Any) -> ServerReply:
    """The reply of a script that claims, before its records are parsed."""
    now_ms, epoch, *rest = reply
    return ServerReply(server_s=int(now_ms) / 1000, epoch=int(epoch), rest=rest)


def start_message(reply: Sequence[Any]) -> StartMessage | None:
    """The message that the caller must send, if any."""
    if not reply:
        return None
    merchants, merchant, shipments, strategy = reply
    return StartMessage(
        merchants=merchants, merchant=merchant.decode(), shipments=shipments, strategy=strategy.decode()
    )


def claim_result(requested_at: float, rest: Sequence[Any]) -> ClaimResult:
    """The result of claim.lua. `requested_at`: when it was sent, by `tasks.work.clock.boottime`."""
    due_in_ms, start, merchant, reference, blocks, claims = rest
    stopped = frozenset(name.decode() for name in blocks)
    return ClaimResult(
        claims=tuple(_claim(name, token, paused, rows, requested_at, stopped) for name, token, paused, rows in claims),
        next_s=due_in_ms / 1000 if due_in_ms >= 0 else math.inf,
        start=start_message(start),
        isolate_next=(merchant.decode(), reference.decode()) if merchant else None,
    )


def link_claims(lease_token: str, rows: Iterable[Any]) -> tuple[Claim, ...]:
    """The result of claim_link.lua, merchant by merchant."""
    groups: dict[tuple[bytes, bytes], list[Any]] = {}
    for merchant, paused, *row in rows:
        groups.setdefault((merchant, paused), []).append(row)
    return tuple(_claim(merchant, lease_token.encode(), paused, rows) for (merchant, paused), rows in groups.items())


def _claim(
    merchant: bytes,
    lease_token: bytes,
    paused_as: bytes,
    rows: Sequence[Any],
    requested_at: float = 0.0,
    stopped: frozenset[str] = frozenset(),
) -> Claim:
    name, paused = merchant.decode(), json.loads(paused_as) if paused_as else {}
    records = [ClaimedRow(*row)._asdict() for row in rows]
    found = [parse_shipment(name, record["reference"].decode(), record) for record in records]
    permitted = {record["reference"].decode() for record in records if record["is_permitted"]}
    shipments = tuple(each for each in found if isinstance(each, Shipment))
    return Claim(
        merchant=name,
        lease_token=lease_token.decode(),
        paused=Pause(why=paused["why"], purpose=paused.get("purpose", "")) if paused else None,
        shipments=shipments,
        unreadable=tuple(each for each in found if isinstance(each, UnreadableRecord)),
        probe=paused.get("probe", ""),
        permitted=frozenset(each.reference for each in shipments if each.reference in permitted),
        requested_at=requested_at,
        stopped=stopped,
    )
