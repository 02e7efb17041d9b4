"""The contract from outside: order events in, allocated and failed events out, through Redis streams only."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from tests.acceptance.system import System, order_event, running, v2_file, wait_until

ROLES = ("intake", "worker", "beat")


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A running system with a merchant for each case."""
    with running(tmp_path_factory.mktemp("system"), *ROLES) as system:
        url = system.url
        linet = '{ virtual_service = "FF_LINET-00001" }'
        both = '[{ carrier_service = "EXPRESS" }, { service_group = "EXPRESS" }]'
        when = "when = { weight_kg = { over = 20 } }"
        rule = f'[[rules]]\nname = "heavy"\n{when}\nstrategy = {{ service_group = "freight" }}\n'
        steps = '[{ carrier_service = "ALWAYS_REFUSES" }, { service_group = "valuableGoods" }]'
        system.merchant("virtual", v2_file(url, linet, more=rule))
        system.merchant("ambiguous", v2_file(url, '{ virtual_service = "EXPRESS" }', both))
        system.merchant("unknown404", v2_file(url, '{ virtual_service = "nope" }', steps))
        system.merchant("unknown400", v2_file(url, '{ virtual_service = "missing_x" }', steps))
        system.merchant("refused", v2_file(url, '{ virtual_service = "ALWAYS_REFUSES" }', steps))
        system.merchant("carrier", v2_file(url, '{ carrier_service = "FF_LINET-00001" }'))
        system.merchant("group", v2_file(url, '{ service_group = "valuableGoods" }'))
        refuses = '{ virtual_service = "ALWAYS_REFUSES" }'
        system.merchant("hopeless", v2_file(url, refuses, '[{ service_group = "nope" }]'))
        yield system


def settle(system: System, *events: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """Publish, wait for this number of settled shipments, and return the events of these references."""
    before = system.settled()
    references = {s["reference"] for event in events for s in event["data"]["shipments"]}
    system.publish(events)
    system.wait_settled(before + count)
    return [event for event in system.allocated() + system.failed() if event["shipment"] in references]


def test_virtual_service(system: System) -> None:
    """The call of the vendor's example page is published with carrier, price as text, tracking and both label links."""
    (event,) = settle(system, order_event("virtual", ["sp_00802615769404976542730318118912"]), count=1)
    assert event["strategy"] == {"virtual_service": "FF_LINET-00001"}
    assert event["carrier"] == {
        "reference": "FF_LINET",
        "name": "Lineten",
        "service_reference": "FF_LINET-00001",
        "service_name": "Lineten - Standard On Demand",
    }
    assert event["price"] == {"net": "2.00", "gross": "2.00", "currency": "GBP"}
    assert [label["format"] for label in event["labels"]] == ["pdf", "zpl"]
    assert (event["fell_back"], event["adopted"], event["attempts"], event["rule"]) == (False, False, 1, "default")


@pytest.mark.parametrize(
    ("merchant", "strategy", "attempts"),
    [
        ("ambiguous", {"carrier_service": "EXPRESS"}, 2),
        ("unknown404", {"service_group": "valuableGoods"}, 3),
        ("unknown400", {"service_group": "valuableGoods"}, 3),
        ("refused", {"service_group": "valuableGoods"}, 3),
    ],
)
def test_fallback(system: System, merchant: str, strategy: dict[str, str], attempts: int) -> None:
    """A virtual service that is ambiguous, unknown or refused falls back step by step, as in the merchant file."""
    (event,) = settle(system, order_event(merchant, [f"sp_{merchant}"]), count=1)
    assert (event["strategy"], event["fell_back"], event["attempts"]) == (strategy, True, attempts)


def task_counts(system: System) -> Counter[str]:
    """Number of finished tasks of the worker by name, once it is idle."""
    with Celery(broker=f"{system.server.url.removesuffix('0')}1", set_as_current=False) as app:
        inspect = app.control.inspect(timeout=2.0)

        def is_idle() -> bool:
            active = inspect.active()
            return active is not None and not any(active.values())

        wait_until(is_idle, 20, "no task is running")
        totals = [stats["total"] for stats in (inspect.stats() or {}).values()]
    return Counter({name: count for total in totals for name, count in total.items()})


def test_a_link_without_shipments_is_not_sent(system: System) -> None:
    """A chain ends when nothing fell back: the second step's link runs, and the third one's does not."""
    before = task_counts(system)
    settle(system, order_event("ambiguous", ["sp_ends_early"]), count=1)
    wait_until(
        lambda: (task_counts(system) - before)["allocation.fallback.carrier_service"] == 1, 20, "the link has run"
    )
    assert (task_counts(system) - before)["allocation.fallback.service_group"] == 0


@pytest.mark.parametrize(("merchant", "name"), [("carrier", "carrier_service"), ("group", "service_group")])
def test_direct_strategies(system: System, merchant: str, name: str) -> None:
    """A carrier service and a service group can be called for directly."""
    (event,) = settle(system, order_event(merchant, [f"sp_{merchant}"]), count=1)
    assert list(event["strategy"]) == [name]


def test_rule(system: System) -> None:
    """The first matching rule selects the strategy, and the event names it."""
    system.create({"reference": "sp_heavy", "weight_kg": 25})
    (event,) = settle(system, order_event("virtual", ["sp_heavy"], facts={"weight_kg": 25}), count=1)
    assert (event["rule"], event["strategy"]) == ("heavy", {"service_group": "freight"})


def test_all_steps_refused(system: System) -> None:
    """When every step is refused the shipment fails with its reason and the reason of each step."""
    (event,) = settle(system, order_event("hopeless", ["sp_hopeless"]), count=1)
    assert event["reason"] == "all_steps_refused"
    assert [(step["strategy"], step["outcome"]) for step in event["steps"]] == [
        ({"virtual_service": "ALWAYS_REFUSES"}, "refused"),
        ({"service_group": "nope"}, "refused"),
    ]


def test_a_lost_response_is_adopted(system: System) -> None:
    """A connection that drops after the API has acted leads to a read-back, not to a second allocation."""
    system.faults({"fault": "drop", "on": "allocate", "references": ["sp_lost"], "acts": True, "times": 1})
    (event,) = settle(system, order_event("virtual", ["sp_lost"]), count=1)
    assert event["adopted"] is True
    assert event["labels"]
    assert system.counts()["blind_repeats"] == []


def test_throttled_and_queued(system: System) -> None:
    """A 429 with Retry-After is waited for, a 202 is read back until it is allocated, neither falls back."""
    system.faults(
        {"fault": "throttled", "on": "allocate", "references": ["sp_thr"], "retry_after_s": 1, "times": 1},
        {"fault": "queued", "on": "allocate", "references": ["sp_que"], "times": 1},
    )
    events = settle(system, order_event("virtual", ["sp_thr"]), order_event("virtual", ["sp_que"]), count=2)
    found = {event["shipment"]: event for event in events}
    assert (found["sp_thr"]["fell_back"], found["sp_thr"]["attempts"]) == (False, 2)
    assert (found["sp_que"]["fell_back"], found["sp_que"]["adopted"]) == (False, True)


def test_duplicates(system: System) -> None:
    """A repeated event, or a shipment in two events, is one allocation; a new shipment in a repeat is accepted."""
    first = order_event("virtual", ["sp_dup1"], event_id="dup")
    more = order_event("virtual", ["sp_dup1", "sp_dup2"], event_id="dup")
    events = settle(system, first, first, more, order_event("virtual", ["sp_dup2"]), count=2)
    assert sorted(event["shipment"] for event in events) == ["sp_dup1", "sp_dup2"]


def test_the_same_reference_of_two_merchants(tmp_path: Path) -> None:
    """A shipment is identified by merchant and reference: two merchants, two shipments, two events."""
    keys = ("--key", "key-a", "--key", "key-b")
    with running(tmp_path, *ROLES, sandbox=keys, KEY_A="key-a", KEY_B="key-b") as system:
        for name in ("a", "b"):
            strategy = '{ virtual_service = "FF_LINET-00001" }'
            system.merchant(name, v2_file(system.url, strategy, key=f"KEY_{name.upper()}"))
        system.publish([order_event("a", ["sp_same"]), order_event("b", ["sp_same"])])
        system.wait_settled(2)
        assert sorted(event["merchant"] for event in system.allocated()) == ["a", "b"]
        assert system.counts()["puts"] == 2


def _event_for(reference: str) -> str:
    return json.dumps(order_event("virtual", ["x"])).replace('"x"', json.dumps(reference))


def test_many_invalid_events(system: System) -> None:
    """Each invalid event is in orders.rejected with its reason and its text; the valid one among them is allocated."""
    good = order_event("virtual", ["sp_among_bad"])
    bad = {
        "{": "bad_json",
        '{"specversion": "1.0"}': "bad_envelope",
        json.dumps({**good, "specversion": "0.3"}): "bad_envelope",
        json.dumps({**good, "data": {"merchant": "virtual"}}): "bad_order",
        json.dumps(order_event("unknown", ["sp_x"])): "unknown_merchant",
        json.dumps(order_event("../../etc/passwd", ["sp_x"])): "unknown_merchant",
        json.dumps({**good, "padding": "x" * 2_000_000}): "event_too_large",
        **{_event_for(r): "bad_order" for r in ("../x", "a/b", "", "..", "x" * 65, "a b", "é", "a\nb", "%2e")},
    }
    system.publish([*bad, good])
    system.wait_settled(system.settled() + 1)
    wait_until(lambda: len(system.rejected()) >= len(bad), 10, "rejected events")
    found = {entry["event"]: entry for entry in system.rejected()}
    for event, reason in bad.items():
        kept = event if len(event) < 1_000_000 else event[: 64 * 1024]
        assert found[kept]["reason"] == reason, event[:200]
        assert found[kept]["error"]
