"""`allocation explain`: the whole story of a shipment, and what happens next."""

import json
from typing import Any

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
    assert [entry["outcome"] for entry in shipment["story"]] == ["allocated"]


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
