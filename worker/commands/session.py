"""A command's connection to the server: settings, connection, and a clear error when it is unavailable."""

import asyncio
import re
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
    """Run `work` with a connection; an error of the server ends the command with exit code 1."""
    settings = load()
    try:
        return asyncio.run(connected(settings, work))
    except (RedisError, OSError) as error:
        raise click.ClickException(away(settings, error)) from None


async def connected(settings: Settings, work: Work[T]) -> T:
    """Run `work` with its own connection. Raises the server's errors."""
    redis = connect(settings)
    try:
        await check_format(redis, note=False)
        return await work(Store(redis), settings)
    finally:
        await redis.aclose()


def away(settings: Settings, error: Exception) -> str:
    """The error message when the server cannot be used."""
    where = server_address(settings.redis_url.get_secret_value())
    if isinstance(error, REFUSALS):
        return visible(f"{where} refuses: {_words(error)}; fix the cause, then try again")
    return visible(f"no response from {where}: {error}; check ALLOCATION_REDIS_URL and that the server is running")


def _words(error: Exception) -> str:
    """The server's own message, without the command, which may hold an order, and without the script's position."""
    text = _COMMAND.sub("", str(error))
    return _SCRIPT.sub("", text)


_COMMAND = re.compile(r"^Command # \d+ \(.*\) of pipeline caused error: ", re.DOTALL)
_SCRIPT = re.compile(r",? script: \w+, on @\w+:\d+\.?$")
