"""The JSON document of `allocation explain --json`; its types are its schema."""

from collections.abc import Mapping
from typing import Any, Literal, assert_never

from pydantic import BaseModel, ConfigDict

from config.merchant_files.retry import Retry
from tasks.rules.quiet_time import quiet_end
from tasks.rules.shipment import iso
from worker.ledger.records import Missing, Record, Scheduled, Settled, Working
from worker.observability.files_of_records import FilesOfRecords
from worker.observability.shipment_text import State, deadline, state, whereabouts


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class OpenCall(_Document):
    """A call that may still take effect."""

    kind: Literal["unknown", "queued"]
    """No response, or a queued allocation."""
    at: str
    """When the call ended, as RFC 3339 text."""
    quiet_until: str | None
    """The end of its quiet time; null without a valid merchant file."""


class RuleBefore(_Document):
    """A rule that did not match."""

    rule: str
    """Its name."""
    why_not: str
    """The fact that decided."""


class ExplainedShipment(_Document):
    """A shipment: what was chosen and why, its state, and every kept history entry. Times are RFC 3339 text."""

    merchant: str
    """The merchant."""
    reference: str
    """The reference of the shipment."""
    order: str
    """The order number."""
    order_event: str
    """The id of the order-created event."""
    received: str
    """When intake accepted it, or when it was requeued."""
    api: str
    """The merchant's flavour of the API."""
    merchant_file: str | None
    """The digest of the merchant file that chose the plan."""
    rule: str
    """The rule that matched, or `default`."""
    why: str
    """Why it matched."""
    rules_before: list[RuleBefore] | None
    """The rules before it, which did not match; null when the version of the file is no longer kept."""
    unreadable: str | None
    """Why this version cannot parse the record; normally null."""
    facts: dict[str, Any]
    """The facts of the order that rules compare."""
    plan: list[Mapping[str, Any]]
    """The steps, each as the table of a strategy in a merchant file."""
    step: int
    """The index of the present step, from 0."""
    attempts: int
    """Calls so far, of all steps."""
    replays: int
    """How often it was replayed."""
    state: State
    """Its state."""
    next: str
    """The state in words, and what happens next."""
    deadline: str | None
    """When an unfinished shipment fails at the latest; null without a valid merchant file."""
    open_call: OpenCall | None
    """The last call, if it may still take effect."""
    repeated_calls: int
    """Calls that were made after an open one had no effect within its quiet time."""
    cancelled: str | None
    """By whom it was cancelled, and why."""
    dismissed: str | None
    """By whom its failure was dismissed, and why."""
    on_hold: str | None
    """Why its merchant is on hold."""
    paused: str | None = None
    """Unfinished: why its merchant is paused."""
    due: str | None = None
    """Scheduled: when it is due."""
    lease_end: str | None = None
    """Working: when its lease expires unless it is renewed."""
    called_at: str | None = None
    """Working: since when a call may be in flight."""
    settled: str | None = None
    """Settled: when it was allocated or failed."""
    reason: str | None = None
    """Failed: why, as a code."""
    event: dict[str, Any] | None = None
    """Settled: the published event; null when its stream no longer has it."""
    history: list[dict[str, Any]]
    """The kept entries, oldest first. `entry` is the number, `at` the time, `action` what was done."""


class ExplainedRejection(_Document):
    """A rejected event that names the key."""

    stream_id: str
    """The id of its entry in the rejected stream."""
    reason: str
    """Why it was rejected, as a code."""
    error: str
    """The same in words."""


class Explanation(_Document):
    """The document of `allocation explain --json`."""

    key: str
    """What was searched for: a reference, an order number or the id of an event."""
    shipments: list[ExplainedShipment]
    """The shipments that the key finds."""
    rejected: list[ExplainedRejection]
    """Without shipments: rejected events that name the key."""
    advice: list[str]
    """Without shipments: what to check."""


def explained(record: Record, files: FilesOfRecords) -> ExplainedShipment:
    """The record as a document."""
    shipment, progress, retry = record.shipment, record.shipment.progress, files.retry(record)
    fails_at, before = deadline(record, retry), files.rules_before(record)
    return ExplainedShipment(
        merchant=shipment.merchant,
        reference=shipment.reference,
        order=shipment.order,
        order_event=shipment.order_event,
        received=iso(shipment.received),
        api=shipment.api,
        merchant_file=shipment.merchant_file,
        rule=shipment.rule,
        why=record.why,
        rules_before=None if before is None else [RuleBefore(rule=rule, why_not=reason) for rule, reason in before],
        unreadable=record.unreadable or None,
        facts=record.facts,
        plan=[step.table for step in shipment.steps],
        step=progress.step,
        attempts=progress.attempts,
        replays=shipment.replays,
        state=state(record),
        next=whereabouts(record, retry),
        deadline=None if fails_at is None else iso(fails_at),
        open_call=_open_call(record, retry),
        repeated_calls=progress.repeated_calls,
        cancelled=record.cancelled,
        dismissed=record.dismissed,
        on_hold=record.on_hold,
        **_of_state(record),
        history=[{"entry": number, **entry} for number, entry in record.history],
    )


def _open_call(record: Record, retry: Retry | None) -> OpenCall | None:
    progress = record.shipment.progress
    if progress.open_kind is None:
        return None
    quiet_until = iso(quiet_end(progress, retry)) if retry else None
    return OpenCall(kind=progress.open_kind, at=iso(progress.open_at), quiet_until=quiet_until)


def _of_state(record: Record) -> dict[str, Any]:
    match record.where:
        case Scheduled(due=due):
            return {"due": iso(due), "paused": record.paused}
        case Working(lease_end=lease_end, called_at=called_at):
            called = None if called_at is None else iso(called_at)
            return {"lease_end": iso(lease_end), "called_at": called, "paused": record.paused}
        case Settled(at=at, reason=reason, event=event):
            return {"settled": iso(at), "reason": reason or None, "event": event}
        case Missing():
            return {}
    assert_never(record.where)
