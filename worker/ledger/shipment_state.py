"""Where a shipment is: waiting, in a worker's hands, or finished."""

import json
from dataclasses import dataclass
from typing import Any

from config.settings import Settings
from worker.redis_client.store import Redis

_CLOCK_SLACK_MS = 20
"""Record and event are written by one script, whose clock and whose stream ids may differ by so much."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scheduled:
    """In the schedule, to be taken at `due` (seconds since the epoch)."""

    due: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Working:
    """Taken, until `lease_end` (seconds since the epoch).

    `phase`: `q` held for the next link of its chain, `r` taken by a worker, `c` likewise, with a call that
    may be on its way.
    """

    lease_end: float
    phase: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Settled:
    """Finished. `event`: the one that went out, or None when its stream no longer has it."""

    state: str
    reason: str
    at: float
    event: dict[str, Any] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Missing:
    """Neither finished nor in the schedule, which should not be."""


ShipmentState = Scheduled | Working | Settled | Missing


def unfinished(due: float | None, lease_end: float | None, token: bytes | None) -> Scheduled | Working | None:
    """Where a shipment is that is not finished: as the schedule says."""
    if lease_end is not None:
        return Working(lease_end=lease_end / 1000, phase=(token or b"q").decode()[0])
    return None if due is None else Scheduled(due=due / 1000)


async def settled(
    redis: Redis, settings: Settings, name: tuple[str, str], fields: dict[str, bytes]
) -> Settled | Missing:
    """Where a shipment is that is not in the schedule. `name`: merchant and reference."""
    if "state" not in fields:
        return Missing()
    state, settled_ms = fields["state"].decode(), int(fields["settled"])
    stream, ending = settings.allocated_stream, state
    if state == "failed":
        stream, ending = settings.failed_stream, f"failed/{int(fields.get('replays', 0))}"
    event = await event_of(redis, stream, "/".join((*name, ending)), settled_ms)
    return Settled(state=state, reason=fields.get("reason", b"").decode(), at=settled_ms / 1000, event=event)


async def event_of(redis: Redis, stream: str, event_id: str, settled_ms: int) -> dict[str, Any] | None:
    """The event that told of a settled shipment, as long as its stream has it.

    A stream has no index of event ids, but the entry was written at the moment at which the shipment was settled.
    """
    entries: Any = await redis.xrange(stream, min=str(settled_ms), max=str(settled_ms + _CLOCK_SLACK_MS), count=2000)
    for _, fields in entries:
        event: dict[str, Any] = json.loads(fields[b"event"])
        if event["id"] == event_id:
            return event
    return None
