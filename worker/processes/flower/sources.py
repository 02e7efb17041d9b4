"""What the pages share: settings, connection and readings."""

import contextlib
from functools import cached_property

from config.settings import Settings
from worker.processes.readings import ReadingsSource
from worker.redis_client.store import RedisError, Store, connect


class Sources:
    """Everything belongs to Flower's event loop, so it is created when a page first needs it."""

    def __init__(self, settings: Settings) -> None:
        """Connects nothing yet."""
        self.settings = settings

    @cached_property
    def store(self) -> Store:
        """The connection to the ledger."""
        return Store(connect(self.settings))

    @cached_property
    def readings(self) -> ReadingsSource:
        """The overview, the problems and the counters."""
        return ReadingsSource(self.store, self.settings)

    async def warm_up(self) -> None:
        """Read once what takes longest the first time, as all merchant files; without Redis the first page does it."""
        with contextlib.suppress(RedisError, OSError):
            await self.readings.readings(0)
