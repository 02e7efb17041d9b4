"""Describes the Redis server and warns of unsafe configuration."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import structlog

from config.settings import Settings
from config.tls import unchecked_tls
from config.urls import server_address
from worker.redis_client.store import TRANSIENT_ERRORS, NoPermissionError, Redis

log = structlog.get_logger(__name__)


class ServerDescription(NamedTuple):
    """The server in one line, a line for each unsafe setting, and why it refuses writes, if it does.

    `memory_share`: the used share of `maxmemory`; None without a limit.
    """

    line: str
    unsafe: list[str]
    refuses: str | None = None
    memory_share: float | None = None


async def describe(redis: Redis, settings: Settings) -> ServerDescription:
    """Describe the server, in one command."""
    where = server_address(settings.redis_url.get_secret_value())
    try:
        info = await redis.info()
    except NoPermissionError:
        return ServerDescription(f"a server at {where}", [_UNKNOWN_SERVER, *_unsafe_tls(settings)])
    kind = "Valkey" if "valkey_version" in info else "Redis"
    version = info.get("valkey_version") or info.get("redis_version", "?")
    line = f"{kind} {version} at {where}"
    unsafe = [*_unsafe_memory(info), *_unsafe_disk(info), *_unsafe_tls(settings)]
    return ServerDescription(line, unsafe, why_it_refuses(info), _memory_share(info))


def _memory_share(info: Mapping[str, Any]) -> float | None:
    most = int(info.get("maxmemory", 0))
    return int(info.get("used_memory", 0)) / most if most else None


def why_it_refuses(info: Mapping[str, Any]) -> str | None:
    """Why the server refuses writes although it responds; None if nothing says so."""
    if info.get("role") == "slave" and int(info.get("slave_read_only", 1)):
        return "it is a replica, and read-only"
    if info.get("aof_last_write_status") == "err":
        return "it cannot write its append-only file; see its log"
    evicts = info.get("maxmemory_policy", "noeviction") != "noeviction"
    if not evicts and (_memory_share(info) or 0.0) >= 1:
        return "its memory is full"
    return None


_UNKNOWN_SERVER = (
    "its user lacks +info: after a failover or a restart nothing is read back first, and calls that the server forgot "
    "are made again; grant it"
)


async def announce(redis: Redis, settings: Settings) -> None:
    """Log what this process is connected to, and warn of unsafe settings."""
    try:
        line, warnings, *_ = await describe(redis, settings)
    except TRANSIENT_ERRORS as error:
        log.warning("redis_unavailable", error=str(error), next="waiting for it")
        return
    log.info("connected", to=line)
    for warning in warnings:
        log.warning("redis_unsafe", what=warning)


def _unsafe_memory(info: dict[str, Any]) -> list[str]:
    policy = info.get("maxmemory_policy", "noeviction")
    if policy == "noeviction":
        return []
    return [f"maxmemory-policy is {policy}: the server may drop unfinished shipments; set noeviction"]


def _unsafe_disk(info: dict[str, Any]) -> list[str]:
    if int(info.get("aof_enabled", 0)):
        return []
    return ["appendonly is off: a restart of the server forgets shipments; set appendonly yes"]


def _unsafe_tls(settings: Settings) -> list[str]:
    if not any(unchecked_tls(url) for url in (settings.redis_url.get_secret_value(), settings.broker)):
        return []
    return ["TLS without checking the server's certificate and name: set its CA with ssl_ca_certs"]
