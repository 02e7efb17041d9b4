"""A shipment between tasks: its record in the ledger, and loading it."""

import json
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.rules.plan import Facts
from tasks.rules.progress import Progress
from tasks.rules.shipment import Shipment, entry_field, intake_record, iso, published_s
from tests.factories.order_events import event, order, read
from tests.factories.records import EVERY, loaded_shipment, plan
from tests.factories.shipments import GROUP, NOW, SERVICE, VIRTUAL, shipment


def test_the_intake_record_round_trip() -> None:
    """Order, event, rule and every kind of step are the same for each task that claims the shipment."""
    found = loaded_shipment()
    assert (found.merchant, found.reference, found.order, found.order_event) == ("acme", "sp_1", "1001", "evt-1")
    assert (found.api, found.rule, found.steps) == ("shipments-v2", "heavy", EVERY)
    assert (found.received, found.progress, found.losses, found.replays) == (NOW, Progress(), 0, 0)
    assert vars(found).keys() == {each.name for each in fields(Shipment)}


def test_the_facts_are_kept() -> None:
    """The ledger keeps the facts and the reason for the chosen rule."""
    facts = json.loads(intake_record(order(), Facts(weight_kg="25", tags=("a",), shipments=2), plan(SERVICE), "v", "f"))
    assert facts["facts"] == {"weight_kg": "25", "tags": ["a"], "shipments": 2}
    assert facts["why"] == "weight_kg 25 is over 20"


def test_a_record_with_every_field() -> None:
    """Losses and replays are counted by the ledger."""
    found = loaded_shipment(
        progress=None, published=b"", lost_call_at=b"0", losses=b"1", replays=b"4", in_doubt_since=0
    )
    assert (found.progress, found.losses, found.replays) == (Progress(), 1, 4)


@pytest.mark.parametrize(("published", "expected"), [(NOW - 90, NOW - 90), (NOW + 90, NOW)])
def test_no_event_is_from_the_future(published: float, expected: float) -> None:
    """An event with a time later than its arrival counts as published at its arrival."""
    assert loaded_shipment(published=f"{published:.3f}".encode()).published == expected


def test_the_events_own_time() -> None:
    """The time of an event is optional, and parsed into seconds since the epoch."""
    assert published_s(order()) is None
    assert published_s(read(event() | {"time": "1970-01-01T01:00:10+01:00"})) == 10


def test_steps_follow_each_other() -> None:
    """The current step is part of the progress, and each step but the last has a next one."""
    first, last = shipment(VIRTUAL, GROUP), shipment(VIRTUAL, GROUP, step=1)
    assert (first.strategy, first.has_fallback) == (VIRTUAL, True)
    assert (last.strategy, last.has_fallback) == (GROUP, False)


@given(st.integers(0, 200))
def test_history_is_bounded(entries: int) -> None:
    """However long a history is, the first twenty entries and the last twenty are kept."""
    kept: dict[str, int] = {}
    for entry in range(1, entries + 1):
        kept[entry_field(entry)] = entry
    everything = list(range(1, entries + 1))
    assert sorted(kept.values()) == sorted({*everything[:20], *everything[-20:]})


def test_time_in_events() -> None:
    """Times are UTC with milliseconds and a Z."""
    assert iso(0) == "1970-01-01T00:00:00.000Z"
    assert iso(1_795_000_000.25) == "2026-11-18T11:06:40.250Z"
