"""Responses that affect other shipments: bulk refusals, limits, outages, foreign responses."""

import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from tests.acceptance.system import System, order_event, running, v1_file, v2_file, wait_until
from tests.perf.chaos.late import retry
from tests.perf.chaos.run import ROLES

LINET = '{ carrier_service = "FF_LINET-00001" }'
DEFAULT = "{ default_rules = true }"
GROUP = '[{ service_group = "valuableGoods" }]'


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A running system."""
    with running(tmp_path_factory.mktemp("system"), *ROLES) as system:
        yield system


def calls_for(system: System, reference: str) -> list[dict[str, Any]]:
    """The API's log of one shipment."""
    return [entry for entry in system.log_entries() if reference in entry.get("references", ())]


def publish(system: System, merchant: str, count: int) -> list[str]:
    """Publish one order with this number of shipments; returns their references."""
    references = [f"sp_{merchant}{n}" for n in range(count)]
    system.publish([order_event(merchant, references)])
    return references


@pytest.mark.parametrize(
    ("name", "flavour", "strategy"),
    [
        ("v2rules", "v2", DEFAULT),
        ("v2bulk", "v2", LINET),
        ("v1service", "v1", LINET),
        ("v1rules", "v1", DEFAULT),
    ],
)
def test_one_bad_shipment_among_ten_good_ones(system: System, name: str, flavour: str, strategy: str) -> None:
    """A bulk call that is refused as a whole is split until the bad shipment is alone; the good ones are allocated."""
    if flavour == "v2":
        api = "bulk = true\n" if strategy == LINET else ""
        system.merchant(name, v2_file(system.url, strategy, more=retry(1, 3), api=api))
    else:
        system.merchant(name, v1_file(system.url, strategy, more=retry(1, 3)))
    bad = f"sp_{name}7"
    system.faults({"fault": "refused_whole", "because_of": [bad], "partly": flavour == "v1"})
    before = system.settled()
    publish(system, name, 11)
    system.wait_settled(before + 11, 60)
    system.faults()
    allocated = [event["shipment"] for event in system.allocated() if event["merchant"] == name]
    assert len(allocated) == 10
    assert [event["shipment"] for event in system.failed() if event["merchant"] == name] == [bad]
    assert system.counts()["allocated_twice"] == []
    # Halves down to the bad one: about two calls per level, and not one for each shipment at every level.
    calls = [entry for entry in calls_for(system, bad) if entry["kind"] == "allocate"]
    assert len(calls) <= 6


def test_in_flight_counts_every_request(system: System) -> None:
    """With `in_flight = 1` no two requests of a merchant overlap, including bulk calls and their read-backs."""
    more = retry(1, 5) + "[limits]\nin_flight = 1\n"
    system.merchant("one", v2_file(system.url, LINET, more=more, api="bulk = true\n"))
    references = [f"sp_one{n}" for n in range(20)]
    system.faults({"fault": "slow", "latency_s": 0.1, "references": references})
    before = system.settled()
    publish(system, "one", 20)
    system.wait_settled(before + 20, 60)
    system.faults()
    entries = [
        entry for entry in system.log_entries() if entry.get("references") and entry["references"][0] in references
    ]
    assert len(entries) > 20
    assert all(first["answered_at"] <= second["time"] + 0.01 for first, second in pairwise(entries))


def test_retry_after_delays_the_merchant(system: System) -> None:
    """A 503 with `Retry-After` delays all of the merchant's shipments: hardly a call meanwhile."""
    system.merchant("unavailable", v2_file(system.url, LINET, more=retry(1, 3)))
    references = [f"sp_unavailable{n}" for n in range(12)]
    outage = {"fault": "status", "status": 503, "retry_after_s": 6, "references": references}
    system.faults({**outage, "times": 40})
    before, began = system.settled(), time.time()
    publish(system, "unavailable", 4)
    wait_until(lambda: len(calls_for(system, references[0])) > 0, 20, "a call")
    system.publish([order_event("unavailable", references[4:])])
    wait_until(lambda: time.time() - began > 5, 20)
    calls = [
        entry for entry in system.log_entries() if entry.get("references") and entry["references"][0] in references
    ]
    assert len([entry for entry in calls if entry["time"] < began + 5]) <= 8
    system.faults()
    system.wait_settled(before + 12, 60)
    assert len([event for event in system.allocated() if event["merchant"] == "unavailable"]) == 12


def test_a_foreign_404_is_an_outage(system: System) -> None:
    """An ingress that responds 404 is an outage: no shipment falls back, and work continues after it."""
    system.merchant("behind", v2_file(system.url, LINET, GROUP, more=retry(1, 3)))
    references = [f"sp_behind{n}" for n in range(5)]
    system.faults({"fault": "foreign", "status": 404, "references": references})
    before = system.settled()
    publish(system, "behind", 5)
    wait_until(lambda: len(calls_for(system, references[0])) > 1, 20, "a second try")
    system.faults()
    system.wait_settled(before + 5, 60)
    events = [event for event in system.allocated() if event["merchant"] == "behind"]
    assert [event["fell_back"] for event in events] == [False] * 5
