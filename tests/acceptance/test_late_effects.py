"""An API that acts after its response: no shipment is booked twice, and none is abandoned."""

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.system import ALL_ZERO, System, order_event, running, v1_file, v2_file, wait_until
from tests.perf.chaos.late import late_faults, retry, write_late_merchants
from tests.perf.chaos.run import ROLES

LINET = '{ carrier_service = "FF_LINET-00001" }'
QUIET_S = 1.0


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A running system."""
    with running(tmp_path_factory.mktemp("system"), *ROLES) as system:
        yield system


def test_late_effects_of_every_kind(system: System) -> None:
    """Single, queued and bulk calls of v2, v1 in JSON and XML: late by up to 0.9 of the quiet time, in all faults."""
    times = write_late_merchants(system, QUIET_S)
    names = [name for name in times if name != "slowly"]
    shipments = [(names[n % len(names)], f"sp_late{n:04d}") for n in range(140)]
    system.faults(*late_faults(random.Random(11), times, shipments))  # noqa: S311  # repeatable, no secret
    system.publish(order_event(merchant, [reference]) for merchant, reference in shipments)
    system.wait_settled(len(shipments), 90)
    system.faults()
    assert system.verdict(shipments) == ALL_ZERO


def test_unallocated_within_a_queue_time_does_not_count(system: System) -> None:
    """202, then `unallocated` for a while: one PUT, some read-backs, and the shipment is adopted once allocated."""
    system.merchant("lag", v2_file(system.url, LINET, more=retry(1, 6)))
    system.faults({"fault": "late", "late_s": 3.5, "references": ["sp_lag"]})
    before = system.settled()
    system.publish([order_event("lag", ["sp_lag"])])
    system.wait_settled(before + 1, 30)
    (event,) = [event for event in system.allocated() if event["shipment"] == "sp_lag"]
    calls = system.calls()["sp_lag"]
    assert event["adopted"] is True
    assert [call.kind for call in calls].count("allocate") == 1
    assert 2 <= [call.kind for call in calls].count("read") <= 10


def test_an_unknown_call_has_few_read_backs(system: System) -> None:
    """A quiet time has at most ten read-backs, the last of them after it; then the call is repeated."""
    system.merchant("few", v2_file(system.url, LINET, more=retry(4, 8)))
    system.faults({"fault": "status", "status": 502, "references": ["sp_few"], "on": "allocate", "times": 1})
    before = system.settled()
    system.publish([order_event("few", ["sp_few"])])
    system.wait_settled(before + 1, 30)
    first, *reads, second = system.calls()["sp_few"]
    assert [first.kind, second.kind, {call.kind for call in reads}] == ["allocate", "allocate", {"read"}]
    assert 3 <= len(reads) <= 10
    assert second.at - first.end >= 4
    pauses = [after.at - before.at for before, after in zip([first, *reads], reads, strict=False)]
    assert pauses[:-2] == sorted(pauses[:-2])


def test_refused_while_a_call_is_open(system: System) -> None:
    """A step that is refused after an open call falls back only after a read-back; a plain refusal does at once."""
    fallback = '[{ carrier_service = "FF_LINET-00001" }]'
    system.merchant("after", v2_file(system.url, '{ carrier_service = "NOBODY" }', fallback, more=retry(1, 3)))
    system.faults({"fault": "drop", "references": ["sp_after"], "on": "allocate", "times": 1})
    before = system.settled()
    system.publish([order_event("after", ["sp_after"]), order_event("after", ["sp_plain"])])
    system.wait_settled(before + 2, 30)
    calls = system.calls()
    kinds = [call.kind for call in calls["sp_after"]]
    # The open call and its read-backs; the refusal and one read-back; the next step begins with another one.
    assert [kinds[0], *kinds[-4:]] == ["allocate", "allocate", "read", "read", "allocate"]
    plain = [call for call in calls["sp_plain"] if call.kind == "allocate"]
    assert [call.kind for call in calls["sp_plain"]] == ["allocate", "allocate"]
    assert plain[1].at - plain[0].at < 1


def test_a_gateway_that_sends_twice(system: System) -> None:
    """A conflict or a wrong state as the first response may come from a repeated call: its effect is waited for."""
    fallback = '[{ service_group = "valuableGoods" }]'
    system.merchant("twice", v2_file(system.url, LINET, fallback, more=retry(2, 4)))
    repeated = {"fault": "repeated", "late_s": 1.5}
    system.faults(
        {**repeated, "references": ["sp_state"]}, {**repeated, "references": ["sp_conflict"], "conflict": True}
    )
    before = system.settled()
    system.publish([order_event("twice", ["sp_state"]), order_event("twice", ["sp_conflict"])])
    system.wait_settled(before + 2, 30)
    system.faults()
    assert system.verdict([("twice", "sp_state"), ("twice", "sp_conflict")]) == ALL_ZERO
    events = [event for event in system.allocated() if event["merchant"] == "twice"]
    assert [(event["adopted"], event["fell_back"], event["attempts"]) for event in events] == [(True, False, 1)] * 2


def test_a_worker_lost_suspended_or_replaced_in_a_quiet_time(tmp_path: Path) -> None:
    """SIGKILL, SIGSTOP and a deployment in the middle of a quiet time do not affect it."""
    with running(tmp_path, *ROLES, ALLOCATION_CONCURRENCY="2") as system:
        system.merchant("acme", v2_file(system.url, LINET, more=retry(5, 6)))
        system.merchant("many", v1_file(system.url, LINET, more=retry(5, 6)))
        shipments = [("acme", f"sp_a{n}") for n in range(10)] + [("many", f"sp_m{n}") for n in range(10)]
        system.faults({"fault": "status", "on": "allocate", "late_s": 4.4, "acts_share": 0.5, "times_each": 1})
        system.publish(order_event(merchant, [reference]) for merchant, reference in shipments)
        wait_until(lambda: system.counts()["puts"] >= 11, 20, "the calls")
        system.kill("worker")
        system.start("worker")
        wait_until(lambda: len(system.children("worker")) == 2, 20, "the children")
        stopped = [system.processes["worker"].pid, *system.children("worker")]
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(2)  # the fault itself
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
        system.terminate("worker")
        system.start("worker")
        system.wait_settled(len(shipments), 60)
        assert system.verdict(shipments) == ALL_ZERO
