"""A peer: taskiq over aiohttp with one message for each order, and a second one where it falls back.

Run with `taskiq worker tests.perf.bench.taskiq_peer:broker`.
"""

import json
import os

import aiohttp
from redis.asyncio import Redis
from taskiq import TaskiqEvents, TaskiqState
from taskiq_redis import RedisStreamBroker

from tests.perf.bench.peer_work import API, BROKER, FALLBACK_TASK, REDIS, STREAM, TASK, event_of

broker = RedisStreamBroker(url=os.environ[BROKER])


@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def start(state: TaskiqState) -> None:
    """The clients of a worker process."""
    headers = {"x-api-key": "bench", "x-api-version": "1.1"}
    state.api = aiohttp.ClientSession(
        os.environ[API], headers=headers, connector=aiohttp.TCPConnector(limit=0), raise_for_status=False
    )
    state.redis = Redis.from_url(os.environ[REDIS])


@broker.on_event(TaskiqEvents.WORKER_SHUTDOWN)
async def stop(state: TaskiqState) -> None:
    """Close them."""
    await state.api.close()
    await state.redis.aclose()


@broker.task(task_name=TASK)
async def allocate(reference: str) -> None:
    """Allocate one shipment, or have it fall back."""
    if not await _allocated(reference, "virtual_service"):
        await fall_back.kiq(reference)


@broker.task(task_name=FALLBACK_TASK)
async def fall_back(reference: str) -> None:
    """Allocate one shipment by the next step."""
    if not await _allocated(reference, "carrier_service"):
        raise RuntimeError(f"{reference} was refused")


async def _allocated(reference: str, step: str) -> bool:
    path = f"/pro/shipments/{reference}/allocate/{step}/FF_LINET-00001"
    async with broker.state.api.put(path) as answer:
        result = await answer.json()
        if not answer.ok:
            return False
    await broker.state.redis.xadd(STREAM, {"event": json.dumps(event_of(reference, result))})
    return True
