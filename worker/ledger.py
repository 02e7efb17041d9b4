"""The ledger and its schedule in Redis: the truth about every shipment."""

import asyncio
import hashlib
import json
import socket
import uuid
from collections.abc import Awaitable, Sequence
from typing import Any

import structlog

from config.settings import Settings
from config.strategies.catalogue import STRATEGIES
from tasks.clock import boottime
from tasks.messages import Link, Start
from tasks.ports import Permit, PermitRequest, Report, Taken
from tasks.shipment import KEPT_FIRST, KEPT_LAST, Shipment, slot
from worker import scripts
from worker.coalesce import Coalesced
from worker.pauses import Pauses
from worker.scripts import Accepted, Due, Rejected, TakenAt
from worker.server_clock import ServerClock
from worker.store import PASSING, PREFIX, Store

MOST_PER_ROUND_TRIP = 100
LONGEST_SLOT_WAIT_S = 0.5
"""How long a call may wait inside a task for its place within a merchant's calls per second."""

LONGEST_CALL_OF_LEASE = 0.6
"""No call lasts longer than this share of a lease, which is renewed right before it."""

SENT_AGAIN_S = 60.0
"""For so long and a lease after a change of the server, an order that comes in may be one that is sent again."""

TASK_PATIENCE_S = 20.0
"""How long a task waits for a server that is away; well below the time after which Celery ends it."""

FARTHEST_WAIT_S = 2 * 3600
"""No shipment is parked for longer at a time; a due time beyond that means that a clock has jumped."""

MOST_ALONE = 0.25
"""The part of a worker's children that may each be kept for a single shipment which has lost its worker."""

CALLS_AT_ONCE = "".join(f",{strategy.name}" for strategy in STRATEGIES if not strategy.needs_quote) + ","
"""The strategies whose first request is a call for an allocation, in both generations of the API."""

HOST = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
"""This host's part of a task's id: shipments that were lost with others of the same host are not to blame."""

log = structlog.get_logger(__name__)


class Ledger(Pauses):
    """Reads and writes the ledger; one per event loop."""

    def __init__(self, store: Store, settings: Settings) -> None:
        """No round trip is made."""
        super().__init__(store, settings)
        self._longest_call_ms = round(settings.lease_seconds * LONGEST_CALL_OF_LEASE * 1000)
        self._sent_again_ms = round((SENT_AGAIN_S + settings.lease_seconds) * 1000)
        self._calls_at_once = CALLS_AT_ONCE
        self._child = f"{HOST}.{uuid.uuid4().hex[:12]}"
        self._clock = ServerClock()
        self._reading_clock = asyncio.Lock()
        self._changes = 0
        """Of the server, when its clock was read last."""
        self._permits = Coalesced(self._hold, MOST_PER_ROUND_TRIP)
        self._reports = Coalesced(self._report_many, MOST_PER_ROUND_TRIP)

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
        noting = self._store.insist(lambda: self._store.run("changed", [], args), self._settings.lease_seconds)
        return int((await noting)[1])

    async def accept(
        self,
        accepted: Sequence[Accepted],
        rejected: Sequence[Rejected],
        stream_ids: Sequence[str],
        group: str,
        not_ours: int = 0,
    ) -> tuple[int, Start | None]:
        """Take one read of the orders stream, all or nothing.

        Returns how many shipments were new, and the message that must be sent, to start a worker child.
        """
        args = [group, len(accepted), len(rejected), not_ours, *scripts.accepting(accepted, rejected), *stream_ids]
        keys = [self._settings.orders_stream, self._settings.rejected_stream]
        new, starts = await self._store.run("accept", keys, args)
        return int(new), scripts.start(starts)

    async def ring(self, *, leaving: bool = False) -> Start | None:
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
    ) -> Due:
        """Take what is due, at most so many shipments, under a new lease token.

        `owns_nothing`: so that this child may get a shipment that must be alone; `alone`: the one for which it got rid
        of the rest. `begins`: a message has just started this child. With less than `least_room` left it does not
        listen.
        """
        unique = f"{HOST}.{uuid.uuid4().hex[:12]}"
        farthest_ms = max(FARTHEST_WAIT_S * 1000, 2 * self._lease_ms)
        most_alone = max(1, round(self._settings.concurrency * MOST_ALONE))
        taking = [self._child, unique, self._lease_ms, self._settings.batch, most, farthest_ms, self._longest_call_ms]
        taking += [most_alone, self._sent_again_ms, self._calls_at_once, int(owns_nothing), int(begins), least_room]
        rest = alone or ("", "")
        asked = boottime()
        answer = await self._take(taking, rest)
        if await self._has_jumped(answer.server_s, answer.changes, asked):
            # Only now do the records say what they are worth.
            answer = scripts.taken_at(await self._again("take", [*taking, 1, *rest]))
            self._changes = answer.changes
        return scripts.due(asked, answer.rest)

    async def _take(self, taking: Sequence[Any], rest: Sequence[Any]) -> TakenAt:
        # Of a try whose answer was lost the next one is told.
        tries = iter([0])
        answer = await self._store.insist(
            lambda: self._store.run("take", [], [*taking, next(tries, 1), *rest]), self._settings.lease_seconds
        )
        return scripts.taken_at(answer)

    async def _again(self, script: str, args: Sequence[Any]) -> Any:  # Redis' answer
        patience_s = min(TASK_PATIENCE_S, self._settings.lease_seconds)
        return await self._store.insist(lambda: self._store.run(script, [], args), patience_s)

    async def take_link(self, link: Link) -> tuple[Taken, ...]:
        """Take the shipments of a link, as far as their tokens still hold, under a new one of our own."""
        lease_token = f"{HOST}.{uuid.uuid4().hex[:12]}"
        args: list[Any] = [lease_token, self._lease_ms, self._sent_again_ms]
        for held in link.held:
            for reference in held.references:
                args += [held.merchant, reference, held.token, held.step]
        asked = boottime()
        answer = scripts.taken_at(await self._again("take_link", args))
        if await self._has_jumped(answer.server_s, answer.changes, asked):
            answer = scripts.taken_at(await self._again("take_link", args))
            self._changes = answer.changes
        return scripts.of_link(lease_token, answer.rest)

    def permit(self, request: PermitRequest) -> Awaitable[Permit]:
        """Whether the task still holds the shipment and when it may call; notes that a call is going out."""
        return self._permits.ask(request)

    def report(self, report: Report) -> Awaitable[bool]:
        """Write what became of a shipment; False when the task does not hold it any more."""
        return self._reports.ask(report)

    async def permit_all(self, requests: Sequence[PermitRequest]) -> list[Permit]:
        """As `permit`, for each, in their order."""
        return [permit for some in scripts.portions(requests, MOST_PER_ROUND_TRIP) for permit in await self._hold(some)]

    async def permit_together(self, requests: Sequence[PermitRequest]) -> list[Permit]:
        """As `permit_all`, for one call; when the first may not call, the others are not asked for and not answered."""
        return await self._hold(requests, together=True)

    async def report_all(self, reports: Sequence[Report]) -> list[bool]:
        """As `report`, for each, in their order."""
        return [
            written
            for some in scripts.portions(reports, MOST_PER_ROUND_TRIP)
            for written in await self._report_many(some)
        ]

    async def renew(self, held: Sequence[tuple[Shipment, str]]) -> None:
        """Renew the leases of shipments that are being worked on."""
        await self.permit_all([PermitRequest(shipment=shipment, task=task, purpose="renew") for shipment, task in held])

    async def may_look(self, request: PermitRequest) -> Permit:
        """Whether a shipment that nobody holds any more may be read now; a place is given back by a report."""
        return (await self._hold([request], looking=True))[0]

    async def _hold(
        self, asked: Sequence[PermitRequest], *, together: bool = False, looking: bool = False
    ) -> list[Permit]:
        args: list[Any] = [self._lease_ms, round(LONGEST_SLOT_WAIT_S * 1000), self._longest_call_ms]
        args += ["together" if together else "", *scripts.asking(asked, looking=looking)]
        patience_s = self._settings.lease_seconds / 2
        try:
            flat = await self._store.insist(lambda: self._store.run("hold", [], args), patience_s)
        except PASSING as error:
            _give_up(len(asked), error)
            return [Permit(held=False)] * len(asked)
        return [scripts.permit(word, wait) for word, wait in zip(flat[::2], flat[1::2], strict=True)]

    async def _report_many(self, reports: Sequence[Report]) -> list[bool]:
        args: list[Any] = [self._lease_ms, round(self._settings.keep_days * 86400)]
        for report in reports:
            args += scripts.reporting(report)
        keys = [self._settings.allocated_stream, self._settings.failed_stream]
        try:
            written = await self._store.insist(
                lambda: self._store.run("report", keys, args), self._settings.lease_seconds
            )
        except PASSING as error:
            _give_up(len(reports), error)
            return [False] * len(reports)
        return [bool(one) for one in written]

    async def story(self, shipment: Shipment) -> list[dict[str, Any]]:
        """The kept entries of a shipment's story, oldest first."""
        entries = shipment.progress.entries
        first = range(1, min(entries, KEPT_FIRST) + 1)
        last = range(max(KEPT_FIRST, entries - KEPT_LAST) + 1, entries + 1)
        slots = [slot(entry) for entry in (*first, *last)]
        if not slots:
            return []
        key = f"{PREFIX}shipment:{shipment.merchant}:{shipment.reference}"
        found = await self._store.insist(lambda: self._store.redis.hmget(key, slots), self._settings.lease_seconds)
        return [json.loads(entry) for entry in found if entry]


def _give_up(shipments: int, error: Exception) -> None:
    """The server was away for so long that, for all we know, the shipments are another's by now."""
    log.warning("leases_given_up", shipments=shipments, error=str(error), next="the sweep brings them back")
