"""`allocation explain`: the full history of a shipment, and what happens next."""

import json
from typing import Any

from tasks.rules.outcome import Allocated, Label, Price
from tasks.work.ports import Pause
from tests.integration.commands.cli_harness import AT, Scene, order


def test_a_failed_shipment(scene: Scene) -> None:
    """Rule and why, plan, attempts, reason, message, and the command that puts it back; foreign words do no harm."""
    scene.merchant()
    scene.accept(order("sp_1", weight_kg=30))
    scene.fail(message="no [bold]\x1b[31mcarrier")
    said = scene.run("explain", "sp_1")
    assert said.code == 0
    for words in (
        "sp_1 of acme",
        "event evt-1",
        "heavy: weight_kg 30.0 is over 20",
        "service_group freight (failed here)",
        r"all_steps_refused: no [bold]\x1b[31mcarrier; `allocation replay sp_1 --merchant acme` requeues it",
        "no_capacity",
        "c-1",
    ):
        assert words in said.out
    assert "\x1b" not in said.out


def test_an_allocated_shipment(scene: Scene) -> None:
    """Who has it comes from the event that went out; the story is kept with it."""
    scene.merchant()
    scene.merchant("beta")
    scene.accept(order("sp_1"), order("sp_1", merchant="beta"))
    scene.allocate()
    (shipment,) = scene.run("explain", "sp_1", "--merchant", "acme", "--json").document["shipments"]
    assert shipment["state"] == "allocated"
    assert shipment["next"].endswith(" to FF-1, Lineten")
    assert shipment["event"]["id"] == "acme/sp_1/allocated"
    assert shipment["plan"] == [{"virtual_service": "V"}, {"carrier_service": "C"}]
    assert [entry["outcome"] for entry in shipment["history"]] == ["allocated"]


def test_a_parked_shipment(scene: Scene) -> None:
    """Until when, what then, and the deadline; while its merchant is paused, why."""
    scene.merchant()
    scene.merchant("beta")
    scene.accept(order("sp_1"), order("sp_1", merchant="beta"))
    scene.park(wait_s=60)
    scene.do(lambda _, ledger: ledger.pause("beta", Pause(why="401 Unauthorised"), ""))
    parked, paused = scene.run("explain", "sp_1", "--json").document["shipments"]
    assert (parked["state"], parked["paused"]) == ("parked", None)
    assert ", then call virtual_service V; it fails at its deadline, " in parked["next"]
    assert "its merchant is paused (401 Unauthorised)" in paused["next"]


def test_a_shipment_at_work(scene: Scene) -> None:
    """A worker has it, with its first call permitted; of two merchants with the same reference both are shown."""
    scene.merchant()
    scene.merchant("beta")
    scene.accept(order("sp_1"))
    scene.claim()
    scene.accept(order("sp_1", merchant="beta"))
    (scene.settings.merchants_dir / "beta.toml").unlink()
    at_work, due = scene.run("explain", "sp_1", "--json").document["shipments"]
    assert (at_work["merchant"], at_work["state"]) == ("acme", "working")
    words = "owned by a worker, and a call may be in flight; its lease, unless renewed, expires at "
    assert at_work["next"].startswith(words)
    assert (due["merchant"], due["state"]) == ("beta", "due")
    assert due["next"].endswith("without a valid merchant file it stays parked until there is one")


def test_a_long_story_shows_its_gap(scene: Scene) -> None:
    """The first and the last entries are kept, and what is missing between them is said."""
    scene.merchant()
    scene.accept(order("sp_1"))
    for _ in range(45):
        scene.park(wait_s=0)
    said = scene.run("explain", "sp_1")
    assert "5 more, not kept" in said.out
    assert [line.split()[0] for line in said.out.splitlines() if AT.replace("T", " ") in line] == [
        *map(str, range(1, 21)),
        *map(str, range(26, 46)),
    ]


def test_a_rejected_order_is_found(scene: Scene) -> None:
    """A reference that the ledger does not know may stand in a rejected event: why, and what to do."""
    scene.accept(order("sp_1", merchant="nobody"), order("sp_12", merchant="other"))
    said = scene.run("explain", "sp_1")
    assert said.code == 1
    assert "unknown_merchant: data.merchant: no valid merchant file for 'nobody'" in said.out
    assert "'other'" not in said.out
    assert "allocation replay --rejected-all --reason unknown_merchant" in said.out


def test_an_unknown_reference_gets_advice(scene: Scene) -> None:
    """Orders that no intake has read may hold it."""

    async def publish(store: Any, _: Any) -> None:
        await store.redis.xadd(scene.settings.orders_stream, {"event": json.dumps(order("sp_1"))})

    scene.do(publish)
    said = scene.run("explain", "sp_1", "--json")
    assert said.code == 1
    assert said.document["shipments"] == []
    assert "is intake running?" in said.document["advice"][0]


def test_a_record_that_cannot_be_read(scene: Scene) -> None:
    """It is shown as far as it is known, with what is wrong, and a failed one stays failed on replay."""
    scene.merchant()
    scene.accept(order("s1"))
    scene.do(lambda store, _: store.redis.hset("allocation:shipment:acme:s1", "progress", "{not json"))
    said = scene.run("explain", "s1")
    assert said.code == 0
    assert "this version cannot parse it" in said.out
    assert scene.run("explain", "s1", "--json").document["shipments"][0]["unreadable"]


def test_found_by_order_and_by_event(scene: Scene) -> None:
    """An order number or an event id finds its shipments: one is shown whole, several are listed."""
    scene.merchant()
    scene.merchant("beta")
    scene.accept(order("sp_1", id="evt-7"), order("sp_2", "sp_3", merchant="beta", id="evt-8"))
    by_order = scene.run("explain", "1001", "--json").document["shipments"]
    assert {each["reference"] for each in by_order} == {"sp_1", "sp_2", "sp_3"}
    assert [each["reference"] for each in scene.run("explain", "evt-7", "--json").document["shipments"]] == ["sp_1"]
    listed = scene.run("explain", "evt-8").out
    assert "sp_2" in listed
    assert "sp_3" in listed
    assert "attempt" not in listed
    assert scene.run("explain", "1001", "--merchant", "acme").out.startswith("sp_1 of acme\n")
    assert scene.run("explain", "1002").code == 1


def test_the_index_is_kept_for_a_time(scene: Scene) -> None:
    """The index of a day expires; an order that comes again in another event keeps all of its shipments."""
    scene.merchant()
    scene.accept(order("sp_1"))
    scene.accept(order("sp_2", id="evt-2"))
    found = scene.run("explain", "1001", "--json").document["shipments"]
    assert {each["reference"] for each in found} == {"sp_1", "sp_2"}

    async def expiries(store: Any, _: Any) -> Any:
        return [await store.redis.ttl(key) for key in await store.redis.keys("allocation:orders_index:*")]

    assert all(seconds > 0 for seconds in scene.do(expiries))


def test_labels_and_price(scene: Scene) -> None:
    """An allocated shipment shows its price, its label links, and the header that they need."""
    scene.merchant()
    scene.accept(order("sp_1"))
    got = Allocated(price=Price(net="2.00", gross="2.40", currency="GBP"), labels=(Label("http://x/pdf", "pdf"),))
    scene.allocate(got)
    said = scene.run("explain", "sp_1").out
    assert "price    2.00 net, 2.40 gross, GBP" in said
    assert "label    http://x/pdf (pdf)" in said
    assert "fetch labels with the header x-api-key" in said


def test_a_call_in_flight(scene: Scene) -> None:
    """A call that is out is in the table."""
    scene.merchant()
    scene.accept(order("sp_1"))
    scene.claim()
    said = scene.run("explain", "sp_1").out
    assert "no attempt yet" not in said
    assert "in flight" in said
