"""`allocation metrics`: the counters are those of the ledger, and survive everything that the ledger survives."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.integration.commands.cli_harness import PROGRAM, CliHarness, order
from worker.lab.embedded_server import free_port


@contextmanager
def metrics_of(cli: CliHarness) -> Iterator[str]:
    """The address of the metrics; ends with exit code 0 on SIGTERM."""
    process = subprocess.Popen(
        [PROGRAM, "metrics", "--port", "0"], cwd=cli.folder, env=cli.environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    try:
        yield process.stdout.readline().split()[-1]
    finally:
        process.terminate()
        assert process.wait(20) == 0
        process.stdout.close()


def counters(cli: CliHarness) -> dict[tuple[Any, ...], int]:
    """The counters of the ledger."""

    async def read(store: Any, _: Any) -> Any:
        return await store.redis.hgetall("allocation:metrics")

    return {tuple(json.loads(field)): int(number) for field, number in cli.do(read).items()}


def test_accepted_and_rejected(cli: CliHarness) -> None:
    """New shipments and orders count once, however often their events come; rejected events by reason."""
    cli.merchant()
    cli.accept(order("sp_1", "sp_2"), order("sp_1", "sp_2"), b"{")
    cli.accept(order("sp_1"))
    assert counters(cli) == {("orders", "acme"): 1, ("accepted", "acme"): 2, ("rejected", "bad_json"): 1}


def test_the_text(cli: CliHarness) -> None:
    """Prometheus text, with the ledger's values."""
    cli.merchant()
    cli.accept(order("sp_1"), order("sp_2", id="evt-2"))
    cli.park(wait_s=600)
    with metrics_of(cli) as url:
        response = httpx.get(url)
    assert (response.status_code, response.headers["content-type"].partition(";")[0]) == (200, "text/plain")
    assert 'allocation_shipments{merchant="acme",state="parked"} 2.0' in response.text
    assert 'allocation_orders_accepted_total{merchant="acme"} 1.0' in response.text


def test_an_unavailable_server(cli: CliHarness) -> None:
    """The response is 503 with the reason."""
    cli.environment["ALLOCATION_REDIS_URL"] = f"redis://127.0.0.1:{free_port()}/0"
    with metrics_of(cli) as url:
        response = httpx.get(url, timeout=30)
    assert response.status_code == 503
    assert "check ALLOCATION_REDIS_URL" in response.text


def test_a_port_that_is_taken(cli: CliHarness) -> None:
    """One line that says what to change."""
    with metrics_of(cli) as url:
        result = cli.run("metrics", "--port", url.rpartition(":")[2].partition("/")[0])
    assert result.code == 1
    assert "choose another --port" in result.err


@pytest.mark.parametrize("port", ["-1", "65536", "x"])
def test_an_invalid_port(cli: CliHarness, port: str) -> None:
    """Wrong usage."""
    assert cli.run("metrics", "--port", port).code == 2
