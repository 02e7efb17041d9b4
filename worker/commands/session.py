"""One command's visit to the server: settings, a connection, and plain words when it is away."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import click

from config.settings import Settings
from config.urls import server_address
from worker.ledger.format import check_format
from worker.observability.text import visible
from worker.processes.environment import load
from worker.redis_client.store import REFUSALS, RedisError, Store, connect

T = TypeVar("T")

Work = Callable[[Store, Settings], Awaitable[T]]


def visit(work: Work[T]) -> T:
    """Do something with the server that the settings name; an error of it ends the command with exit code 1."""
    settings = load()
    try:
        return asyncio.run(connected(settings, work))
    except (RedisError, OSError) as error:
        raise click.ClickException(away(settings, error)) from None


async def connected(settings: Settings, work: Work[T]) -> T:
    """Do something with a connection of its own. Raises what the server's errors raise."""
    redis = connect(settings)
    try:
        await check_format(redis, note=False)
        return await work(Store(redis), settings)
    finally:
        await redis.aclose()


def away(settings: Settings, error: Exception) -> str:
    """What a person is told when the server cannot be used."""
    where = server_address(settings.redis_url.get_secret_value())
    if isinstance(error, REFUSALS):
        return visible(f"{where} refuses: {error}; see to what it says, then try again")
    return visible(f"no answer from {where}: {error}; is ALLOCATION_REDIS_URL right, and the server up?")
