"""A worker child under a test's hands: a real queue and an API of bare sockets, but none of Celery's processes."""

import asyncio
from typing import Any

from celery import Celery

from config.celery_options import BATCHES
from config.settings import Settings
from tasks.allocate import Worked, read_message
from tests.worker.bench import Bench
from tests.worker.queues import drain
from tests.worker.raw_api import Request, allocates
from worker.handout import HandOut
from worker.runtime import ChildRuntime

FILE = """[api]
flavour = "shipments-v2"
base_url = "{url}/pro"
api_key = {{ env = "CHILD_KEY" }}
[allocation]
strategy = {{ virtual_service = "FIRST" }}
[limits]
in_flight = {in_flight}
"""


def write(settings: Settings, url: str, in_flight: int = 0, merchant: str = "acme") -> None:
    """Write the merchant's file."""
    (settings.merchants_dir / f"{merchant}.toml").write_text(FILE.format(url=url, in_flight=in_flight))


async def work(app: Celery, child: ChildRuntime) -> list[Worked]:
    """Work on every message that is in the queue now."""
    messages = await asyncio.to_thread(drain, app, BATCHES)
    return [await asyncio.to_thread(child.work, read_message(message)) for message in messages]


async def hand_out(app: Celery, bench: Bench, *references: str) -> None:
    """Take in shipments and hand out what may be."""
    await bench.accept("acme", *references)
    await HandOut(app, bench.ledger, bench.settings).hand_out()


def allocates_after(may_answer: asyncio.Event) -> Any:
    """How an API answers that allocates, but not before the event."""

    async def slow(request: Request, writer: asyncio.StreamWriter) -> None:
        await may_answer.wait()
        await allocates(request, writer)

    return slow
