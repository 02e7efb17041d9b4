"""Request coalescing: items requested during a round trip share the next one."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Coalesced(Generic[Item, Result]):
    """Turns a function of many items into one of a single item, for concurrent coroutines."""

    def __init__(self, ask_many: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]], most: int) -> None:
        """`most`: items per round trip."""
        self._ask_many = ask_many
        self._most = most
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._flushing: asyncio.Task[None] | None = None

    async def ask(self, item: Item) -> Result:
        """The result for one item; raises what its round trip raised."""
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush())
        return await answer

    async def _flush(self) -> None:
        # All requests of this loop iteration share the first round trip.
        await asyncio.sleep(0)
        while self._waiting:
            some, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            await self._round_trip(some)
        self._flushing = None

    async def _round_trip(self, some: list[tuple[Item, asyncio.Future[Result]]]) -> None:
        try:
            answers = await self._ask_many([item for item, _ in some])
            call_record = list(zip(some, answers, strict=True))
        except Exception as error:  # noqa: BLE001  # handed to everybody who asked
            for _, future in some:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), answer in call_record:
            if not future.done():
                future.set_result(answer)
