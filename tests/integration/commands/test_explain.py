"""`allocation explain`: the history of a shipment, and what happens next."""

import json
from typing import Any

from tasks.work.ports import Pause
from tests.integration.commands.cli_harness import AT, CliHarness, order


def test_a_failed_shipment(cli: CliHarness) -> None:
    """Rule and reason, plan, attempts, failure, and the replay command; foreign text is escaped."""
    cli.merchant()
    cli.accept(order("sp_1", weight_kg=30))
    cli.fail(message="no [bold]\x1b[31mcarrier")
    result = cli.run("explain", "sp_1")
    assert result.code == 0
    for words in (
        "sp_1 of acme",
        "event evt-1",
        "heavy: weight_kg 30.0 is over 20",
        "service_group freight (failed here)",
        r"all_steps_refused: no [bold]\x1b[31mcarrier; `allocation replay sp_1 --merchant acme` requeues it",
        "no_capacity",
        "c-1",
    ):
        assert words in result.out
    assert "\x1b" not in result.out


def test_an_allocated_shipment(cli: CliHarness) -> None:
    """The carrier comes from the published event; the history is kept."""
    cli.merchant()
    cli.merchant("beta")
    cli.accept(order("sp_1"), order("sp_1", merchant="beta"))
    cli.allocate()
    (shipment,) = cli.run("explain", "sp_1", "--merchant", "acme", "--json").document["shipments"]
    assert shipment["state"] == "allocated"
    assert shipment["next"].endswith(" to FF-1, Lineten")
    assert shipment["event"]["id"] == "acme/sp_1/allocated"
    assert shipment["plan"] == [{"virtual_service": "V"}, {"carrier_service": "C"}]
    assert [entry["outcome"] for entry in shipment["story"]] == ["allocated"]


def test_a_parked_shipment(cli: CliHarness) -> None:
    """Its due time, the next action, and the deadline; while its merchant is paused, the reason."""
    cli.merchant()
    cli.merchant("beta")
    cli.accept(order("sp_1"), order("sp_1", merchant="beta"))
    cli.park(wait_s=60)
    cli.do(lambda _, ledger: ledger.pause("beta", Pause(why="401 Unauthorised"), ""))
    parked, paused = cli.run("explain", "sp_1", "--json").document["shipments"]
    assert (parked["state"], parked["paused"]) == ("parked", None)
    assert ", then call virtual_service V; it fails at its deadline, " in parked["next"]
    assert "its merchant is paused (401 Unauthorised)" in paused["next"]


def test_a_working_shipment(cli: CliHarness) -> None:
    """A worker owns it, with its first call permitted; of two merchants with the same reference both are shown."""
    cli.merchant()
    cli.merchant("beta")
    cli.accept(order("sp_1"))
    cli.claim()
    cli.accept(order("sp_1", merchant="beta"))
    (cli.settings.merchants_dir / "beta.toml").unlink()
    at_work, due = cli.run("explain", "sp_1", "--json").document["shipments"]
    assert (at_work["merchant"], at_work["state"]) == ("acme", "working")
    words = "owned by a worker, and a call may be in flight; its lease, unless renewed, expires at "
    assert at_work["next"].startswith(words)
    assert (due["merchant"], due["state"]) == ("beta", "due")
    assert due["next"].endswith("without a valid merchant file it stays parked until there is one")


def test_a_long_history_has_a_gap(cli: CliHarness) -> None:
    """The first and the last entries are kept, and the number of missing ones is shown."""
    cli.merchant()
    cli.accept(order("sp_1"))
    for _ in range(45):
        cli.park(wait_s=0)
    result = cli.run("explain", "sp_1")
    assert "5 more, not kept" in result.out
    assert [line.split()[0] for line in result.out.splitlines() if AT.replace("T", " ") in line] == [
        *map(str, range(1, 21)),
        *map(str, range(26, 46)),
    ]


def test_a_rejected_order_is_found(cli: CliHarness) -> None:
    """If the ledger does not know a reference, rejected events are searched: the reason, and advice."""
    cli.accept(order("sp_1", merchant="unknown"), order("sp_12", merchant="other"))
    result = cli.run("explain", "sp_1")
    assert result.code == 1
    assert "unknown_merchant: data.merchant: no valid merchant file for 'unknown'" in result.out
    assert "'other'" not in result.out
    assert "allocation replay --rejected-all --reason unknown_merchant" in result.out


def test_an_unknown_reference(cli: CliHarness) -> None:
    """It may be in orders that no intake has read."""

    async def publish(store: Any, _: Any) -> None:
        await store.redis.xadd(cli.settings.orders_stream, {"event": json.dumps(order("sp_1"))})

    cli.do(publish)
    result = cli.run("explain", "sp_1", "--json")
    assert result.code == 1
    assert result.document["shipments"] == []
    assert "is intake running?" in result.document["advice"][0]


def test_an_unreadable_record(cli: CliHarness) -> None:
    """The known part is shown, with the problem, and a failed shipment stays failed on replay."""
    cli.merchant()
    cli.accept(order("s1"))
    cli.do(lambda store, _: store.redis.hset("allocation:shipment:acme:s1", "progress", "{not json"))
    result = cli.run("explain", "s1")
    assert result.code == 0
    assert "this version cannot parse it" in result.out
    assert cli.run("explain", "s1", "--json").document["shipments"][0]["unreadable"]
