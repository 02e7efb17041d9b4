"""Every hook into a library's internals is listed with its version range, and still exists in the library."""

import re
import tomllib
from pathlib import Path

import httpx
import pytest
from celery.beat import Scheduler
from celery.worker import state
from celery.worker.consumer import Consumer
from kombu.transport import redis as kombu_redis
from redis.asyncio.connection import Connection, ConnectionPool, DefaultParser

ROOT = Path(__file__).parents[2]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "docs/library-internals.md").read_text().splitlines()[7:]
]
DEPENDENCIES = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}: {row[3]}")
def test_a_row(row: list[str]) -> None:
    """Its version range is the project's, and the files that it names exist."""
    _, versions, _, where, noticed_by = row
    assert versions.strip("`") in DEPENDENCIES
    assert [path for path in re.findall(r"`([^`]+)`", where + noticed_by) if not (ROOT / path).is_file()] == []


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (httpx.AsyncClient, "_send_handling_auth"),
        (Connection, "pack_command"),
        (Connection, "_send_packed_command"),
        (Connection, "mark_for_reconnect"),
        (DefaultParser, "parse_error"),
        (DefaultParser, "on_connect"),
        (ConnectionPool, "get_connection"),
        (kombu_redis.Channel, "_create_client"),
        (kombu_redis.Channel, "_connparams"),
        (kombu_redis.Transport, "connection_errors"),
        (Consumer, "on_send_event_buffered"),
        (Scheduler, "apply_entry"),
        (Scheduler, "apply_async"),
        (state, "total_count"),
        (state, "active_requests"),
    ],
    ids=lambda each: each if isinstance(each, str) else each.__name__,
)
def test_it_exists(owner: object, name: str) -> None:
    """What is overridden or read is still there."""
    assert hasattr(owner, name)
