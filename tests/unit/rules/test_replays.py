"""Replays: a new rule and plan, while open calls are kept."""

import json
from typing import Any

import pytest

from config.merchant_files.merchant_file import Merchant
from tasks.rules.before_call import first_decision
from tasks.rules.decision import Park, ReadBack
from tasks.rules.progress import Progress, parse_progress
from tasks.rules.replay import NewPlan, choose_new_plan
from tests.factories.merchant_files import SERVICE, V1_API, file_of, rule
from tests.factories.records import record
from tests.factories.shipments import NOW, QUIET_S, VIRTUAL, context, open_call, shipment

HEAVY = rule("{ weight_kg = { over = 20 } }", "{ default_rules = true }")
FACTS = json.loads(record()["intake"]) | {"facts": {"weight_kg": "25", "tags": ["oil"], "moon": "full"}, "seen": [1]}


def replayed(progress: Progress) -> NewPlan:
    """A failed shipment after a replay with the current file."""
    merchant = Merchant(name="acme", file=file_of(V1_API + SERVICE + HEAVY), digest="d")
    return choose_new_plan(merchant, json.dumps(FACTS), progress, NOW)


def test_a_new_plan_is_chosen() -> None:
    """Rule, steps and API generation come from the current file; the facts are those of intake."""
    start = replayed(Progress(entries=7))
    facts = json.loads(start.intake)
    assert (start.plan.rule, facts["rule"], facts["steps"]) == ("heavy", "heavy", [{"default_rules": True}])
    assert facts["api"] == "consignments-v1"
    assert (facts["facts"], facts["order"], facts["event"]) == (FACTS["facts"], "1001", "evt-1")
    assert start.entry == {"at": "2026-11-18T11:06:40.000Z", "action": "replay", "by": "heavy"}
    assert start.progress.entries == 8


def test_unknown_fields_are_kept() -> None:
    """Facts and progress of a newer version are unchanged."""
    start = replayed(parse_progress('{"mood": "good", "attempts": 2}'))
    assert json.loads(start.intake)["seen"] == [1]
    assert json.loads(start.progress.as_json()) == {"mood": "good", "attempts": 2, "unread": True, "entries": 1}


def test_it_begins_at_the_first_step() -> None:
    """The state of the previous plan is removed; the attempts are kept."""
    counts: dict[str, Any] = {"open_calls": 8, "waits": 5, "group_size": 1, "denials": 1, "denied_at": NOW}
    before = Progress(step=2, attempts=9, attempted=2, last_refusal="no", refusal="no", refusal_message="so", **counts)
    assert replayed(before).progress == Progress(attempts=9, unread=True, entries=1)


@pytest.mark.parametrize("kind", ["unknown", "queued"])
def test_an_open_call_is_kept(kind: str) -> None:
    """Time and kind of the latest open call are kept, so that its quiet time is waited for first."""
    before = Progress(**open_call(kind, ago_s=10, also_open=True, repeated_calls=3))
    after = replayed(before).progress
    assert (after.open_kind, after.open_at, after.quiet_from) == (kind, NOW - 10, NOW - 10)
    assert (after.also_open, after.repeated_calls, after.open_calls) == (True, 3, 0)
    decision = first_decision(shipment(VIRTUAL, **vars(after) | {"read_at": NOW - 1}), context())
    assert isinstance(decision, Park)


def test_without_an_open_call_it_is_read_back_first() -> None:
    """Whatever the last outcome, a read-back precedes the first call."""
    assert isinstance(first_decision(shipment(VIRTUAL, **vars(replayed(Progress()).progress)), context()), ReadBack)
    over = replayed(Progress(**open_call(ago_s=QUIET_S))).progress
    assert isinstance(first_decision(shipment(VIRTUAL, **vars(over)), context()), ReadBack)
