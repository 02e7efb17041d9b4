"""`allocation replay`: failed shipments are requeued, and never allocated twice."""

import json
from typing import Any

import pytest

from tasks.rules.replay import MAX_REPLAYS
from tasks.work.ports import Pause
from tests.integration.commands.cli_harness import ALLOCATION, API, FILE, HEAVY, CliHarness, order
from worker.ledger.replay import Replay, ReplayFilter, prepare, requeue_failed

OTHER = API + ALLOCATION.replace('"V"', '"W"') + HEAVY.replace("20", "10").replace("heavy", "bulky")


def fail_order(cli: CliHarness, *references: str, **facts: Any) -> None:
    """Fail the shipments of an order."""
    cli.accept(order(*references, **facts))
    cli.fail()


def due(cli: CliHarness) -> dict[str, float]:
    """Due times of the scheduled shipments, in milliseconds."""

    async def act(store: Any, _: Any) -> Any:
        return await store.redis.zrange("allocation:schedule:acme", 0, -1, withscores=True)

    return {reference.decode(): score for reference, score in cli.do(act)}


def replay_failed(cli: CliHarness, *, force: bool = False) -> Replay:
    """Replay every failed shipment, in this process."""

    async def act(store: Any, _: Any) -> Replay:
        max_replays = 0 if force else MAX_REPLAYS
        prepared = await prepare(store.redis, cli.settings, ReplayFilter(), 1000, max_replays)
        return await requeue_failed(store, prepared, max_replays)

    return cli.do(act)


def test_a_replay(cli: CliHarness) -> None:
    """Rule and plan come from the current file, the facts from the order; the first request is a read-back."""
    cli.merchant()
    fail_order(cli, "sp_1", weight_kg=15)
    cli.merchant(text=OTHER)
    assert cli.run("replay", "sp_1").code == 0
    (shipment,) = cli.claim()
    assert (shipment.rule, str(shipment.strategy)) == ("bulky", "service_group freight")
    assert (shipment.replays, shipment.losses) == (1, 0)
    assert shipment.progress.must_read
    assert shipment.progress.attempts == 1
    history = cli.run("explain", "sp_1", "--json").document["shipments"][0]
    assert (history["why"], history["replays"]) == ("weight_kg 15.0 is over 10", 1)
    assert [(entry["action"], entry.get("by")) for entry in history["history"]] == [
        ("allocate", None),
        ("replay", "bulky"),
    ]


def test_a_second_failure_is_a_second_event(cli: CliHarness) -> None:
    """The id of a failed event contains the number of earlier replays."""
    cli.merchant()
    fail_order(cli, "sp_1")
    assert len(replay_failed(cli).items) == 1
    cli.fail()
    event = cli.run("explain", "sp_1", "--json").document["shipments"][0]["event"]
    assert event["id"] == "acme/sp_1/failed/1"


def test_the_record_does_not_expire(cli: CliHarness) -> None:
    """The record of a replayed shipment expires only after it is settled, and the shipment is not listed as failed."""
    cli.merchant()
    fail_order(cli, "sp_1")
    replay_failed(cli)

    async def left(store: Any, _: Any) -> Any:
        return await store.redis.ttl("allocation:shipment:acme:sp_1"), await store.redis.exists(
            "allocation:failed:acme"
        )

    assert cli.do(left) == (-1, 0)


def test_conditions_are_combined(cli: CliHarness) -> None:
    """Merchant, reason and limit select; a dry run changes nothing; the rate spreads the due times."""
    cli.merchant()
    cli.merchant("beta")
    fail_order(cli, "sp_1", "sp_2", "sp_3")
    fail_order(cli, "sp_1", merchant="beta")
    cli.accept(order("other"))
    cli.fail("wrong_state")
    words = ("replay", "--merchant", "acme", "--reason", "all_steps_refused", "--limit", "2", "--rate", "2")
    dry = cli.run(*words, "--dry-run", "--json").document
    assert (len(dry["requeued"]), dry["left_over"]) == (2, True)
    assert due(cli) == {}
    result = cli.run(*words)
    assert "requeued 2 shipments" in result.out
    assert "more have failed" in result.out
    first, second = due(cli).values()
    assert second - first == 500


def test_a_strategy_selects(cli: CliHarness) -> None:
    """Failures of another last strategy stay; a strategy without failures is an error that lists the known ones."""
    cli.merchant()
    fail_order(cli, "light")
    fail_order(cli, "heavy", weight_kg=30)
    unknown = cli.run("replay", "--strategy", "virtual_service W")
    assert unknown.code == 1
    assert "known: service_group freight, virtual_service V" in unknown.err
    by_strategy = ("--merchant", "acme", "--strategy", "service_group freight")
    assert [cause["example"] for cause in cli.run("failed", *by_strategy, "--json").document] == ["heavy"]
    assert "dismissed 1 failed shipment" in cli.run("dismiss", *by_strategy, "--why", "test").out
    assert cli.run("replay", "--strategy", "virtual_service V").code == 0
    assert set(due(cli)) == {"light"}
    assert cli.run("replay", "--rejected-all", "--strategy", "virtual_service V").code == 2


def test_one_shipment_of_two_merchants(cli: CliHarness) -> None:
    """A reference that failed for two merchants requires a merchant."""
    cli.merchant()
    cli.merchant("beta")
    fail_order(cli, "sp_1")
    fail_order(cli, "sp_1", merchant="beta")
    assert cli.run("replay", "sp_1").code == 2
    assert cli.run("replay", "sp_1", "--merchant", "beta").code == 0
    assert due(cli) == {}


def test_only_failed_shipments_are_requeued(cli: CliHarness) -> None:
    """A parked shipment is unchanged, and the exit code reports that nothing was requeued."""
    cli.merchant()
    cli.accept(order("sp_1"))
    before = due(cli)
    result = cli.run("replay", "sp_1", "--json")
    assert result.code == 1
    assert "no failed shipment 'sp_1'" in result.err
    assert due(cli) == before


def test_concurrent_replays_requeue_once(cli: CliHarness) -> None:
    """Of two replays of the same failure the second finds it changed, even if the shipment has failed again by then."""
    cli.merchant()
    fail_order(cli, "sp_1")
    prepared = cli.do(lambda store, _: prepare(store.redis, cli.settings, ReplayFilter(), rate=50))
    replay_failed(cli)
    cli.fail()
    late = cli.do(lambda store, _: requeue_failed(store, prepared, MAX_REPLAYS))
    assert (late.items, [why for _, why in late.kept]) == ((), ["changed_meanwhile"])


def test_many_replays_must_be_forced(cli: CliHarness) -> None:
    """After ten replays a shipment stays failed, unless forced."""
    cli.merchant()
    fail_order(cli, "sp_1")
    for _ in range(MAX_REPLAYS):
        assert len(replay_failed(cli).items) == 1
        cli.fail()
    result = cli.run("replay", "--all")
    assert result.code == 1
    assert "use --force" in result.err
    assert len(replay_failed(cli, force=True).items) == 1
    assert cli.claim()[0].replays == MAX_REPLAYS + 1


def test_without_a_file_there_is_no_plan(cli: CliHarness) -> None:
    """Failed shipments of a merchant with an invalid file stay failed until it is fixed."""
    cli.merchant()
    fail_order(cli, "sp_1")
    cli.merchant(text="[api")
    result = cli.run("replay", "--all")
    assert result.code == 1
    assert "sp_1 of acme was not requeued: without a valid merchant file" in result.err


def test_a_replay_does_not_resume(cli: CliHarness) -> None:
    """Replaying a merchant leaves its pause; `allocation resume` lifts it."""
    cli.merchant()
    fail_order(cli, "sp_1")
    cli.do(lambda _, ledger: ledger.pause("acme", Pause(why="401"), ""))
    assert cli.run("replay", "--merchant", "acme").code == 0
    assert cli.do(lambda _, ledger: ledger.paused()).keys() == {"acme"}


@pytest.mark.parametrize("option", [["--reason", "nonsense"], ["--merchant", "nonsense"], ["nonsense"]])
def test_a_value_that_does_not_exist(cli: CliHarness, option: list[str]) -> None:
    """An unknown reason, merchant or reference is an error that lists the known ones."""
    cli.merchant()
    fail_order(cli, "sp_1")
    result = cli.run("replay", *option)
    assert result.code == 1
    known = {"--reason": "conflict", "--merchant": "known: acme"}.get(option[0], "known: sp_1")
    assert known in result.err


def test_a_dry_run_compares_the_plans(cli: CliHarness) -> None:
    """A dry run shows the whole plan before and now."""
    cli.merchant()
    fail_order(cli, "sp_1")
    cli.merchant(text=FILE.replace('carrier_service = "C"', 'carrier_service = "D"'))
    (found,) = cli.run("replay", "--all", "--dry-run", "--json").document["requeued"]
    assert found["plan_before"] == "default: virtual_service V, then carrier_service C"
    assert found["plan_now"] == "default: virtual_service V, then carrier_service D"


@pytest.mark.parametrize("dry", [True, False])
def test_rejected_events_are_published_again(cli: CliHarness, *, dry: bool) -> None:
    """Originals that would be accepted now are published unchanged, once; the others are counted."""
    text = json.dumps(order("sp_1"), indent=1).encode()
    too_large = json.dumps(order("sp_2", comment="x" * 1024 * 1024)).encode()
    cli.accept(text, text, b"{", too_large, order("sp_3", merchant="unknown"))
    cli.merchant()
    result = cli.run("replay", "--rejected-all", "--json", *(["--dry-run"] if dry else []))
    assert result.code == 0
    assert result.document["events"] == 2
    assert result.document["still_wrong"] == {"bad_json": 1, "unknown_merchant": 1}

    async def published(store: Any, _: Any) -> Any:
        return [fields[b"event"] for _, fields in await store.redis.xrange(cli.settings.orders_stream)]

    assert cli.do(published) == ([] if dry else [text, text])
    again = cli.run("replay", "--rejected-all", "--json")
    assert again.document["events"] == (2 if dry else 0)


def test_fixed_events_are_published(cli: CliHarness) -> None:
    """A file of fixed events is validated and published."""
    (cli.folder / "fixed.json").write_text(json.dumps(order("sp_1")))
    assert cli.run("replay", "--rejected", "fixed.json").out == "published 1 event again\n"
    (cli.folder / "fixed.json").write_text(json.dumps(order("sp 1")))
    assert cli.run("replay", "--rejected", "fixed.json").code == 1


def test_exported_events_are_dealt_with(cli: CliHarness) -> None:
    """Rejected events are exported, fixed and published once; then nothing is left to deal with."""
    cli.merchant()
    event = json.dumps(order("sp_1") | {"id": 5}, indent=1).replace("1.0", "1.10")
    cli.accept(event.encode(), b"not json")
    assert cli.run("rejected", "--export", "fix.jsonl").code == 0
    file = cli.folder / "fix.jsonl"
    (line, other) = file.read_text().splitlines()
    assert "1.10" in line
    assert json.loads(other)["event"] == "not json"
    file.write_text(line.replace('"id": 5', '"id": "evt-5"').replace('"specversion": "1.10"', '"specversion": "1.0"'))
    assert cli.run("replay", "--rejected", "fix.jsonl").out == "published 1 event again\n"
    result = cli.run("replay", "--rejected", "fix.jsonl")
    assert result.out == "published 0 events again\n1 event had been dealt with before\n"
    assert [each["reason"] for each in cli.run("rejected", "--json").document] == ["bad_json"]
    assert cli.run("dismiss", "--rejected-all", "--why", "a test").out == "dismissed 1 rejected event\n"
    assert cli.run("rejected", "--json").document == []
    assert cli.run("status", "--json").document["rejected"] == []
