"""What a report counts: the fields of the hashes `metrics` and `activity`."""

import json
from typing import Any

from tasks.rules.frozen import with_changes
from tasks.work.ports import Report
from tests.factories.shipments import GROUP, VIRTUAL, shipment
from worker.ledger.counters import CALL_BUCKETS_S, SETTLE_BUCKETS_S, counted, is_of_merchant

ENTRY = {"action": "allocate", "strategy": {"virtual_service": "V"}, "outcome": "refused", "duration_ms": 230}


def lines(**report: Any) -> dict[str, int]:
    """The counted fields of a report, parsed as Lua parses them."""
    found = counted(Report(lease_token="t", api="api.test#1f", **report))
    parts = (line.partition(" ") for line in found.split("\n") if line)
    return {name: int(by) for by, _, name in parts}


def of(**report: Any) -> dict[tuple[Any, ...], int]:
    """The fields of `metrics`."""
    return {tuple(json.loads(name)): by for name, by in lines(**report).items() if name.startswith("[")}


def recent(**report: Any) -> dict[str, int]:
    """The fields of `activity`."""
    return {name: by for name, by in lines(**report).items() if not name.startswith("[")}


def test_a_call() -> None:
    """A call counts by merchant, action, strategy and outcome, and its duration by host and merchant."""
    assert of(shipment=shipment(VIRTUAL, GROUP, step=1), verdict="hand", entry=ENTRY) == {
        ("calls", "acme", "allocate", "virtual_service V", "refused"): 1,
        ("call_bucket", "api.test", "allocate", 2): 1,
        ("call_ms", "api.test", "allocate"): 230,
        ("merchant_call_ms", "acme"): 230,
    }
    assert CALL_BUCKETS_S[1] < 0.23 <= CALL_BUCKETS_S[2]


def test_an_allocated_shipment() -> None:
    """By rule, winning strategy, fallback and adoption; the time since its event by host and merchant."""
    done = shipment(VIRTUAL, GROUP, step=1, attempted=1)
    assert of(shipment=done, verdict="allocated", adopted=True, settled_s=42.0) == {
        ("allocated", "acme", "default", "service_group G", 1, 1): 1,
        ("settle_bucket", "api.test", 8): 1,
        ("settle_ms", "api.test"): 42000,
        ("merchant_settle_ms", "acme"): 42000,
    }
    assert SETTLE_BUCKETS_S[7] < 42 <= SETTLE_BUCKETS_S[8]
    never_called = of(shipment=shipment(VIRTUAL), verdict="allocated", adopted=True, settled_s=-1.0)
    assert never_called["allocated", "acme", "default", "", 0, 1] == 1
    assert never_called["settle_ms", "api.test"] == 0


def test_activity() -> None:
    """Calls and unknown outcomes; of allocated shipments their number, time and fallbacks; nothing of failed ones."""
    unknown = {**ENTRY, "outcome": "unknown"}
    assert recent(shipment=shipment(VIRTUAL), verdict="park", entry=ENTRY) == {"calls:acme": 1}
    assert recent(shipment=shipment(VIRTUAL), verdict="park", entry=unknown) == {"calls:acme": 1, "unknown:acme": 1}
    fallen = shipment(VIRTUAL, GROUP, step=1, attempted=1)
    assert recent(shipment=fallen, verdict="allocated", settled_s=1.5) == {
        "allocated:acme": 1,
        "allocate_ms:acme": 1500,
        "fell_back:acme": 1,
    }
    assert recent(shipment=shipment(VIRTUAL), verdict="failed", reason="conflict", settled_s=1.0) == {}


def test_a_failed_shipment() -> None:
    """By rule and reason; a time beyond all buckets counts in the last one."""
    found = of(shipment=shipment(VIRTUAL), verdict="failed", reason="deadline_passed", settled_s=1e6)
    assert found["failed", "acme", "default", "deadline_passed"] == 1
    assert found["settle_bucket", "api.test", len(SETTLE_BUCKETS_S)] == 1


def test_fields_of_a_merchant() -> None:
    """A merchant may be named like a reason or a host, whose counters are not its own."""
    assert is_of_merchant(b'["orders","acme"]', "acme")
    assert not is_of_merchant(b'["orders","acme"]', "beta")
    assert not is_of_merchant(b'["rejected","bad_json"]', "bad_json")
    assert not is_of_merchant(b'["call_bucket","acme","allocate",1]', "acme")


def test_nothing() -> None:
    """A parked shipment without a call counts nothing; neither does an entry that is no request."""
    assert lines(shipment=shipment(VIRTUAL), verdict="park") == {}
    assert lines(shipment=shipment(VIRTUAL), verdict="keep", entry={"action": "replay"}) == {}


def test_a_rule_with_any_characters() -> None:
    """Its name stays one line and one label."""
    odd = with_changes(shipment(VIRTUAL), {"rule": 'a "b"\nc 5 ["x"]'})
    found = of(shipment=odd, verdict="failed", reason="conflict", settled_s=1.0)
    assert ("failed", "acme", 'a "b"\nc 5 ["x"]', "conflict") in found
