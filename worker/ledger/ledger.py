"""The ledger and its schedule in Redis: the truth about every shipment."""

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
from worker.ledger import scripts
from worker.ledger.leases import Leases
from worker.ledger.scripts import Accepted, ClaimReply, ClaimResult, Rejected
from worker.ledger.server_clock import ServerClock
from worker.redis_client.store import PREFIX, Store

SENT_AGAIN_S = 60.0
"""For so long and a lease after a change of the server, an order that comes in may be one that is sent again."""

TASK_PATIENCE_S = 20.0
"""How long a task waits for a server that is away; well below the time after which Celery ends it."""

FARTHEST_WAIT_S = 2 * 3600
"""No shipment is parked for longer at a time; a due time beyond that means that a clock has jumped."""

MAX_ALONE = 0.25
"""The part of a worker's children that may each be kept for a single shipment which has lost its worker."""

CALLS_AT_ONCE = "".join(f",{strategy.name}" for strategy in STRATEGIES if not strategy.needs_quote) + ","
"""The strategies whose first request is a call for an allocation, in both generations of the API."""

HOST = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
"""This host's part of a task's id: shipments that were lost with others of the same host are not to blame."""

log = structlog.get_logger(__name__)


class Ledger(Leases):
    """Reads and writes the ledger; one per event loop."""

    def __init__(self, store: Store, settings: Settings) -> None:
        """No round trip is made."""
        super().__init__(store, settings)
        self._sent_again_ms = round((SENT_AGAIN_S + settings.lease_seconds) * 1000)
        self._calls_at_once = CALLS_AT_ONCE
        self._child = f"{HOST}.{uuid.uuid4().hex[:12]}"
        self._clock = ServerClock()
        self._reading_clock = asyncio.Lock()
        self._changes = 0
        """Of the server, when its clock was read last."""

    def now(self) -> float:
        """Seconds since the epoch by the server's clock, at the latest."""
        return self._clock.now()

    def earliest(self) -> float:
        """Seconds since the epoch by the server's clock, at the earliest."""
        return self._clock.earliest()

    async def watch_clock(self) -> None:
        """Notice a change of the server or a jump of its clock, for those who work by it."""
        asked = boottime()
        now_ms, changes = await self._store.run("changed", [], ["", 0])
        await self._has_jumped(int(now_ms) / 1000, int(changes), asked)

    async def _has_jumped(self, server_s: float, changes: int, asked: float) -> bool:
        """Take what the server said to a question that was asked then, and note a jump of its clock.

        Returns whether what it said is from before such a note.
        """
        async with self._reading_clock:
            before_ms = round(self._clock.now() * 1000)
            jumped = self._clock.jumped(server_s, asked)
            if jumped:
                self._changes = await self._note_jump(before_ms)
            is_old, self._changes = changes < self._changes, max(changes, self._changes)
        return jumped or is_old

    async def _note_jump(self, before_ms: int) -> int:
        log.warning("server_clock_jumped", next="what was owned or due is read back first, after its quiet time")
        args = [self._changes, before_ms]
        noting = self._store.retry(lambda: self._store.run("changed", [], args), self._settings.lease_seconds)
        return int((await noting)[1])

    async def accept(
        self,
        accepted: Sequence[Accepted],
        rejected: Sequence[Rejected],
        stream_ids: Sequence[str],
        group: str,
        ignored: int = 0,
    ) -> tuple[int, StartMessage | None]:
        """Take one read of the orders stream, all or nothing.

        Returns how many shipments were new, and the message that must be sent, to start a worker child.
        """
        args = [group, len(accepted), len(rejected), ignored, *scripts.accepting(accepted, rejected), *stream_ids]
        keys = [self._settings.orders_stream, self._settings.rejected_stream]
        new, starts = await self._store.run("accept", keys, args)
        return int(new), scripts.start(starts)

    async def notify_due(self, *, leaving: bool = False) -> StartMessage | None:
        """Have what is due taken, if anything is. `leaving`: this child takes nothing more for now.

        Returns the message that must be sent, to start a worker child.
        """
        return scripts.start(await self._store.run("ring", [], [self._child if leaving else ""]))

    async def wake(self, timeout_s: float) -> None:
        """Wait until something is due, at most so long."""
        await self._store.command("BLPOP", f"{PREFIX}wake", timeout_s)

    async def take(
        self,
        most: int,
        *,
        owns_nothing: bool,
        begins: bool = False,
        least_room: int = 1,
        alone: tuple[str, str] | None = None,
    ) -> ClaimResult:
        """Take what is due, at most so many shipments, under a new lease token.

        `owns_nothing`: so that this child may get a shipment that must be alone; `alone`: the one for which it got rid
        of the rest. `begins`: a message has just started this child. With less than `least_room` left it does not
        listen.
        """
        taking = self._taking(most, int(owns_nothing), int(begins), least_room)
        rest = alone or ("", "")
        asked = boottime()
        answer = await self._take(taking, rest)
        if await self._has_jumped(answer.server_s, answer.changes, asked):
            # Only now do the records say what they are worth.
            answer = scripts.claim_reply(await self._again("take", [*taking, 1, *rest]))
            self._changes = answer.changes
        return scripts.due(asked, answer.rest)

    def _taking(self, most: int, owns_nothing: int, begins: int, least_room: int) -> list[Any]:
        """What `take` is asked, up to whether it is a retry."""
        unique = f"{HOST}.{uuid.uuid4().hex[:12]}"
        farthest_ms = max(FARTHEST_WAIT_S * 1000, 2 * self._lease_ms)
        most_alone = max(1, round(self._settings.concurrency * MAX_ALONE))
        taking = [self._child, unique, self._lease_ms, self._settings.batch, most, farthest_ms, self._longest_call_ms]
        return [*taking, most_alone, self._sent_again_ms, self._calls_at_once, owns_nothing, begins, least_room]

    async def _take(self, taking: Sequence[Any], rest: Sequence[Any]) -> ClaimReply:
        # Of a try whose answer was lost the next one is told.
        tries = iter([0])
        answer = await self._store.retry(
            lambda: self._store.run("take", [], [*taking, next(tries, 1), *rest]), self._settings.lease_seconds
        )
        return scripts.claim_reply(answer)

    async def _again(self, script: str, args: Sequence[Any]) -> Any:  # Redis' answer
        patience_s = min(TASK_PATIENCE_S, self._settings.lease_seconds)
        return await self._store.retry(lambda: self._store.run(script, [], args), patience_s)

    async def claim_link(self, link: Link) -> tuple[Claim, ...]:
        """Take the shipments of a link, as far as their tokens still hold, under a new one of our own."""
        lease_token = f"{HOST}.{uuid.uuid4().hex[:12]}"
        args: list[Any] = [lease_token, self._lease_ms, self._sent_again_ms]
        for held in link.held:
            for reference in held.references:
                args += [held.merchant, reference, held.token, held.step]
        asked = boottime()
        answer = scripts.claim_reply(await self._again("take_link", args))
        if await self._has_jumped(answer.server_s, answer.changes, asked):
            answer = scripts.claim_reply(await self._again("take_link", args))
            self._changes = answer.changes
        return scripts.of_link(lease_token, answer.rest)
