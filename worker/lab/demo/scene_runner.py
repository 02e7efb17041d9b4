"""Runs scene after scene: announces, plays, shows and checks it."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp

from worker.lab.demo import verdict
from worker.lab.demo.control import Control, responds
from worker.lab.demo.environment import LOGIN, Stage
from worker.lab.demo.observe import Key, Seen, Watch
from worker.lab.demo.scene import Scene
from worker.lab.demo.scenes import SCENES
from worker.lab.demo.screen import Screen
from worker.redis_client.store import connect

MAX_S = 45.0
"""After this time an unsettled shipment counts as stuck."""

POLL_S = 0.05
HTTP_S = 5.0
READING_S = 1.0
"""A pause before each scene on a terminal, for reading."""

MAX_PENDING = 20
"""Most further orders that are followed at a time."""


class NotReadyError(Exception):
    """The demo could not start; the message says what was not ready."""


class ToldToEndError(Exception):
    """A signal came."""


@dataclass(kw_only=True, slots=True)
class Play:
    """One run of the demo; `cast` are the shipments so far, in order of arrival.

    `signals`: received signals, checked between round trips, as Python 3.11 may lose a cancellation that meets a
    result (`asyncio.wait_for`).
    """

    stage: Stage
    screen: Screen
    watch: Watch
    http: aiohttp.ClientSession
    signals: Sequence[int]
    verbose: bool
    began: float = field(default_factory=time.monotonic)
    cast: dict[Key, Seen | None] = field(default_factory=dict)

    async def get_ready(self) -> Control:
        """Start everything, wait until each part is ready, and set up the API.

        Raises NotReadyError if one is not ready in time.
        """
        self.stage.start_api()
        await self._ready("the simulated API", self._api_listens)
        api = self.stage.api() or ""
        self.stage.start_processes(api)
        await self._ready("intake", self.watch.intake_reads)
        await self._ready("worker and beat", self._sweeps_come)
        await self._ready("Flower", lambda: responds(self.http, f"{self.stage.flower}/healthcheck"))
        self._say_ready(api)
        control = Control(self.http, api)
        await control.prepare(SCENES)
        return control

    async def _api_listens(self) -> bool:
        return self.stage.api() is not None

    async def _sweeps_come(self) -> bool:
        """A worker sweeps once at start; further sweeps come from beat."""
        return await self.watch.sweeps() > 1

    async def _ready(self, what: str, condition: Callable[[], Awaitable[bool]]) -> None:
        if not await self._until(condition):
            raise NotReadyError(f"{what} was not ready within {MAX_S:.0f} s")

    async def _until(self, condition: Callable[[], Awaitable[bool]]) -> bool:
        """Wait for a condition; False if it does not hold in time."""
        while not await condition():
            if self._elapsed() > MAX_S:
                return False
            await self._pulse()
        return True

    def _elapsed(self) -> float:
        return time.monotonic() - self.began

    async def _pulse(self) -> None:
        """Read everything once, show it, and wait shortly.

        Raises ToldToEndError after a signal, and ProcessEndedError when a process has exited.
        """
        if self.signals:
            raise ToldToEndError
        self.stage.processes.check()
        if self.verbose:
            self.screen.log(self.stage.processes.fresh_lines())
        await self.watch.look()
        for key, seen in self.cast.items():
            if seen is None or seen.state == "unsettled":
                self.cast[key] = await self.watch.seen(key)
        self.screen.update(self._shown(), f"{self._elapsed():.0f} s   {self.stage.pages}")
        await asyncio.sleep(POLL_S)

    def _shown(self) -> list[Seen]:
        return [seen for seen in self.cast.values() if seen]

    def _say_ready(self, api: str) -> None:
        self.screen.say(f"Ready after {self._elapsed():.1f} s:", style="bold")
        self.screen.line(f"server   {self.stage.server} (embedded Valkey)", indent=3)
        self.screen.line(f"PRO API  {api} (simulated, both generations)", indent=3)
        self.screen.line(f"pages    {self.stage.pages} (in Flower; login {LOGIN}:{LOGIN})", indent=3)

    async def perform(self, control: Control) -> list[str]:
        """Play every scene; returns one line per unexpected result."""
        wrong: list[str] = []
        with self.screen.table():
            for number, scene in enumerate(SCENES, start=1):
                found = await self._scene(number, scene, control)
                self.screen.verdict(scene.after, found)
                wrong += [f"scene {number}: {difference}" for difference in found]
                if self._elapsed() > MAX_S:
                    return [*wrong, f"{MAX_S:.0f} s are over: the demo ends here"]
                await self._read_along()
        self.screen.summary(self._shown())
        counts = await control.counts()
        found = verdict.of_counts(counts, verdict.expected_allocations(SCENES))
        twice = len(counts["allocated_twice"]) or "none"
        self.screen.say()
        self.screen.say(f"The API's own count: {counts['allocated']} shipments allocated, {twice} twice.", style="bold")
        return wrong + found

    async def _read_along(self) -> None:
        until = time.monotonic() + READING_S
        while self.screen.terminal and time.monotonic() < until:
            await self._pulse()

    async def _scene(self, number: int, scene: Scene, control: Control) -> list[str]:
        self.screen.scene(number, scene.title, scene.before)
        before = await control.calls()
        stream_id = await self.watch.publish(scene.event)
        await self._until(lambda: self._over(stream_id, scene.keys))
        await self._show(stream_id, scene.keys)
        shipments = [self.cast.get(key) for key in scene.keys]
        wrong = verdict.of_scene(scene, shipments, self.watch.rejected.get(stream_id))
        if scene.without_call:
            after = await control.calls()
            self.screen.line(f"calls   the API has counted {before} before this event, and {after} after it", indent=5)
            wrong += verdict.of_calls(before, after)
        return wrong

    async def _over(self, stream_id: str, keys: Sequence[Key]) -> bool:
        """Whether intake has acknowledged the event and all of its shipments are settled."""
        for key in keys:
            self.cast.setdefault(key, None)
        settled = all((seen := self.cast[key]) and seen.state != "unsettled" for key in keys)
        return settled and await self.watch.taken(stream_id)

    async def _show(self, stream_id: str, keys: Sequence[Key]) -> None:
        """Print the result of an event; it may be a second one for shipments settled before."""
        await self.watch.look()
        for key in keys:
            if seen := await self.watch.seen(key):
                self.cast[key] = seen
                self.screen.shipment(seen)
            else:
                self.cast.pop(key, None)
        if refusal := self.watch.rejected.get(stream_id):
            self.screen.refusal(refusal)

    async def follow(self) -> None:
        """Follow further orders until a signal arrives."""
        pending: dict[str, Sequence[Key]] = {}
        with self.screen.table():
            while True:
                if len(pending) < MAX_PENDING:
                    pending.update(await self.watch.further_orders())
                for stream_id, keys in list(pending.items()):
                    if stream_id in self.watch.rejected or await self._over(stream_id, keys):
                        del pending[stream_id]
                        await self._show(stream_id, keys)
                await self._pulse()


@asynccontextmanager
async def play(stage: Stage, screen: Screen, signals: Sequence[int], *, verbose: bool) -> AsyncIterator[Play]:
    """A run with its connections, within a `with`."""
    redis = connect(stage.settings)
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=HTTP_S)) as http:
            watch = Watch(redis, stage.settings)
            yield Play(stage=stage, screen=screen, watch=watch, http=http, signals=signals, verbose=verbose)
    finally:
        await redis.aclose()
