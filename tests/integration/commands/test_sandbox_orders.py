"""`allocation sandbox --orders` and `--follow`: shipments have the facts of their orders."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import redis
from pydantic import SecretStr

from config.settings import Settings
from tests.factories.order_events import event
from tests.integration.commands.cli_harness import CliHarness
from tests.integration.commands.sandbox_process import sandbox_process
from tests.integration.sandbox.running_sandbox import until
from worker.lab.embedded_server import EmbeddedServer

TOO_HEAVY = "The shipment is too heavy for the service"
ELSEWHERE = "The service does not go to the country"
TAGGED = "The service does not carry all of the tags"


def published(client: redis.Redis, *references: str, stream: str = "orders.created", **facts: Any) -> None:
    """Publish one order for each of these shipments."""
    for reference in references:
        client.xadd(stream, {"event": json.dumps(event({"reference": reference, **facts}))})


@pytest.fixture
def stream(settings: Settings) -> redis.Redis:
    """A client of the server."""
    return redis.Redis.from_url(settings.redis_url.get_secret_value())


@pytest.fixture
def own_cli(own_server: EmbeddedServer, settings: Settings, tmp_path: Path) -> CliHarness:
    """The command line for a server that the test may kill."""
    return CliHarness(settings.model_copy(update={"redis_url": SecretStr(own_server.url)}), tmp_path)


def test_a_shipment_has_the_facts_of_its_order(cli: CliHarness) -> None:
    """Weight, country and tags decide which services take it; a read-back shows all that the order states."""
    shipments: list[dict[str, Any]] = [
        {"reference": "heavy", "weight_kg": 1500},
        {"reference": "abroad", "destination": {"country": " ie ", "postcode": "D02"}},
        {"reference": "tagged", "tags": ["radioactive"], "value": {"amount": "59.98", "currency": "EUR"}},
        {"reference": "plain"},
        {"reference": "untagged", "tags": []},
    ]
    (cli.folder / "orders.json").write_text(json.dumps([event(*shipments)]))
    with sandbox_process(cli, "--orders", "orders.json") as sandbox:
        names = "heavy", "abroad", "tagged", "plain", "untagged"
        services = "HAUL-PALLET", "FF_LINET-00001", "DNQ72", "FF_LINET-00001", "FF_LINET-00001"
        refused = [sandbox.refused_by(name, service) for name, service in zip(names, services, strict=True)]
        abroad, tagged = (sandbox.client.get(f"/pro/shipments/{name}").json() for name in ("abroad", "tagged"))
        consignment = sandbox.client.get("/consignments/heavy").json()
    assert refused == [TOO_HEAVY, ELSEWHERE, TAGGED, None, None]
    assert (abroad["addresses"][1]["country_iso_code"], abroad["addresses"][1]["postal_code"]) == ("IE", "D02")
    assert tagged["contents"][0]["value"] == {"amount": 59.98, "currency": "EUR"}
    assert consignment["Weight"]["Value"] == 1500


def test_v1_refuses_it_too(cli: CliHarness) -> None:
    """A consignment has the facts of its order, in single and in bulk calls."""
    lines = "\n".join(json.dumps(event({"reference": each, "weight_kg": 1500})) for each in ("EC-1", "EC-2"))
    with sandbox_process(cli, "--orders", "-", stdin=lines) as sandbox:
        one = sandbox.client.put("/allocation/EC-1/allocatewithservicegroup/freight")
        (many,) = sandbox.client.put("/allocation/allocate", json={"ConsignmentReferences": ["EC-2"]}).json()
    assert (one.status_code, many["StatusCode"]) == (400, 400)


def test_the_first_order_counts(cli: CliHarness) -> None:
    """As at intake, a later order does not change a shipment; a description through /_sandbox does."""
    orders = [event({"reference": each, "weight_kg": kg}) for kg in (1500, 1) for each in ("sp_1", "sp_2")]
    (cli.folder / "orders.json").write_text(json.dumps(orders))
    with sandbox_process(cli, "--orders", "orders.json") as sandbox:
        sandbox.client.post("/_sandbox/shipments", json=[{"reference": "sp_2"}])
        assert [sandbox.refused_by(each, "HAUL-PALLET") for each in ("sp_1", "sp_2")] == [TOO_HEAVY, None]


def test_only_shipments_of_orders(cli: CliHarness) -> None:
    """With --no-auto-create the shipments of orders exist, and no others."""
    (cli.folder / "orders.json").write_text(json.dumps(event({"reference": "sp_1"})))
    with sandbox_process(cli, "--orders", "orders.json", "--no-auto-create") as sandbox:
        assert sandbox.refused_by("sp_1", "HAUL-PALLET") is None
        assert sandbox.cause("sp_2") == (404, "shipment_not_found")


def test_invalid_orders_are_refused(cli: CliHarness) -> None:
    """A file with an event that intake would reject is an error with line and reason, and nothing is served."""
    (cli.folder / "orders.jsonl").write_text(f"{json.dumps(event())}\n{json.dumps(event({'reference': ''}))}\n")
    result = cli.run("sandbox", "--orders", "orders.jsonl")
    assert (result.code, result.out) == (1, "")
    assert "orders.jsonl:2: bad_order: data.shipments.0.reference" in result.err
    assert "the sandbox was not started" in result.err


def test_the_stream_is_followed(cli: CliHarness, stream: redis.Redis) -> None:
    """Orders of the stream count, from its first entry on, whatever else is in it; no consumer group is joined."""
    published(stream, "before", weight_kg=1500, stream="shop.orders")
    stream.xadd("shop.orders", {"event": "no order"})
    stream.xadd("shop.orders", {"other": "field"})
    with sandbox_process(cli, "--follow", ALLOCATION_ORDERS_STREAM="shop.orders") as sandbox:
        assert sandbox.refused_by("before", "HAUL-PALLET") == TOO_HEAVY
        published(stream, "after", weight_kg=1500, stream="shop.orders")
        assert sandbox.refused_by("after", "HAUL-PALLET") == TOO_HEAVY
        assert sandbox.refused_by("without_order", "HAUL-PALLET") is None
    assert stream.xinfo_groups("shop.orders") == []
    assert stream.keys("*orders*") == [b"shop.orders"]


def test_following_only_reads(own_cli: CliHarness, own_server: EmbeddedServer) -> None:
    """A user that may do nothing but read this stream is enough."""
    client = redis.Redis(port=own_server.port)
    published(client, "sp_1", weight_kg=1500)
    client.execute_command(  # type: ignore[no-untyped-call]  # redis-py carries none
        *("ACL", "SETUSER", "reader", "on", ">word", "%R~orders.created", "+xread", "+ping")
    )
    url = own_server.url.replace("//", "//reader:word@")
    with sandbox_process(own_cli, "--follow", ALLOCATION_REDIS_URL=url) as sandbox:
        assert sandbox.refused_by("sp_1", "HAUL-PALLET") == TOO_HEAVY
    assert sandbox.errors.read_text() == ""


def test_an_order_is_read_before_its_shipment_is_created(cli: CliHarness, stream: redis.Redis) -> None:
    """A call that comes right after the order finds its facts, however many orders there are before it."""
    published(stream, *(f"earlier_{number}" for number in range(500)))
    with sandbox_process(cli, "--follow") as sandbox:
        for number in range(100):
            published(stream, f"v2_{number}", f"v1_{number}", weight_kg=1500)
            assert sandbox.refused_by(f"v2_{number}", "HAUL-PALLET") == TOO_HEAVY
            assert sandbox.client.put(f"/allocation/v1_{number}/allocatewithservicegroup/freight").status_code == 400


def test_a_server_that_is_away(own_cli: CliHarness, own_server: EmbeddedServer) -> None:
    """Known shipments are served, others are `processing` until the stream can be read; each change is one line."""
    published(redis.Redis(port=own_server.port), "known", "also_known", weight_kg=1500)
    with sandbox_process(own_cli, "--follow") as sandbox:
        assert sandbox.refused_by("known", "HAUL-PALLET") == TOO_HEAVY
        own_server.kill()
        for _ in range(3):
            assert sandbox.cause("new") == (404, "processing")
        assert sandbox.refused_by("also_known", "HAUL-PALLET") == TOO_HEAVY
        own_server.start()
        published(redis.Redis(port=own_server.port), "new", weight_kg=1500)
        until(lambda: sandbox.refused_by("new", "HAUL-PALLET") == TOO_HEAVY)
    away, back = sandbox.errors.read_text().splitlines()
    assert away.startswith("sandbox: the orders stream cannot be read: ")
    assert back == "sandbox: the orders stream is read again"


def test_a_server_that_is_away_at_the_start(own_cli: CliHarness, own_server: EmbeddedServer) -> None:
    """The sandbox starts without the server, and reads the stream once it is there."""
    own_server.kill()
    with sandbox_process(own_cli, "--follow") as sandbox:
        assert sandbox.cause("sp_1") == (404, "processing")
        own_server.start()
        until(lambda: sandbox.client.get("/pro/shipments/sp_1").status_code == 200)


def test_a_server_that_does_not_respond(own_cli: CliHarness, own_server: EmbeddedServer) -> None:
    """While the server is stopped, calls get a response, and control endpoints work without it."""
    assert own_server.process is not None
    with sandbox_process(own_cli, "--follow") as sandbox:
        until(lambda: sandbox.client.get("/pro/shipments/sp_1").status_code == 200)
        os.kill(own_server.process.pid, signal.SIGSTOP)
        try:
            assert sandbox.client.get("/_sandbox/health").status_code == 200
            sandbox.client.timeout = 20
            assert sandbox.cause("sp_2") == (404, "processing")
        finally:
            os.kill(own_server.process.pid, signal.SIGCONT)


def test_following_needs_settings(cli: CliHarness) -> None:
    """Without the URL of a server `--follow` is wrong usage."""
    result = cli.run("sandbox", "--follow", ALLOCATION_REDIS_URL="")
    assert result.code == 2
    assert "ALLOCATION_REDIS_URL" in result.err
