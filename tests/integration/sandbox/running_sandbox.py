"""A sandbox on a free port, in a thread of the test process, with clients."""

import asyncio
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from time import monotonic
from typing import Any

import httpx
from aiohttp import web

from worker.lab.sandbox.app import runner
from worker.lab.sandbox.listening import EagerSite
from worker.lab.sandbox.options import Options

_numbers = count(1)

_TLS = ssl.create_default_context()
"""Never used, but building a TLS context for each client takes longer than most tests."""


def shipment_reference() -> str:
    """A new reference of the length of a v2 reference."""
    return f"sp_{next(_numbers):032d}"


def until(condition: Callable[[], bool], timeout_s: float = 20) -> None:
    """Poll until the condition holds."""
    deadline = monotonic() + timeout_s
    while not condition():
        assert monotonic() < deadline, f"it did not hold within {timeout_s} s"


@dataclass(frozen=True, kw_only=True, slots=True)
class RunningSandbox:
    """A running sandbox."""

    client: httpx.Client
    """Calls v2 with the accepted key."""

    v1: httpx.Client
    """Calls v1 with the accepted key."""

    def put(self, reference: str, *path: str, **rest: Any) -> httpx.Response:
        """PUT a v2 allocation of one shipment."""
        return self.client.put("/pro/" + "/".join(("shipments", reference, "allocate", *path)), **rest)

    def state(self, reference: str) -> str:
        """The v2 state of a shipment."""
        found: str = self.client.get(f"/pro/shipments/{reference}").raise_for_status().json()["state"]
        return found

    def settled(self, reference: str) -> str:
        """Read the v2 state until it is not `allocating`."""
        while (state := self.state(reference)) == "allocating":
            pass
        return state

    def create(self, *shipments: dict[str, Any]) -> None:
        """Create shipments before the first call."""
        self.client.post("/_sandbox/shipments", json=shipments).raise_for_status()

    def set_faults(self, *faults: dict[str, Any]) -> None:
        """Set the faults."""
        self.client.post("/_sandbox/faults", json=faults).raise_for_status()

    def history(self, reference: str, **query: str) -> dict[str, Any]:
        """The history of one shipment."""
        found: dict[str, Any] = (
            self.client.get(f"/_sandbox/shipments/{reference}", params=query).raise_for_status().json()
        )
        return found

    def counts(self, **query: str) -> dict[str, Any]:
        """The counts of the oracle."""
        found: dict[str, Any] = self.client.get("/_sandbox/counts", params=query).raise_for_status().json()
        return found

    def calls(self, **query: str) -> list[dict[str, Any]]:
        """The entries of the call log."""
        found: list[dict[str, Any]] = self.client.get("/_sandbox/calls", params=query).raise_for_status().json()
        return found

    def late_actions(self) -> list[dict[str, Any]]:
        """The late actions in the log."""
        return [each for each in self.calls() if each["kind"] == "acted"]

    def pending(self) -> int:
        """Number of late actions that are pending."""
        found: int = self.counts()["pending_late"]
        return found

    def allocations(self, reference: str) -> int:
        """Number of allocations of the shipment, once nothing is pending."""
        until(lambda: self.pending() == 0)
        found: int = self.history(reference)["allocations"]
        return found


@contextmanager
def run_sandbox(options: Options) -> Iterator[RunningSandbox]:
    """Start a sandbox, and stop it at the end."""
    loop = asyncio.new_event_loop()
    served = runner(options)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        address = asyncio.run_coroutine_threadsafe(_listen(served), loop).result()
        v2 = {"x-api-key": options.keys[0], "x-api-version": "1.1"}
        v1 = {"ocp-apim-subscription-key": options.keys[0], "electio-api-version": "1.1"}
        with (
            httpx.Client(base_url=address, headers=v2, verify=_TLS) as client,
            httpx.Client(base_url=address, headers=v1, verify=_TLS) as v1_client,
        ):
            yield RunningSandbox(client=client, v1=v1_client)
    finally:
        asyncio.run_coroutine_threadsafe(served.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _listen(served: web.AppRunner) -> str:
    await served.setup()
    site = EagerSite(served, "127.0.0.1", 0)
    await site.start()
    return site.name
