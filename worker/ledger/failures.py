"""Reads failed shipments that are to be dealt with; nothing is changed."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from config.settings import Settings
from tasks.rules.portions import portions
from tasks.rules.progress import Progress, parse_progress
from worker.ledger import keys
from worker.ledger.records import server_ms
from worker.redis_client.store import Redis

_READ_AT_ONCE = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """A failed shipment. `settled_ms` distinguishes this failure from earlier and later ones.

    `progress`: None if this version cannot parse it.
    """

    merchant: str
    reference: str
    reason: str
    strategy: str
    settled_ms: int
    replays: int
    facts: str
    progress: Progress | None


async def failures(  # conditions, all of which must hold
    redis: Redis,
    settings: Settings,
    merchants: Sequence[str],
    *,
    reason: str | None = None,
    strategy: str | None = None,
    until_ms: int | None = None,
    is_enough: Callable[[Sequence[Failure]], bool] = lambda _: False,
) -> list[Failure]:
    """The merchants' failed shipments, oldest first per merchant, until those read so far are enough.

    Optionally those of one reason, of one last strategy, or settled until a time in milliseconds since the epoch.
    """
    since = settings.kept_since(await server_ms(redis))
    is_cause = reason is not None and strategy is not None
    pipe = redis.pipeline(transaction=False)
    for merchant in merchants:
        key = keys.failed_cause(merchant, f"{reason} {strategy}") if is_cause else keys.failed(merchant)
        pipe.zrangebyscore(key, since, "+inf" if until_ms is None else until_ms)
    replies = zip(merchants, await pipe.execute(), strict=True)
    names = [(merchant, reference.decode()) for merchant, references in replies for reference in references]
    found: list[Failure] = []
    for some in portions(names, _READ_AT_ONCE):
        read = await read_failures(redis, some)
        found += [each for each in read if reason in {None, each.reason} and strategy in {None, each.strategy}]
        if is_enough(found):
            break
    return found


async def newest_failures(
    redis: Redis, settings: Settings, merchant: str, cause: str | None, *, first: int = 0, most: int
) -> list[Failure]:
    """A merchant's failed shipments, the newest first: `most` of them, from number `first`.

    `cause`: reason, space, strategy; None for all.
    """
    key = keys.failed(merchant) if cause is None else keys.failed_cause(merchant, cause)
    since = settings.kept_since(await server_ms(redis))
    found: Any = await redis.zrange(key, "+inf", since, desc=True, byscore=True, offset=first, num=most)
    return await read_failures(redis, [(merchant, reference.decode()) for reference in found])


_OF_A_FAILURE = ("state", "reason", "strategy", "settled", "replays", "intake", "progress")


async def read_failures(redis: Redis, names: Sequence[tuple[str, str]]) -> list[Failure]:
    """Those of the shipments, by merchant and reference, that have failed."""
    pipe = redis.pipeline(transaction=False)
    for name in names:
        pipe.hmget(keys.record(*name), _OF_A_FAILURE)
    replies = await pipe.execute()
    return [_failure(*name, *rest) for name, (state, *rest) in zip(names, replies, strict=True) if state == b"failed"]


def _failure(merchant: str, reference: str, *fields: bytes | None) -> Failure:
    reason, strategy, settled, replays, facts, progress = fields
    return Failure(
        merchant=merchant,
        reference=reference,
        reason=(reason or b"").decode(),
        strategy=(strategy or b"").decode(),
        settled_ms=int(settled or 0),
        replays=int(replays or 0),
        facts=(facts or b"{}").decode(errors="replace"),
        progress=_progress(progress),
    )


def _progress(text: bytes | None) -> Progress | None:
    with contextlib.suppress(ValueError, TypeError, AttributeError):
        return parse_progress(text)
    return None
