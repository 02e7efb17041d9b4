"""Request coalescing: items requested during a round trip share the next one."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Coalesced(Generic[Item, Result]):
    """Turns a function of many items into one of a single item, for concurrent coroutines."""

    def __init__(self, run: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]], most: int) -> None:
        """`most`: items per round trip."""
        self._run = run
        self._most = most
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._flushing: asyncio.Task[None] | None = None

    async def submit(self, item: Item) -> Result:
        """The result for one item; raises what its round trip raised."""
        result: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, result))
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush())
        return await result

    async def _flush(self) -> None:
        # All requests of this loop iteration share the first round trip.
        await asyncio.sleep(0)
        while self._waiting:
            some, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            await self._round_trip(some)
        self._flushing = None

    async def _round_trip(self, some: list[tuple[Item, asyncio.Future[Result]]]) -> None:
        try:
            replies = await self._run([item for item, _ in some])
            results = list(zip(some, replies, strict=True))
        except Exception as error:  # noqa: BLE001  # raised in every caller
            for _, future in some:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), result in results:
            if not future.done():
                future.set_result(result)
