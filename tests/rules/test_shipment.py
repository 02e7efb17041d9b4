"""A shipment between tasks: what the ledger keeps of it, and what comes back."""

import json
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.strategies.catalogue import AnyStrategy
from config.strategies.cheapest_quote import CheapestQuote
from config.strategies.default_rules import DefaultRules
from config.strategies.filters import Filters, ServiceFilters
from config.strategies.quote import Quote
from tasks.plan import Facts, Plan, facts_of
from tasks.shipment import Progress, Shipment, from_ledger, intake_facts, iso, published_s, slot
from tests.rules.events_in import event, order, read
from tests.rules.made import GROUP, NOW, SERVICE, VIRTUAL, shipment

FILTERS = Filters(filters=ServiceFilters(direction="inbound", drop_off=False, tags=("Oil",)))
EVERY: tuple[AnyStrategy, ...] = (
    *(VIRTUAL, SERVICE, GROUP, FILTERS),
    *(DefaultRules(default_rules=True), CheapestQuote(cheapest_quote=True), Quote(quote="earliest")),
)


def record(**fields: Any) -> dict[str, Any]:
    """The record of a shipment that has just come in, and these fields."""
    taken = order()
    facts = intake_facts(taken, facts_of(taken.data, taken.data.shipments[0]), plan(*EVERY), "shipments-v2")
    return {"facts": facts.encode(), "received": str(round(NOW * 1000)).encode(), **fields}


def plan(*steps: AnyStrategy) -> Plan:
    """A plan with these steps."""
    return Plan(rule="heavy", why="weight_kg 25 is over 20", steps=steps)


def taken_up(**fields: Any) -> Shipment:
    """The shipment that a task finds in the ledger."""
    return from_ledger("acme", "sp_1", record(**fields))


def test_what_is_fixed_at_intake_comes_back() -> None:
    """Order, event, rule and every kind of step are the same for each task that takes the shipment up."""
    found = taken_up()
    assert (found.merchant, found.reference, found.order, found.order_event) == ("acme", "sp_1", "1001", "evt-1")
    assert (found.api, found.rule, found.steps) == ("shipments-v2", "heavy", EVERY)
    assert (found.received, found.progress, found.losses, found.replays) == (NOW, Progress(), 0, 0)
    assert vars(found).keys() == {each.name for each in fields(Shipment)}


def test_the_facts_that_the_rules_read_are_kept() -> None:
    """The ledger keeps which facts there were and why they led to the rule."""
    facts = json.loads(intake_facts(order(), Facts(weight_kg="25", tags=("a",), shipments=2), plan(SERVICE), "v"))
    assert facts["facts"] == {"weight_kg": "25", "tags": ["a"], "shipments": 2}
    assert facts["why"] == "weight_kg 25 is over 20"


PROGRESS = st.builds(
    Progress,
    step=st.integers(0, 5),
    doubt=st.booleans(),
    unread_refusal=st.none() | st.text(max_size=10),
    unread_message=st.text(max_size=10),
    queued_at=st.none() | st.floats(0, 2e9),
    unknowns=st.integers(0, 1000),
    waits=st.integers(0, 1000),
    attempts=st.integers(0, 1000),
    attempted=st.none() | st.integers(0, 5),
    entries=st.integers(0, 1000),
    last_refusal=st.none() | st.text(max_size=10),
)


@given(PROGRESS)
def test_progress_survives(progress: Progress) -> None:
    """Whatever a task wrote about its progress, the next one reads."""
    assert taken_up(progress=progress.as_json().encode()).progress == progress


def test_progress_of_most_shipments_is_short() -> None:
    """What is as at the beginning is not written."""
    assert Progress().as_json() == "{}"
    assert json.loads(Progress(attempts=1).as_json()) == {"attempts": 1}


@pytest.mark.parametrize(
    ("progress", "must"),
    [
        ({}, False),
        ({"doubt": True}, True),
        ({"queued_at": NOW}, True),
        ({"unread_refusal": ""}, True),
        ({"unknowns": 3}, False),
    ],
)
def test_what_must_be_read_back(progress: dict[str, Any], must: bool) -> None:  # noqa: FBT001  # a row of the table
    """A doubt, a place in the API's queue, and a refusal that named no cause call for a read-back first."""
    assert Progress(**progress).must_read is must


def test_a_call_whose_worker_was_lost_counts_as_unknown() -> None:
    """A task that takes over from a lost worker knows of one more attempt, whose answer nobody heard."""
    before = Progress(step=1, attempts=2, attempted=0, unknowns=0)
    after = taken_up(progress=before.as_json().encode(), doubt=b"1", lost=b"2")
    assert after.progress == replace(before, doubt=True, unknowns=1, attempts=3, attempted=1)
    assert after.losses == 2


def test_a_forgetful_server_leaves_a_doubt() -> None:
    """After a restart of the server a call may be unknown to us: read back first, but no attempt is counted."""
    assert taken_up(unsure=1).progress == Progress(doubt=True)
    assert taken_up(unsure=0).progress == Progress()


def test_a_record_with_every_field() -> None:
    """Losses and replays are counted by the ledger."""
    found = taken_up(progress=None, published=b"", doubt=b"0", lost=b"1", replays=b"4", unsure=0)
    assert (found.progress, found.losses, found.replays) == (Progress(), 1, 4)


@pytest.mark.parametrize(("published", "expected"), [(NOW - 90, NOW - 90), (NOW + 90, NOW)])
def test_no_event_is_of_the_future(published: float, expected: float) -> None:
    """An event that claims a later time than its arrival was published when it arrived."""
    assert taken_up(published=f"{published:.3f}".encode()).published == expected


def test_the_events_own_time() -> None:
    """An event's time arrives in seconds since the epoch, and need not be stated."""
    assert published_s(order()) is None
    assert published_s(read(event() | {"time": "1970-01-01T01:00:10+01:00"})) == 10


def test_steps_follow_each_other() -> None:
    """The present step is the progress' own, and each step but the last has another after it."""
    first, last = shipment(VIRTUAL, GROUP), shipment(VIRTUAL, GROUP, step=1)
    assert (first.strategy, first.has_fallback) == (VIRTUAL, True)
    assert (last.strategy, last.has_fallback) == (GROUP, False)


@given(st.integers(0, 200))
def test_a_story_keeps_its_beginning_and_its_end(entries: int) -> None:
    """However long a story is, the first twenty entries and the last twenty are kept, and no more."""
    kept: dict[str, int] = {}
    for entry in range(1, entries + 1):
        kept[slot(entry)] = entry
    everything = list(range(1, entries + 1))
    assert sorted(kept.values()) == sorted({*everything[:20], *everything[-20:]})


def test_time_in_events() -> None:
    """A time is UTC with milliseconds and a Z."""
    assert iso(0) == "1970-01-01T00:00:00.000Z"
    assert iso(1_795_000_000.25) == "2026-11-18T11:06:40.250Z"
