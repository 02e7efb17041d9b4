"""A worker child with a real ledger and an API on bare sockets, without Celery's processes."""

import asyncio
from typing import Any

from config.settings import Settings
from tasks.allocate import WorkResult
from tests.factories.ledger_harness import until
from tests.factories.raw_api import Request, allocates
from worker.processes.child import ChildRuntime

FILE = """[api]
flavour = "shipments-v2"
base_url = "{url}/pro"
api_key = {{ env = "CHILD_KEY" }}
[allocation]
strategy = {{ virtual_service = "FIRST" }}
[limits]
in_flight = {in_flight}
"""


def write_merchant_file(settings: Settings, url: str, in_flight: int = 0, merchant: str = "acme") -> None:
    """Write a merchant file."""
    (settings.merchants_dir / f"{merchant}.toml").write_text(FILE.format(url=url, in_flight=in_flight))


async def serve(child: ChildRuntime) -> WorkResult:
    """Run the claim loop of a child until nothing is due."""
    worked = await asyncio.to_thread(child.serve)
    assert worked is not None, "the child is reserved for an isolated shipment"
    return worked


async def none_in_flight(child: ChildRuntime) -> None:
    """Wait until all shipments of the child are settled or released."""
    await until(lambda: child._in_flight.count() == 0)


def allocates_after(may_respond: asyncio.Event) -> Any:
    """Handler that allocates once the event is set."""

    async def slow(request: Request, writer: asyncio.StreamWriter) -> None:
        await may_respond.wait()
        await allocates(request, writer)

    return slow
