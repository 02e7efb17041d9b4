"""Operators' actions: hold, resume, cancel, emit, dismiss, and the audit log."""

import json
import subprocess
from typing import Any

import pytest

from tasks.work.ports import Pause
from tests.integration.commands.cli_harness import PROGRAM, CliHarness, order


def test_a_merchant_on_hold(cli: CliHarness) -> None:
    """Its shipments are not claimed until it is resumed; those of others are."""
    cli.merchant()
    cli.merchant("beta")
    cli.accept(order("a1"), order("b1", merchant="beta"))
    assert cli.run("hold", "acme", "--why", "a strike", "--by", "ops").code == 0
    assert [shipment.reference for shipment in cli.claim()] == ["b1"]
    status = cli.run("status", "--json").document
    assert [each["on_hold"] for each in status["merchants"]] == ["a strike", None]
    assert "merchant_on_hold" in [each["slug"] for each in status["problems"]]
    cli.accept(order("a2"))
    assert cli.claim() == []
    assert cli.run("resume", "acme", "--by", "ops").out == "the hold of acme is lifted\n"
    assert {shipment.reference for shipment in cli.claim()} == {"a1", "a2"}
    assert cli.run("resume", "acme").out == "acme was neither on hold nor paused\n"


def test_resume_lifts_a_pause(cli: CliHarness) -> None:
    """Parked shipments of a paused merchant become due."""
    cli.merchant()
    cli.accept(order("sp_1"))
    cli.park(wait_s=600)
    cli.do(lambda _, ledger: ledger.pause("acme", Pause(why="401"), ""))
    assert cli.claim() == []
    assert cli.run("resume", "acme").out == "its pause is lifted; 1 parked shipment became due\n"
    assert [shipment.reference for shipment in cli.claim()] == ["sp_1"]
    assert cli.do(lambda _, ledger: ledger.paused()) == {}


def test_unknown_names(cli: CliHarness) -> None:
    """An unknown merchant or reference is an error that lists the known ones."""
    cli.merchant()
    cli.accept(order("sp_100", "sp_200"))
    assert cli.run("hold", "amce", "--why", "x").err == "Error: no merchant 'amce'; known: acme\n"
    result = cli.run("cancel", "sp_10", "--why", "x")
    assert (result.code, result.err) == (1, "Error: no shipment 'sp_10'; known: sp_100, sp_200\n")
    assert cli.run("emit", "sp_100").err.startswith("Error: sp_100 is not settled")


def test_a_cancelled_shipment_is_claimed_for_a_read_back(cli: CliHarness) -> None:
    """It becomes due, its first call is not permitted with the claim, and it carries who cancelled it and why."""
    cli.merchant()
    cli.accept(order("sp_1"))
    cli.park(wait_s=600)
    assert cli.run("cancel", "sp_1", "--why", "sold twice", "--by", "ops").code == 0
    (shipment,) = cli.claim()
    assert shipment.cancelled == "cancelled by ops: sold twice"


def test_a_settled_shipment_cannot_be_cancelled(cli: CliHarness) -> None:
    """It is an error, and nothing is written."""
    cli.merchant()
    cli.accept(order("sp_1"))
    cli.allocate()
    result = cli.run("cancel", "sp_1", "--why", "x")
    assert (result.code, result.err) == (1, "Error: sp_1 of acme is settled already\n")
    assert cli.run("audit", "--json").document == []


def test_an_event_is_published_again(cli: CliHarness) -> None:
    """The same event, with the same id, is a second entry of the stream."""
    cli.merchant()
    cli.accept(order("sp_1"))
    cli.allocate()
    assert cli.run("emit", "sp_1").code == 0

    async def published(store: Any, _: Any) -> Any:
        entries = await store.redis.xrange(cli.settings.allocated_stream)
        return [json.loads(fields[b"event"]) for _, fields in entries]

    first, second = cli.do(published)
    assert first == second


def test_dismissed_failures_no_longer_count(cli: CliHarness) -> None:
    """Counts reach zero; the shipment can still be explained, and replayed by its reference."""
    cli.merchant()
    cli.accept(order("sp_1", "sp_2"))
    cli.fail()
    assert cli.run("dismiss", "sp_1", "--why", "known", "--dry-run").out == "would dismiss 1 failed shipment\n"
    assert cli.run("dismiss", "--all", "--why", "known").out == "dismissed 2 failed shipments\n"
    assert cli.run("failed", "--json").document == []
    assert cli.run("status", "--json").document["merchants"][0]["failed"] == 0
    assert cli.run("explain", "sp_1").code == 0
    assert cli.run("replay", "sp_1").code == 0


def test_a_replay_ends_a_dismissal(cli: CliHarness) -> None:
    """A dismissed shipment that is replayed and fails again is to be dealt with again."""
    cli.merchant()
    cli.accept(order("sp_1"))
    cli.fail()
    cli.run("dismiss", "sp_1", "--why", "known", "--by", "ops")
    assert cli.run("explain", "sp_1", "--json").document["shipments"][0]["dismissed"].startswith("by ops at ")
    assert cli.run("replay", "sp_1").code == 0
    cli.fail()
    assert cli.run("explain", "sp_1", "--json").document["shipments"][0]["dismissed"] is None
    assert len(cli.run("failed", "--list", "--json").document) == 1


def test_several_references_at_once(cli: CliHarness) -> None:
    """All are requeued, or dismissed; with one that is unknown, or that several merchants have, none is."""
    cli.merchant()
    cli.merchant("beta")
    cli.accept(order("sp_1", "sp_2", "sp_3", "sp_4"), order("sp_4", merchant="beta"))
    cli.fail()
    assert cli.run("dismiss", "sp_1", "sp_9", "--why", "x").err.startswith("Error: no failed shipment 'sp_9'; known: ")
    both = cli.run("dismiss", "sp_1", "sp_4", "--why", "x")
    assert (both.code, "have the reference sp_4; add --merchant" in both.err) == (2, True)
    assert cli.run("dismiss", "sp_1", "sp_4", "--merchant", "beta", "--why", "x").code == 1
    assert cli.run("dismiss", "sp_1", "sp_2", "--why", "x").out == "dismissed 2 failed shipments\n"
    assert cli.run("replay", "sp_2", "sp_3").out.splitlines()[-1].startswith("requeued 2 shipments")
    assert [each["reference"] for each in cli.run("failed", "--list", "--json").document] == ["sp_4", "sp_4"]


def test_lost_orders_are_dismissed(cli: CliHarness) -> None:
    """The count of lost orders is a problem until it is dismissed."""

    async def lose(store: Any, _: Any) -> None:
        await store.redis.set("allocation:lost_orders", 3)

    cli.do(lose)
    assert "orders_lost" in [each["slug"] for each in cli.run("status", "--json").document["problems"]]
    would = cli.run("dismiss", "--lost", "--why", "published again", "--dry-run").out
    assert would == "would dismiss 3 lost orders\n"
    assert cli.run("dismiss", "--lost", "--why", "published again").out == "dismissed 3 lost orders\n"
    assert "orders_lost" not in [each["slug"] for each in cli.run("status", "--json").document["problems"]]


def test_the_audit_log(cli: CliHarness) -> None:
    """Each action is there with who, when, how many and why, the newest first."""
    cli.merchant()
    cli.accept(order("sp_1"))
    cli.fail()
    cli.run("hold", "acme", "--why", "a strike", "--by", "ops")
    cli.run("resume", "acme", "--by", "ops")
    cli.run("replay", "sp_1", "--by", "ops")
    actions = cli.run("audit", "--json").document
    assert [(each["action"], each["subject"], each["count"], each["by"], each["why"]) for each in actions] == [
        ("replay", "sp_1", 1, "ops", ""),
        ("resume", "acme", 0, "ops", ""),
        ("hold", "acme", 1, "ops", "a strike"),
    ]
    assert cli.run("audit", "--limit", "1").out.count("ops") == 1


def test_failed_shipments_are_listed(cli: CliHarness) -> None:
    """Every reference with its order; filters that match nothing are errors."""
    cli.merchant()
    cli.accept(order("sp_1", "sp_2"))
    cli.fail()
    listed = cli.run("failed", "--list", "--json").document
    assert [(each["reference"], each["order"]) for each in listed] == [("sp_1", "1001"), ("sp_2", "1001")]
    assert len(cli.run("failed", "--order", "1001", "--list", "--json").document) == 2
    result = cli.run("failed", "--order", "1002")
    assert (result.code, result.err) == (1, "Error: no order with a failed shipment '1002'; known: 1001\n")


@pytest.mark.parametrize("text", ["", "   ", "x" * 501])
def test_a_reason_is_needed(cli: CliHarness, text: str) -> None:
    """Blank and endless text is refused, and nothing is done."""
    cli.merchant()
    result = cli.run("hold", "acme", "--why", text)
    assert result.code == 2
    assert "must have 1 to 500 characters" in result.err
    assert cli.run("resume", "acme").out == "acme was neither on hold nor paused\n"


def test_arguments_that_are_no_text(cli: CliHarness) -> None:
    """One line, and nothing is done."""
    cli.merchant()
    done = subprocess.run(
        [PROGRAM, "hold", "acme", "--why", b"\xff"],
        cwd=cli.folder,
        env=cli.environment,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (2, b"allocation: an argument is not UTF-8: '\\udcff'\n")
    assert cli.run("audit", "--json").document == []


def test_cancelling_twice(cli: CliHarness) -> None:
    """The first reason stays, and is the only one in the audit log."""
    cli.merchant()
    cli.accept(order("sp_1"))
    for why in ("sold twice", "again"):
        assert cli.run("cancel", "sp_1", "--why", why, "--by", "ops").code == 0
    assert cli.run("explain", "sp_1", "--json").document["shipments"][0]["cancelled"].endswith(": sold twice")
    assert [each["why"] for each in cli.run("audit", "--json").document] == ["sold twice"]
