"""Put failed shipments back into the ledger's schedule."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from config.merchant_files.merchant_file import Merchant, read_all
from config.settings import Settings
from tasks.rules.replay import FreshStart, start_afresh
from tasks.rules.shipment import slot
from worker.ledger.ledger import FARTHEST_WAIT_S
from worker.ledger.records import Failure, failures, known_merchants, read_failures, server_ms
from worker.redis_client.store import Redis, Store

_AT_ONCE = 100

SPREAD_MOST_S = FARTHEST_WAIT_S / 2
"""How far ahead one replay plans; of much later times the schedule believes that a clock jumped."""

Kept = Literal["no_merchant_file", "unreadable_record", "too_often", "changed_meanwhile"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """Which failed shipments are meant: all conditions that are given must hold. `most`: None for all."""

    reference: str | None = None
    merchant: str | None = None
    reason: str | None = None
    most: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Begun:
    """A failed shipment and how it begins anew; `due_s`: in how many seconds."""

    failure: Failure
    start: FreshStart
    due_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Replay:
    """What is put back, what stays as it is and why, and whether more were wanted than one replay takes."""

    begun: tuple[Begun, ...]
    kept: tuple[tuple[Failure, Kept], ...] = ()
    left_over: bool = False


async def prepare(redis: Redis, settings: Settings, wanted: Wanted, rate: float) -> Replay:
    """Look at what failed and choose its plans anew; nothing is written. `rate`: shipments per second."""
    fit = max(1, round(SPREAD_MOST_S * rate))
    most = fit if wanted.most is None else min(wanted.most, fit)
    found = await _find(redis, settings, wanted, most + 1)
    good, _ = read_all(settings.merchants_dir, settings.http_hosts)
    begun, kept = _begin(found[:most], good, await server_ms(redis) / 1000, rate)
    return Replay(begun=begun, kept=kept, left_over=len(found) > most)


async def _find(redis: Redis, settings: Settings, wanted: Wanted, most: int) -> list[Failure]:
    """The wanted failures, oldest first for each merchant, at most so many."""
    found: list[Failure] = []
    for merchant in [wanted.merchant] if wanted.merchant else await known_merchants(redis, settings.merchants_dir):
        if wanted.reference is None:
            found += await failures(redis, settings, merchant, reason=wanted.reason, most=most - len(found))
        else:
            found += await read_failures(redis, merchant, [wanted.reference.encode()])
    return found


def _begin(
    chosen: Iterable[Failure], good: dict[str, Merchant], now: float, rate: float
) -> tuple[tuple[Begun, ...], tuple[tuple[Failure, Kept], ...]]:
    begun: list[Begun] = []
    kept: list[tuple[Failure, Kept]] = []
    for failure in chosen:
        match _start(failure, good, now):
            case FreshStart() as start:
                begun.append(Begun(failure=failure, start=start, due_s=len(begun) / rate))
            case why:
                kept.append((failure, why))
    return tuple(begun), tuple(kept)


def _start(failure: Failure, good: dict[str, Merchant], now: float) -> FreshStart | Kept:
    if failure.merchant not in good:
        return "no_merchant_file"
    if failure.progress is None:
        return "unreadable_record"
    try:
        return start_afresh(good[failure.merchant], failure.facts, failure.progress, now)
    except (ValueError, TypeError, LookupError, AttributeError):
        return "unreadable_record"


async def put_back(store: Store, replay: Replay, most_replays: int) -> Replay:
    """Write what was prepared; returns what came of it. `most_replays` of one shipment, 0 for any number."""
    answers: list[int] = []
    for start in range(0, len(replay.begun), _AT_ONCE):
        args = [arg for begun in replay.begun[start : start + _AT_ONCE] for arg in _args(begun)]
        answers += await store.run("replay", [], [most_replays, *args])
    answered = list(zip(replay.begun, answers, strict=True))
    return Replay(
        begun=tuple(begun for begun, answer in answered if answer == 1),
        kept=(*replay.kept, *((begun.failure, _KEPT[answer]) for begun, answer in answered if answer != 1)),
        left_over=replay.left_over,
    )


_KEPT: dict[int, Kept] = {0: "changed_meanwhile", -1: "too_often"}


def _args(begun: Begun) -> Sequence[Any]:
    failure, start = begun.failure, begun.start
    return (
        *(failure.merchant, failure.reference, failure.settled_ms),
        *(start.facts, str(start.plan.steps[0]), start.progress.as_json()),
        *(slot(start.progress.entries), json.dumps(start.entry), round(begun.due_s * 1000)),
    )
