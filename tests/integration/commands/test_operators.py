"""Operators' actions: hold, resume, cancel, emit, dismiss, and the audit log."""

import json
from typing import Any

from tasks.work.ports import Pause
from tests.integration.commands.cli_harness import Scene, order


def test_a_merchant_on_hold(scene: Scene) -> None:
    """Its shipments are not claimed until it is resumed; those of others are."""
    scene.merchant()
    scene.merchant("beta")
    scene.accept(order("a1"), order("b1", merchant="beta"))
    assert scene.run("hold", "acme", "--why", "a strike", "--by", "ops").code == 0
    assert [shipment.reference for shipment in scene.claim()] == ["b1"]
    status = scene.run("status", "--json").document
    assert [each["on_hold"] for each in status["merchants"]] == ["a strike", None]
    assert "merchant_on_hold" in [each["slug"] for each in status["problems"]]
    scene.accept(order("a2"))
    assert scene.claim() == []
    assert scene.run("resume", "acme", "--by", "ops").out == "the hold of acme is lifted\n"
    assert {shipment.reference for shipment in scene.claim()} == {"a1", "a2"}
    assert scene.run("resume", "acme").out == "acme was neither on hold nor paused\n"


def test_resume_lifts_a_pause(scene: Scene) -> None:
    """Parked shipments of a paused merchant become due."""
    scene.merchant()
    scene.accept(order("sp_1"))
    scene.park(wait_s=600)
    scene.do(lambda _, ledger: ledger.pause("acme", Pause(why="401"), ""))
    assert scene.claim() == []
    assert scene.run("resume", "acme").out == "its pause is lifted; 1 parked shipment became due\n"
    assert [shipment.reference for shipment in scene.claim()] == ["sp_1"]
    assert scene.do(lambda _, ledger: ledger.paused()) == {}


def test_unknown_names(scene: Scene) -> None:
    """An unknown merchant or reference is an error that lists the known ones."""
    scene.merchant()
    scene.accept(order("sp_100", "sp_200"))
    assert scene.run("hold", "amce", "--why", "x").err == "Error: no merchant 'amce'; known: acme\n"
    said = scene.run("cancel", "sp_10", "--why", "x")
    assert (said.code, said.err) == (1, "Error: no shipment 'sp_10'; known: sp_100, sp_200\n")
    assert scene.run("emit", "sp_100").err.startswith("Error: sp_100 is not settled")


def test_a_cancelled_shipment_is_claimed_for_a_read_back(scene: Scene) -> None:
    """It becomes due, its first call is not permitted with the claim, and it carries who cancelled it and why."""
    scene.merchant()
    scene.accept(order("sp_1"))
    scene.park(wait_s=600)
    assert scene.run("cancel", "sp_1", "--why", "sold twice", "--by", "ops").code == 0
    (shipment,) = scene.claim()
    assert shipment.cancelled == "cancelled by ops: sold twice"


def test_a_settled_shipment_cannot_be_cancelled(scene: Scene) -> None:
    """It is an error, and nothing is written."""
    scene.merchant()
    scene.accept(order("sp_1"))
    scene.allocate()
    said = scene.run("cancel", "sp_1", "--why", "x")
    assert (said.code, said.err) == (1, "Error: sp_1 of acme is settled already\n")
    assert scene.run("audit", "--json").document == []


def test_an_event_is_published_again(scene: Scene) -> None:
    """The same event, with the same id, is a second entry of the stream."""
    scene.merchant()
    scene.accept(order("sp_1"))
    scene.allocate()
    assert scene.run("emit", "sp_1").code == 0

    async def published(store: Any, _: Any) -> Any:
        entries = await store.redis.xrange(scene.settings.allocated_stream)
        return [json.loads(fields[b"event"]) for _, fields in entries]

    first, second = scene.do(published)
    assert first == second


def test_dismissed_failures_no_longer_count(scene: Scene) -> None:
    """Counts reach zero; the shipment can still be explained, and replayed by its reference."""
    scene.merchant()
    scene.accept(order("sp_1", "sp_2"))
    scene.fail()
    assert scene.run("dismiss", "sp_1", "--why", "known", "--dry-run").out == "would dismiss 1 failed shipment\n"
    assert scene.run("dismiss", "--all", "--why", "known").out == "dismissed 2 failed shipments\n"
    assert scene.run("failed", "--json").document == []
    assert scene.run("status", "--json").document["merchants"][0]["failed"] == 0
    assert scene.run("explain", "sp_1").code == 0
    assert scene.run("replay", "sp_1").code == 0


def test_lost_orders_are_dismissed(scene: Scene) -> None:
    """The count of lost orders is a problem until it is dismissed."""

    async def lose(store: Any, _: Any) -> None:
        await store.redis.set("allocation:lost_orders", 3)

    scene.do(lose)
    assert "orders_lost" in [each["slug"] for each in scene.run("status", "--json").document["problems"]]
    assert scene.run("dismiss", "--lost", "--why", "published again").out == "dismissed 3 lost orders\n"
    assert "orders_lost" not in [each["slug"] for each in scene.run("status", "--json").document["problems"]]


def test_the_audit_log(scene: Scene) -> None:
    """Each action is there with who, when, how many and why, the newest first."""
    scene.merchant()
    scene.accept(order("sp_1"))
    scene.fail()
    scene.run("hold", "acme", "--why", "a strike", "--by", "ops")
    scene.run("resume", "acme", "--by", "ops")
    scene.run("replay", "sp_1", "--by", "ops")
    actions = scene.run("audit", "--json").document
    assert [(each["action"], each["subject"], each["count"], each["by"], each["why"]) for each in actions] == [
        ("replay", "sp_1", 1, "ops", ""),
        ("resume", "acme", 0, "ops", ""),
        ("hold", "acme", 1, "ops", "a strike"),
    ]
    assert scene.run("audit", "--limit", "1").out.count("ops") == 1


def test_failed_shipments_are_listed(scene: Scene) -> None:
    """Every reference with its order; filters that match nothing are errors."""
    scene.merchant()
    scene.accept(order("sp_1", "sp_2"))
    scene.fail()
    listed = scene.run("failed", "--list", "--json").document
    assert [(each["reference"], each["order"]) for each in listed] == [("sp_1", "1001"), ("sp_2", "1001")]
    assert len(scene.run("failed", "--order", "1001", "--list", "--json").document) == 2
    said = scene.run("failed", "--order", "1002")
    assert (said.code, said.err) == (1, "Error: no order with a failed shipment '1002'; known: 1001\n")
