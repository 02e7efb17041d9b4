"""Fallback chains: shipments that fall back at the same time share one."""

import asyncio
import time
from collections.abc import Callable

import structlog
from celery import Celery

from tasks.allocate import start_fallback
from tasks.work.messages import FellBack
from worker.dispatch.dispatcher import TROUBLE, Dispatcher

GATHERED_S = 0.01
"""How long other shipments may join a chain."""

EVERY_S = 0.03
"""The minimum time between two chains of a child: a message costs more than the rest of a fallback."""

log = structlog.get_logger(__name__)


class Fallbacks:
    """Sends the chains of a child, in its loop."""

    def __init__(self, app: Celery, dispatcher: Dispatcher) -> None:
        """Chains are sent by the dispatcher's thread."""
        self._app = app
        self._dispatcher = dispatcher
        self._waiting: list[FellBack] = []
        self._sending: asyncio.Task[None] | None = None
        self._sent_at = float("-inf")

    def add(self, fallen_back: FellBack) -> None:
        """Send it with others that fall back at this time."""
        self._waiting.append(fallen_back)
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send())

    async def _send(self) -> None:
        while self._waiting:
            await asyncio.sleep(max(GATHERED_S, self._sent_at + EVERY_S - time.monotonic()))
            some, self._waiting, self._sent_at = self._waiting, [], time.monotonic()
            try:
                await self._dispatcher.in_thread(start_fallback, self._app, some)
            except TROUBLE as error:
                log.warning("chain_not_sent", error=str(error), next="its shipments are due with their leases")

    async def stop(self) -> None:
        """Send what is pending."""
        if self._sending is not None:
            await asyncio.gather(self._sending, return_exceptions=True)


class InTime:
    """Collects shipments that fall back while their link waits; later ones are passed on."""

    def __init__(self, later: Callable[[FellBack], None]) -> None:
        """`later`: called for a shipment that falls back after `close`."""
        self._later = later
        self._found: list[FellBack] | None = []

    def add(self, fallen_back: FellBack) -> None:
        """A shipment fell back."""
        if self._found is None:
            self._later(fallen_back)
        else:
            self._found.append(fallen_back)

    def close(self) -> list[FellBack]:
        """The shipments that fell back so far."""
        found, self._found = self._found or [], None
        return found
