"""Hold, cancel, emit and replay in a running system, with the API's own log as the witness."""

import json
import subprocess
from collections.abc import Iterator

import pytest

from tests.acceptance.system import BIN, System, order_event, running, v2_file, wait_until

LINET = '{ virtual_service = "FF_LINET-00001" }'


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A running system with a merchant."""
    with running(tmp_path_factory.mktemp("system"), "intake", "worker", "beat") as system:
        system.merchant("acme", v2_file(system.url, LINET, '[{ carrier_service = "EXPRESS" }]'))
        system.merchant("slow", v2_file(system.url, LINET, more="[retry]\nquiet_seconds = 3\n"))
        yield system


def run(system: System, *words: str) -> str:
    """Run `allocation` beside the system; returns its output."""
    command = [str(BIN / "allocation"), *words]
    done = subprocess.run(command, env=system.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


def calls(system: System, reference: str) -> list[str]:
    """The calls and read-backs of a shipment, in the API's log."""
    return [str(entry["kind"]) for entry in system.log_entries() if reference in entry.get("references", ())]


def endings(system: System, reference: str) -> list[str]:
    """How a shipment ended, one text per event."""
    allocated = ["allocated" for event in system.allocated() if event["shipment"] == reference]
    return allocated + [event["reason"] for event in system.failed() if event["shipment"] == reference]


def state(system: System, reference: str) -> str:
    """The state that `allocation explain` shows."""
    found = subprocess.run(
        [BIN / "allocation", "explain", reference, "--json"], env=system.environment, capture_output=True, check=False
    )
    shipments = json.loads(found.stdout)["shipments"]
    return str(shipments[0]["state"]) if shipments else ""


def test_a_merchant_on_hold_gets_no_call(system: System) -> None:
    """Its orders are accepted; of those, a cancelled shipment fails without a call, and the rest goes on."""
    assert "on hold" in run(system, "hold", "acme", "--why", "the carrier is on strike")
    system.publish([order_event("acme", ["sp_kept", "sp_cancelled"])])
    wait_until(lambda: state(system, "sp_cancelled") in ("due", "parked"), 30, "accepted shipments")
    run(system, "cancel", "sp_cancelled", "--why", "sold twice", "--by", "ops")
    # Another merchant's shipment is allocated meanwhile: the worker is at work.
    system.publish([order_event("slow", ["sp_other"])])
    wait_until(lambda: endings(system, "sp_other") == ["allocated"], 30, "another merchant's shipment")
    assert calls(system, "sp_kept") + calls(system, "sp_cancelled") == []
    run(system, "resume", "acme")
    wait_until(lambda: endings(system, "sp_kept") == ["allocated"], 30, "the shipment that was kept")
    wait_until(lambda: endings(system, "sp_cancelled") != [], 30, "the shipment that was cancelled")
    assert endings(system, "sp_cancelled") == ["cancelled_by_operator"]
    assert set(calls(system, "sp_cancelled")) == {"read"}
    (event,) = [event for event in system.failed() if event["shipment"] == "sp_cancelled"]
    assert event["message"] == "cancelled by ops: sold twice"


@pytest.mark.parametrize(("acts", "ending"), [(True, "allocated"), (False, "cancelled_by_operator")])
def test_a_call_is_open_when_it_is_cancelled(system: System, ending: str, *, acts: bool) -> None:
    """It is read back during the quiet time, and gets no further call: allocated if the API acted, else failed."""
    reference = f"sp_open_{ending}"
    late = {"late_s": 1.5} if acts else {}
    system.faults({"fault": "drop", "on": "allocate", "acts": acts, "references": [reference], **late})
    system.publish([order_event("slow", [reference])])
    wait_until(lambda: "allocate" in calls(system, reference), 30, "its call")
    run(system, "cancel", reference, "--why", "sold twice")
    wait_until(lambda: endings(system, reference) != [], 30, "its end")
    system.faults()
    assert endings(system, reference) == [ending]
    assert calls(system, reference).count("allocate") == 1


def test_an_event_is_emitted_again(system: System) -> None:
    """The same event with the same id; a cancelled shipment can be replayed, and is then allocated."""
    run(system, "replay", "sp_cancelled")
    wait_until(lambda: endings(system, "sp_cancelled")[:1] == ["allocated"], 30, "the replayed shipment")
    run(system, "emit", "sp_cancelled")
    events = [json.loads(entry["event"]) for _, entry in system.redis.xrange("shipments.allocated")]
    assert [event["subject"] for event in events[-2:]] == ["sp_cancelled"] * 2
    assert events[-1] == events[-2]
    assert [entry["action"] for entry in json.loads(run(system, "audit", "--json"))][:2] == ["emit", "replay"]
    # Both event ids of the replayed shipment count, the one that was emitted again counts once.
    assert system.counted_wrongly() == 0


def test_a_merchant_that_has_left(system: System) -> None:
    """Its file is deleted while shipments wait: cancelled ones end without a call, and then it can be forgotten."""
    system.merchant("left", v2_file(system.url, LINET))
    run(system, "hold", "left", "--why", "it leaves the platform")
    system.publish([order_event("left", ["sp_left1", "sp_left2"])])
    wait_until(lambda: state(system, "sp_left2") in ("due", "parked"), 30, "accepted shipments")
    (system.merchants / "left.toml").unlink()
    wait_until(lambda: '"file": "left.toml"' in system.logged(), 30, "a worker that has noticed")
    for reference in ("sp_left1", "sp_left2"):
        run(system, "cancel", reference, "--why", "it has left")
    run(system, "resume", "left")
    for reference in ("sp_left1", "sp_left2"):
        wait_until(lambda reference=reference: endings(system, reference) != [], 30, "its end")  # type: ignore[misc]
        assert endings(system, reference) == ["cancelled_by_operator"]
        assert "allocate" not in calls(system, reference)
    assert run(system, "merchants", "forget", "left", "--why", "it has left") == "forgot left\n"
