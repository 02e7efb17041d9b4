"""The state of a shipment: scheduled, working or settled."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, cast

from config.settings import Settings
from tasks.rules.portions import portions
from worker.redis_client.store import Redis

_CALLED_AT = 2
"""Where a lease token has the time of its call, behind the phase (see `lua/_leases.lua`)."""

_CLOCK_SLACK_MS = 20
"""Record and event are written by one script; its clock and its stream ids may differ by this much."""

_READ_AT_ONCE = 100


SettledState = Literal["allocated", "failed"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Scheduled:
    """In the schedule, due at `due` (seconds since the epoch)."""

    due: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Working:
    """Leased until `lease_end` (seconds since the epoch).

    `phase`: `q` waits for the next link of its chain, `r` owned by a worker, `c` the same, and a call may be in flight,
    since `called_at` (seconds since the epoch).
    """

    lease_end: float
    phase: str
    called_at: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Settled:
    """Settled. `event`: the published event, or None when its stream no longer has it."""

    state: SettledState
    reason: str
    at: float
    event: dict[str, Any] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Missing:
    """Neither settled nor scheduled, which is a bug."""


ShipmentState = Scheduled | Working | Settled | Missing


def unfinished(due: float | None, lease_end: float | None, token: bytes | None) -> Scheduled | Working | None:
    """The state of an unfinished shipment."""
    if lease_end is not None:
        phase, *rest = (token or b"q").decode().split(":")
        called_at = float(rest[2]) / 1000 if phase == "c" and len(rest) > _CALLED_AT else None
        return Working(lease_end=lease_end / 1000, phase=phase, called_at=called_at)
    return None if due is None else Scheduled(due=due / 1000)


async def settled(
    redis: Redis, settings: Settings, name: tuple[str, str], fields: dict[str, bytes]
) -> Settled | Missing:
    """The state of a shipment that is not scheduled. `name`: merchant and reference."""
    if "state" not in fields:
        return Missing()
    state, settled_ms = cast("SettledState", fields["state"].decode()), int(fields["settled"])
    stream, ending = settings.allocated_stream, str(state)
    if state == "failed":
        stream, ending = settings.failed_stream, f"failed/{int(fields.get('replays', 0))}"
    (event,) = await events_of(redis, stream, [EventName("/".join((*name, ending)), settled_ms)])
    return Settled(state=state, reason=fields.get("reason", b"").decode(), at=settled_ms / 1000, event=event)


class EventName(NamedTuple):
    """The id of the event of a settled shipment, and when the shipment was settled by the ledger's clock."""

    event_id: str
    settled_ms: int


async def events_of(redis: Redis, stream: str, names: Sequence[EventName]) -> list[dict[str, Any] | None]:
    """The event of each settled shipment, as long as its stream has it.

    A stream has no index of event ids, but the entry was written when the shipment was settled.
    """
    found: list[dict[str, Any] | None] = []
    for some in portions(names, _READ_AT_ONCE):
        pipe = redis.pipeline(transaction=False)
        for name in some:
            pipe.xrange(stream, min=str(name.settled_ms), max=str(name.settled_ms + _CLOCK_SLACK_MS), count=2000)
        found += map(_event_among, some, await pipe.execute())
    return found


def _event_among(name: EventName, entries: Iterable[Any]) -> dict[str, Any] | None:
    events: Iterable[dict[str, Any]] = (json.loads(fields[b"event"]) for _, fields in entries)
    return next((event for event in events if event["id"] == name.event_id), None)
