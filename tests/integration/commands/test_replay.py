"""`allocation replay`: failed shipments begin anew, without ever being allocated twice."""

import json
from typing import Any

import pytest

from tasks.rules.replay import MAX_REPLAYS
from tasks.work.ports import Pause
from tests.integration.commands.cli_harness import ALLOCATION, API, HEAVY, Scene, order
from worker.ledger.replay import Replay, ReplayFilter, prepare, requeue_failed

OTHER = API + ALLOCATION.replace('"V"', '"W"') + HEAVY.replace("20", "10").replace("heavy", "bulky")


def failed(scene: Scene, *references: str, **facts: Any) -> None:
    """Have the shipments of an order failed."""
    scene.accept(order(*references, **facts))
    scene.fail()


def due(scene: Scene) -> dict[str, float]:
    """When each waiting shipment is due, in milliseconds."""

    async def act(store: Any, _: Any) -> Any:
        return await store.redis.zrange("allocation:schedule:acme", 0, -1, withscores=True)

    return {reference.decode(): score for reference, score in scene.do(act)}


def again(scene: Scene, *, force: bool = False) -> Replay:
    """Put back all that failed, in this process."""

    async def act(store: Any, _: Any) -> Replay:
        prepared = await prepare(store.redis, scene.settings, ReplayFilter(), rate=1000)
        return await requeue_failed(store, prepared, 0 if force else MAX_REPLAYS)

    return scene.do(act)


def test_a_shipment_begins_anew(scene: Scene) -> None:
    """Rule and plan come from today's file, the facts from the order; the first thing is a read-back."""
    scene.merchant()
    failed(scene, "sp_1", weight_kg=15)
    scene.merchant(text=OTHER)
    assert scene.run("replay", "sp_1").code == 0
    (shipment,) = scene.claim()
    assert (shipment.rule, str(shipment.strategy)) == ("bulky", "service_group freight")
    assert (shipment.replays, shipment.losses) == (1, 0)
    assert shipment.progress.must_read
    assert shipment.progress.attempts == 1
    history = scene.run("explain", "sp_1", "--json").document["shipments"][0]
    assert (history["why"], history["replays"]) == ("weight_kg 15.0 is over 10", 1)
    assert [(entry["action"], entry.get("by")) for entry in history["story"]] == [
        ("allocate", None),
        ("replay", "bulky"),
    ]


def test_a_second_failure_is_a_second_event(scene: Scene) -> None:
    """The id of a failed event carries how often the shipment was put back before."""
    scene.merchant()
    failed(scene, "sp_1")
    assert len(again(scene).items) == 1
    scene.fail()
    event = scene.run("explain", "sp_1", "--json").document["shipments"][0]["event"]
    assert event["id"] == "acme/sp_1/failed/1"


def test_the_record_is_kept_again(scene: Scene) -> None:
    """A shipment that begins anew is forgotten no sooner than it is finished, and is not listed as failed."""
    scene.merchant()
    failed(scene, "sp_1")
    again(scene)

    async def left(store: Any, _: Any) -> Any:
        return await store.redis.ttl("allocation:shipment:acme:sp_1"), await store.redis.exists(
            "allocation:failed:acme"
        )

    assert scene.do(left) == (-1, 0)


def test_conditions_hold_together(scene: Scene) -> None:
    """Merchant, reason and limit choose; a dry run changes nothing; the rate spreads what is put back."""
    scene.merchant()
    scene.merchant("beta")
    failed(scene, "sp_1", "sp_2", "sp_3")
    failed(scene, "sp_1", merchant="beta")
    scene.accept(order("other"))
    scene.fail("wrong_state")
    words = ("replay", "--merchant", "acme", "--reason", "all_steps_refused", "--limit", "2", "--rate", "2")
    dry = scene.run(*words, "--dry-run", "--json").document
    assert (len(dry["requeued"]), dry["left_over"]) == (2, True)
    assert due(scene) == {}
    said = scene.run(*words)
    assert "requeued 2 shipments" in said.out
    assert "more have failed" in said.out
    first, second = due(scene).values()
    assert second - first == 500


def test_one_shipment_of_two_merchants(scene: Scene) -> None:
    """A reference that failed for two merchants must be told apart."""
    scene.merchant()
    scene.merchant("beta")
    failed(scene, "sp_1")
    failed(scene, "sp_1", merchant="beta")
    assert scene.run("replay", "sp_1").code == 2
    assert scene.run("replay", "sp_1", "--merchant", "beta").code == 0
    assert due(scene) == {}


def test_only_what_failed_is_requeued(scene: Scene) -> None:
    """A shipment that waits is left alone, and the exit code says that nothing was done."""
    scene.merchant()
    scene.accept(order("sp_1"))
    before = due(scene)
    said = scene.run("replay", "sp_1", "--json")
    assert said.code == 1
    assert said.document["requeued"] == []
    assert "`allocation explain sp_1` shows its state" in said.err
    assert due(scene) == before


def test_two_at_once_requeue_once(scene: Scene) -> None:
    """Of two replays that looked at the same failure one finds it changed, even if it has failed again by then."""
    scene.merchant()
    failed(scene, "sp_1")
    prepared = scene.do(lambda store, _: prepare(store.redis, scene.settings, ReplayFilter(), rate=50))
    again(scene)
    scene.fail()
    late = scene.do(lambda store, _: requeue_failed(store, prepared, MAX_REPLAYS))
    assert (late.items, [why for _, why in late.kept]) == ((), ["changed_meanwhile"])


def test_somebody_must_insist(scene: Scene) -> None:
    """After ten replays a shipment stays failed, unless forced."""
    scene.merchant()
    failed(scene, "sp_1")
    for _ in range(MAX_REPLAYS):
        assert len(again(scene).items) == 1
        scene.fail()
    said = scene.run("replay", "--all")
    assert said.code == 1
    assert "use --force" in said.err
    assert len(again(scene, force=True).items) == 1
    assert scene.claim()[0].replays == MAX_REPLAYS + 1


def test_without_a_file_there_is_no_plan(scene: Scene) -> None:
    """A merchant whose file is wrong keeps its failed shipments until it is mended."""
    scene.merchant()
    failed(scene, "sp_1")
    scene.merchant(text="[api")
    said = scene.run("replay", "--all")
    assert said.code == 1
    assert "sp_1 of acme was not requeued: without a valid merchant file" in said.err


def test_a_whole_merchant_resumes(scene: Scene) -> None:
    """Replaying a merchant lifts its pause: what was parked for it is due."""
    scene.merchant()
    scene.accept(order("sp_1"))
    scene.park(wait_s=600)
    scene.do(lambda _, ledger: ledger.pause("acme", Pause(why="401"), ""))
    assert scene.run("replay", "--merchant", "acme", "--dry-run").code == 0
    assert scene.claim() == []
    said = scene.run("replay", "--merchant", "acme")
    assert "the merchant was resumed; 1 parked shipment became due" in said.out
    assert [shipment.reference for shipment in scene.claim()] == ["sp_1"]
    assert scene.do(lambda _, ledger: ledger.paused()) == {}


@pytest.mark.parametrize("dry", [True, False])
def test_rejected_events_are_published_again(scene: Scene, *, dry: bool) -> None:
    """Originals that would be taken now go back, each text once and as it was; the others are counted."""
    text = json.dumps(order("sp_1"), indent=1).encode()
    too_large = json.dumps(order("sp_2", comment="x" * 1024 * 1024)).encode()
    scene.accept(text, text, b"{", too_large, order("sp_3", merchant="nobody"))
    scene.merchant()
    said = scene.run("replay", "--rejected-all", "--json", *(["--dry-run"] if dry else []))
    assert said.code == 0
    assert said.document["events"] == 1
    assert said.document["still_wrong"] == {"bad_json": 1, "unknown_merchant": 1}

    async def published(store: Any, _: Any) -> Any:
        return [fields[b"event"] for _, fields in await store.redis.xrange(scene.settings.orders_stream)]

    assert scene.do(published) == ([] if dry else [text])


def test_mended_events_are_published(scene: Scene) -> None:
    """A file of mended events goes the way of `publish`, and is looked at first."""
    (scene.folder / "mended.json").write_text(json.dumps(order("sp_1")))
    assert scene.run("replay", "--rejected", "mended.json").out == "published 1 event\n"
    (scene.folder / "mended.json").write_text(json.dumps(order("sp 1")))
    assert scene.run("replay", "--rejected", "mended.json").code == 1
