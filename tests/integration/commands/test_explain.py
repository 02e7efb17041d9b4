"""`allocation explain`: the full history of a shipment, and what happens next."""

import json
from typing import Any

from tasks.rules.outcome import Allocated, Label, Price
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
    assert [entry["outcome"] for entry in shipment["history"]] == ["allocated"]


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


def test_the_nearest_references(cli: CliHarness) -> None:
    """A reference with a typing error gets the nearest ones; an unknown merchant the known ones."""
    cli.merchant()
    cli.accept(order(*(f"sp_10{number:02}" for number in range(20))))
    advice = cli.run("explain", "sp_1O07", "--json").document["advice"][-1]
    assert advice.startswith("check the reference, order number or event id; nearest references: ")
    assert "sp_1007" in advice
    assert len(advice.split(", ")) == 11
    assert cli.run("explain", "sp_1007", "--merchant", "amce").err == "Error: no merchant 'amce'; known: acme\n"


def test_an_unreadable_record(cli: CliHarness) -> None:
    """The known part is shown, with the problem, and a failed shipment stays failed on replay."""
    cli.merchant()
    cli.accept(order("s1"))
    cli.do(lambda store, _: store.redis.hset("allocation:shipment:acme:s1", "progress", "{not json"))
    result = cli.run("explain", "s1")
    assert result.code == 0
    assert "this version cannot parse it" in result.out
    assert cli.run("explain", "s1", "--json").document["shipments"][0]["unreadable"]


def test_found_by_order_and_by_event(cli: CliHarness) -> None:
    """An order number or an event id finds its shipments: one is shown whole, several are listed."""
    cli.merchant()
    cli.merchant("beta")
    cli.accept(order("sp_1", id="evt-7"), order("sp_2", "sp_3", merchant="beta", id="evt-8"))
    by_order = cli.run("explain", "1001", "--json").document["shipments"]
    assert {each["reference"] for each in by_order} == {"sp_1", "sp_2", "sp_3"}
    assert [each["reference"] for each in cli.run("explain", "evt-7", "--json").document["shipments"]] == ["sp_1"]
    listed = cli.run("explain", "evt-8").out
    assert "sp_2" in listed
    assert "sp_3" in listed
    assert "attempt" not in listed
    assert cli.run("explain", "1001", "--merchant", "acme").out.startswith("sp_1 of acme\n")
    assert cli.run("explain", "1002").code == 1


def test_the_index_is_kept_for_a_time(cli: CliHarness) -> None:
    """The index of a day expires; an order that comes again in another event keeps all of its shipments."""
    cli.merchant()
    cli.accept(order("sp_1"))
    cli.accept(order("sp_2", id="evt-2"))
    found = cli.run("explain", "1001", "--json").document["shipments"]
    assert {each["reference"] for each in found} == {"sp_1", "sp_2"}

    async def expiries(store: Any, _: Any) -> Any:
        return [await store.redis.ttl(key) for key in await store.redis.keys("allocation:orders_index:*")]

    assert all(seconds > 0 for seconds in cli.do(expiries))


def test_labels_and_price(cli: CliHarness) -> None:
    """An allocated shipment shows its price, its label links, and the header that they need."""
    cli.merchant()
    cli.accept(order("sp_1"))
    got = Allocated(price=Price(net="2.00", gross="2.40", currency="GBP"), labels=(Label("http://x/pdf", "pdf"),))
    cli.allocate(got)
    result = cli.run("explain", "sp_1").out
    assert "price    2.00 net, 2.40 gross, GBP" in result
    assert "label    http://x/pdf (pdf)" in result
    assert "fetch labels with the header x-api-key" in result


def test_a_call_in_flight(cli: CliHarness) -> None:
    """A call that is out is in the table."""
    cli.merchant()
    cli.accept(order("sp_1"))
    cli.claim()
    result = cli.run("explain", "sp_1").out
    assert "no attempt yet" not in result
    assert "in flight" in result
