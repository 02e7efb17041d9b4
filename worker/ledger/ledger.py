"""The ledger and its schedule in Redis: the source of truth for every shipment."""

import asyncio
import hashlib
import socket
import uuid
from collections.abc import Sequence
from typing import Any

import structlog

from config.settings import Settings
from config.strategies.catalogue import STRATEGIES
from tasks.work.clock import boottime
from tasks.work.messages import Link, StartMessage
from tasks.work.ports import Claim
from worker.ledger import keys, rows
from worker.ledger.arguments import ClaimArgs, ClaimLinkArgs, EpochArgs, LinkRow, NotifyArgs
from worker.ledger.leases import Leases
from worker.ledger.orders_index import index_seconds
from worker.ledger.rows import Accepted, ClaimResult, ServerReply
from worker.ledger.scripts import ACCEPT, CHECK_EPOCH, CLAIM, CLAIM_LINK, NOTIFY_DUE, LuaScript
from worker.ledger.server_clock import ServerClock
from worker.ledger.stream_arguments import AcceptArgs, RejectedRow
from worker.redis_client.store import Store

REPUBLISHED_S = 60.0
"""For this long plus a lease after a change of the server, an accepted order may be a republished one."""

TASK_PATIENCE_S = 20.0
"""How long a task waits for an unavailable server; well below Celery's time limit."""

FARTHEST_WAIT_S = 2 * 3600
"""No shipment is parked for longer at a time; a due time beyond that means that a clock has jumped."""

MAX_ISOLATED = 0.25
"""The share of a worker's children that may each be used for one isolated shipment."""

FIRST_CALL_STRATEGIES = "".join(f",{strategy.name}" for strategy in STRATEGIES if not strategy.needs_quote) + ","
"""The strategies whose first request is a call for an allocation, in both generations of the API."""

HOST = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
"""This host's part of lease tokens: shipments lost with others of the same host are not blamed."""

log = structlog.get_logger(__name__)


class Ledger(Leases):
    """Reads and writes the ledger; one per event loop."""

    def __init__(self, store: Store, settings: Settings) -> None:
        """No round trip is made."""
        super().__init__(store, settings)
        self._republished_ms = round((REPUBLISHED_S + settings.lease_seconds) * 1000)
        self._first_calls = FIRST_CALL_STRATEGIES
        self._child = _new_token()
        self._clock = ServerClock()
        self._reading_clock = asyncio.Lock()
        self._epoch = 0
        """The server's epoch when its clock was last read."""

    def now(self) -> float:
        """Seconds since the epoch by the server's clock, at the latest."""
        return self._clock.now()

    def earliest(self) -> float:
        """Seconds since the epoch by the server's clock, at the earliest."""
        return self._clock.earliest()

    async def watch_clock(self) -> None:
        """Detect a change of the server or a jump of its clock."""
        requested_at = boottime()
        now_ms, epoch = await self._store.run(CHECK_EPOCH, [], EpochArgs("", 0))
        await self._has_jumped(int(now_ms) / 1000, int(epoch), requested_at)

    async def _has_jumped(self, server_s: float, epoch: int, requested_at: float) -> bool:
        """Use the server's reply to a request sent at `requested_at`, and start an epoch after a jump of its clock.

        Returns whether the reply is from an earlier epoch.
        """
        async with self._reading_clock:
            before_ms = round(self._clock.now() * 1000)
            jumped = self._clock.jumped(server_s, requested_at)
            if jumped:
                self._epoch = await self._note_jump(before_ms)
            is_old, self._epoch = epoch < self._epoch, max(epoch, self._epoch)
        return jumped or is_old

    async def _note_jump(self, before_ms: int) -> int:
        log.warning("redis_clock_jumped", next="what was owned or due is read back first, after its quiet time")
        args = EpochArgs(self._epoch, before_ms)
        noting = self._store.retry(lambda: self._store.run(CHECK_EPOCH, [], args), self._settings.lease_seconds)
        return int((await noting)[1])

    async def accept(
        self,
        accepted: Sequence[Accepted],
        rejected: Sequence[RejectedRow],
        stream_ids: Sequence[str],
        group: str,
        ignored: int = 0,
    ) -> tuple[int, StartMessage | None]:
        """Accept one read of the orders stream, all or nothing.

        Returns how many shipments were new, and the start message that the caller must send, if any.
        """
        args: list[Any] = [*AcceptArgs(group, len(accepted), len(rejected), ignored, index_seconds(self._settings))]
        for new in accepted:
            args += rows.accepted_row(new)
        for event in rejected:
            args += event
        streams = [self._settings.orders_stream, self._settings.rejected_stream]
        new_shipments, start = await self._store.run(ACCEPT, streams, [*args, *stream_ids])
        return int(new_shipments), rows.start_message(start)

    async def notify_due(self, *, leaving: bool = False) -> StartMessage | None:
        """Have due shipments claimed, if there are any. `leaving`: this child stops listening.

        Returns the start message that the caller must send, if any.
        """
        return rows.start_message(await self._store.run(NOTIFY_DUE, [], NotifyArgs(self._child if leaving else "")))

    async def wait_for_wakeup(self, timeout_s: float) -> None:
        """Block until something is due, at most `timeout_s`."""
        await self._store.command("BLPOP", keys.WAKEUPS, timeout_s)

    async def claim(
        self,
        limit: int,
        *,
        is_empty: bool,
        is_starting: bool = False,
        min_room: int = 1,
        isolated: tuple[str, str] | None = None,
    ) -> ClaimResult:
        """Claim what is due, at most `limit` shipments, under a new lease token.

        `is_empty`: this child may get a shipment that must be isolated; `isolated`: the one for which it became empty.
        `is_starting`: a start message has just begun the claim loop. With less than `min_room` left after the claim the
        child does not listen.
        """
        args = self._claim_args(limit, isolated or ("", ""))._replace(
            is_empty=int(is_empty), is_starting=int(is_starting), min_room=min_room
        )
        requested_at = boottime()
        reply = await self._claim(args)
        if await self._has_jumped(reply.server_s, reply.epoch, requested_at):
            # Only now do the records tell what the jump means for them.
            reply = rows.server_reply(await self._retry(CLAIM, args._replace(is_retry=1)))
            self._epoch = reply.epoch
        return rows.claim_result(requested_at, reply.rest)

    def _claim_args(self, limit: int, isolated: tuple[str, str]) -> ClaimArgs:
        merchant, reference = isolated
        return ClaimArgs(
            child=self._child,
            claim_id=_new_token(),
            lease_ms=self._lease_ms,
            batch=self._settings.batch,
            limit=limit,
            farthest_ms=max(FARTHEST_WAIT_S * 1000, 2 * self._lease_ms),
            max_call_ms=self._max_call_ms,
            max_isolated=max(1, round(self._settings.concurrency * MAX_ISOLATED)),
            republished_ms=self._republished_ms,
            first_call_strategies=self._first_calls,
            is_empty=0,
            is_starting=0,
            min_room=1,
            is_retry=0,
            isolated_merchant=merchant,
            isolated_reference=reference,
        )

    async def _claim(self, args: ClaimArgs) -> ServerReply:
        # A retry repeats what a try whose reply was lost has claimed.
        tries = iter([0])
        reply = await self._store.retry(
            lambda: self._store.run(CLAIM, [], args._replace(is_retry=next(tries, 1))), self._settings.lease_seconds
        )
        return rows.server_reply(reply)

    async def _retry(self, script: LuaScript, args: Sequence[Any]) -> Any:  # Redis' reply
        patience_s = min(TASK_PATIENCE_S, self._settings.lease_seconds)
        return await self._store.retry(lambda: self._store.run(script, [], args), patience_s)

    async def claim_link(self, link: Link) -> tuple[Claim, ...]:
        """Claim the shipments of a link, as far as their tokens are valid, under a new token of our own."""
        lease_token = _new_token()
        args: list[Any] = [*ClaimLinkArgs(lease_token, self._lease_ms, self._republished_ms)]
        for claim in link.claims:
            for reference in claim.references:
                args += LinkRow(claim.merchant, reference, claim.token, claim.step)
        requested_at = boottime()
        reply = rows.server_reply(await self._retry(CLAIM_LINK, args))
        if await self._has_jumped(reply.server_s, reply.epoch, requested_at):
            reply = rows.server_reply(await self._retry(CLAIM_LINK, args))
            self._epoch = reply.epoch
        return rows.link_claims(lease_token, reply.rest)


def _new_token() -> str:
    return f"{HOST}.{uuid.uuid4().hex[:12]}"
