"""What operators do to the ledger: hold, cancel, emit, dismiss. Each action is written to the audit log."""

import getpass
import json
import socket
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from config.settings import Settings
from tasks.rules.portions import portions
from tasks.rules.shipment import iso
from worker.ledger import keys
from worker.ledger.failures import Failure
from worker.ledger.operator_arguments import CancelArgs, DismissArgs, DismissRow, ReleaseHoldArgs
from worker.ledger.records import server_ms
from worker.ledger.scripts import CANCEL, DISMISS, RELEASE_HOLD
from worker.redis_client.store import Redis, Store

AUDIT_ENTRIES = 100_000
"""About how many actions the audit log keeps."""

LONGEST_TEXT = 500
"""Characters of a reason or of an operator's name."""

_AT_ONCE = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Action:
    """An action of an operator. `count`: how many shipments, events or merchants it concerned. `at`: RFC 3339 text."""

    at: str
    action: str
    by: str
    subject: str
    count: int
    why: str


def checked_text(text: str) -> str:
    """Text for the audit log, without the blanks around it. Raises ValueError for what may not be in it."""
    text = text.strip()
    if not 1 <= len(text) <= LONGEST_TEXT:
        raise ValueError(f"must have 1 to {LONGEST_TEXT} characters, other than blanks")
    if any(unicodedata.category(letter) in _UNSEEN for letter in text):
        raise ValueError("must have no line ends and no control characters")
    return text


_UNSEEN = frozenset({"Cc", "Cs", "Zl", "Zp"})


def this_user() -> str:
    """User and host of this process, for the audit log."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


async def first_use(redis: Redis, form: str, kept_s: int) -> bool:
    """Note that a form is sent; False if it was sent before, in the last `kept_s` seconds."""
    return bool(await redis.set(keys.form(form), "", nx=True, ex=kept_s))


async def record_action(redis: Redis, action: str, by: str, subject: str, *, count: int, why: str = "") -> None:
    """Write an action to the audit log."""
    entry = Action(at=await _now(redis), action=action, by=by, subject=subject, count=count, why=why)
    await redis.xadd(keys.AUDIT, _fields(entry), maxlen=AUDIT_ENTRIES, approximate=True)


async def _now(redis: Redis) -> str:
    return iso(await server_ms(redis) / 1000)


def _fields(action: Action) -> Any:
    return asdict(action)


async def read_actions(redis: Redis, most: int) -> list[Action]:
    """The latest actions, newest first."""
    entries: Any = await redis.xrevrange(keys.AUDIT, count=most)
    texts = ({name.decode(): value.decode() for name, value in fields.items()} for _, fields in entries)
    return [Action(**{**each, "count": int(each["count"])}) for each in texts]


async def _order(redis: Redis, by: str, why: str) -> str:
    return json.dumps({"by": by, "why": why, "at": await _now(redis)})


async def hold(redis: Redis, merchant: str, by: str, why: str) -> bool:
    """Stop a merchant: its shipments get no call until it is resumed. False if it was on hold already."""
    entry = Action(at=await _now(redis), action="hold", by=by, subject=merchant, count=1, why=why)
    pipe = redis.pipeline(transaction=True)
    pipe.hset(keys.ON_HOLD, merchant, await _order(redis, by, why))
    pipe.xadd(keys.AUDIT, _fields(entry), maxlen=AUDIT_ENTRIES, approximate=True)
    is_new, _ = await pipe.execute()
    return bool(is_new)


async def release_hold(store: Store, merchant: str) -> bool:
    """Lift the hold of a merchant; False if it was not on hold."""
    return bool(await store.run(RELEASE_HOLD, [], ReleaseHoldArgs(merchant)))


async def cancel(store: Store, merchant: str, reference: str, by: str, why: str) -> bool:
    """Cancel an unfinished shipment; False if it is settled or unknown."""
    order, at = await _order(store.redis, by, why), await _now(store.redis)
    return bool(await store.run(CANCEL, [], CancelArgs(merchant, reference, order, at, by, why, AUDIT_ENTRIES)))


async def emit(redis: Redis, settings: Settings, event: Mapping[str, Any], by: str) -> str:
    """Publish a settled event again, unchanged; returns the id of the new stream entry."""
    is_failure = event["type"] == "shipment.allocation_failed"
    stream = settings.failed_stream if is_failure else settings.allocated_stream
    entry = Action(at=await _now(redis), action="emit", by=by, subject=event["id"], count=1, why="")
    pipe = redis.pipeline(transaction=True)
    pipe.xadd(stream, {"event": json.dumps(event)})
    pipe.xadd(keys.AUDIT, _fields(entry), maxlen=AUDIT_ENTRIES, approximate=True)
    stream_id, _ = await pipe.execute()
    return str(stream_id.decode())


async def dismiss_failures(store: Store, failures: Sequence[Failure], by: str, why: str) -> int:
    """Mark failed shipments as dealt with; returns how many were not before."""
    order, removed = await _order(store.redis, by, why), 0
    for some in portions(failures, _AT_ONCE):
        rows = (value for each in some for value in DismissRow(each.merchant, each.reference))
        removed += int(await store.run(DISMISS, [], [*DismissArgs(order), *rows]))
    await record_action(store.redis, "dismiss", by, "failed shipments", count=removed, why=why)
    return removed


async def dismiss_rejected(redis: Redis, members: Sequence[str], by: str, why: str) -> int:
    """Mark rejected events as dealt with; returns how many were not before."""
    removed = int(await redis.zrem(keys.REJECTED, *members)) if members else 0
    await record_action(redis, "dismiss", by, "rejected events", count=removed, why=why)
    return removed


async def dismiss_lost(redis: Redis, by: str, why: str) -> int:
    """Mark lost orders as dealt with; returns how many there were."""
    lost = int(await redis.getdel(keys.LOST_ORDERS) or 0)
    await record_action(redis, "dismiss", by, "lost orders", count=lost, why=why)
    return lost


async def note_resumed(redis: Redis, merchant: str) -> None:
    """Have a process log that an operator resumed a merchant: the next check of problems finds this one ended."""
    since = await server_ms(redis) / 1000
    await redis.hset(keys.PROBLEMS, f"resumed:{merchant}", json.dumps({"since": since}))
