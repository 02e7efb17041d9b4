"""Logs each state that concerns operators once when it starts and once when it ends, over all processes."""

import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import structlog

from worker.ledger import keys
from worker.ledger.logged_files import PREFIX as _OF_FILES
from worker.ledger.pauses import Pauses
from worker.ledger.records import server_ms
from worker.ledger.throttling import breakers, slowed
from worker.observability.sentry import report_lasting
from worker.observability.text import duration
from worker.processes.merchant_files import MerchantFiles
from worker.redis_client.store import Redis

EVERY_S = 10.0
"""How often the states are checked; a shorter one may go unnoticed."""

REPORT_AFTER_S = 300.0
"""A state that lasts this long is reported to Sentry, once."""

NO_RESPONSE_S = 30.0
"""An API without a good response for this long, with shipments in their quiet time, is not responding."""

MAX_NOTED = 10_000

Kind = Literal["breaker", "throttled", "quiet", "no_response"]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """A state that lasts. `subject`: the API or merchant; `merchants`: those that it concerns."""

    kind: Kind
    subject: str
    merchants: tuple[str, ...]
    shipments: int

    @property
    def name(self) -> str:
        """Its field in the ledger."""
        return f"{self.kind}:{self.subject}"


class ProblemLog:
    """Compares the present states with those that are logged; the ledger decides which process logs a change."""

    def __init__(self, redis: Redis, merchants: MerchantFiles, pauses: Pauses) -> None:
        """Nothing is checked yet."""
        self._redis = redis
        self._merchants = merchants
        self._pauses = pauses
        self._check_at = 0.0
        self._quiet_since: dict[str, float] = {}
        """APIs with shipments in their quiet time, and since when they have had some."""

    async def check(self) -> None:
        """Log what has started or ended; at most every `EVERY_S` seconds."""
        if time.monotonic() < self._check_at:
            return
        self._check_at = time.monotonic() + EVERY_S
        if not await self._redis.exists(keys.BREAKERS, keys.THROTTLED, keys.QUIET_TIMES, keys.PROBLEMS):
            return
        now_ms = await server_ms(self._redis)
        found: Any = await self._redis.hgetall(keys.PROBLEMS)
        logged = {
            name.decode(): json.loads(text) for name, text in found.items() if not name.startswith(_OF_FILES.encode())
        }
        present = {state.name: state for state in await self._states(now_ms, logged)}
        for state in present.values():
            await self._note(state, logged.get(state.name), now_ms / 1000)
        for name in logged.keys() - present.keys():
            if await self._redis.hdel(keys.PROBLEMS, name):
                _log_end(name, now_ms / 1000 - logged[name]["since"])

    async def _note(self, state: State, logged: dict[str, Any] | None, now: float) -> None:
        if logged is None:
            if await self._redis.hsetnx(keys.PROBLEMS, state.name, json.dumps({"since": now})):
                _log_start(state)
        elif now - logged["since"] > REPORT_AFTER_S and not logged.get("reported"):
            await self._redis.hset(keys.PROBLEMS, state.name, json.dumps({**logged, "reported": True}))
            report_lasting(state.kind, state.subject, now - logged["since"])

    async def _states(self, now_ms: int, logged: Mapping[str, Any]) -> list[State]:
        apis = {name: account.api for name in self._merchants.names() if (account := self._merchants.account(name))}
        quiet = await self._quiet(now_ms)
        states = [
            State(kind="throttled", subject=each.merchant, merchants=(each.merchant,), shipments=each.window)
            for each in await slowed(self._redis, now_ms)
        ]
        for breaker in await breakers(self._redis, now_ms):
            names = tuple(sorted(name for name, api in apis.items() if breaker.concerns(api)))
            waiting = await self._waiting(names)
            states.append(State(kind="breaker", subject=breaker.api, merchants=names, shipments=waiting))
        for name, shipments in quiet.items():
            states.append(State(kind="quiet", subject=name, merchants=(name,), shipments=shipments))
        return [*states, *[state async for state in self._silent(quiet, apis, logged, now_ms / 1000)]]

    async def _waiting(self, merchants: Sequence[str]) -> int:
        """The number of shipments in the schedules of these merchants."""
        pipe = self._redis.pipeline(transaction=False)
        for name in merchants:
            pipe.zcard(keys.schedule(name))
        return sum(await pipe.execute())

    async def _quiet(self, now_ms: int) -> Counter[str]:
        """The number of shipments in their quiet time, by merchant."""
        await self._redis.zremrangebyscore(keys.QUIET_TIMES, "-inf", now_ms)
        members: Any = await self._redis.zrange(keys.QUIET_TIMES, 0, MAX_NOTED - 1)
        return Counter(member.decode().partition(":")[0] for member in members)

    async def _silent(
        self, quiet: Counter[str], apis: dict[str, str], logged: Mapping[str, Any], now: float
    ) -> AsyncIterator[State]:
        """APIs that have had shipments in their quiet time, and given no good response, for a while.

        Such a state ends with a good response, not with the last quiet time.
        """
        waited_for = {apis[name] for name in quiet if name in apis}
        self._quiet_since = {api: self._quiet_since.get(api, now) for api in waited_for}
        for api in sorted(waited_for | {name.partition(":")[2] for name in logged if name.startswith("no_response:")}):
            last_good, known = await self._pauses.last_good(api, "read"), logged.get(f"no_response:{api}")
            quiet_since = self._quiet_since.get(api, now)
            lasts = last_good < known["since"] if known else now - max(quiet_since, last_good) > NO_RESPONSE_S
            if lasts:
                names = tuple(sorted(name for name in quiet if apis.get(name) == api))
                yield State(
                    kind="no_response", subject=api, merchants=names, shipments=sum(quiet[name] for name in names)
                )


def _log_start(state: State) -> None:
    facts: dict[str, Any] = {"merchants": list(state.merchants[:10]), "shipments": state.shipments}
    host = state.subject.partition("#")[0]
    match state.kind:
        case "breaker":
            log.warning(
                "breaker_opened", host=host, api=state.subject, **facts, next="one call at a time probes the API"
            )
        case "no_response":
            log.warning(
                "api_not_responding", host=host, api=state.subject, **facts, next="its shipments are only read back"
            )
        case "throttled":
            log.warning(
                "merchant_throttled",
                merchant=state.subject,
                window=state.shipments,
                next="fewer shipments are claimed at a time until no 429 has come for a minute",
            )
        case "quiet":
            log.info(
                "quiet_time_started",
                merchant=state.subject,
                shipments=state.shipments,
                next="they are only read back until their quiet time is over",
            )


def _log_end(name: str, lasted_s: float) -> None:
    kind, _, subject = name.partition(":")
    lasted = duration(max(0.0, lasted_s))
    match kind:
        case "breaker":
            log.info("breaker_closed", api=subject, lasted=lasted)
        case "no_response":
            log.info("api_responding", api=subject, lasted=lasted)
        case "throttled":
            log.info("merchant_no_longer_throttled", merchant=subject, lasted=lasted)
        case "quiet":
            log.info("quiet_time_ended", merchant=subject, lasted=lasted)
        case "resumed":
            log.warning(
                "merchant_resumed", merchant=subject, next="an operator lifted its pause; its shipments are due"
            )
