"""Single faults in the running system, observed from outside."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.system import ALL_ZERO, System, order_event, running, v2_file, wait_until

LINET = '{ virtual_service = "FF_LINET-00001" }'
ROLES = ("intake", "worker", "beat")


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A running system with a v2 merchant."""
    with running(tmp_path_factory.mktemp("system"), *ROLES) as system:
        system.merchant("acme", v2_file(system.url, LINET))
        yield system


def test_allocating_forever(system: System) -> None:
    """A shipment that stays allocating fails as stuck_allocating, well before its deadline."""
    retry = "[retry]\ndeadline_hours = 0.002\nquiet_seconds = 1\n"
    system.merchant("short", v2_file(system.url, LINET, more=retry, api="timeout_s = 1\n"))
    system.faults({"fault": "stuck", "on": "allocate", "references": ["sp_stuck"]})
    system.publish([order_event("short", ["sp_stuck"])])
    wait_until(lambda: any(e["shipment"] == "sp_stuck" for e in system.failed()), 30, "a failed event")
    (event,) = [e for e in system.failed() if e["shipment"] == "sp_stuck"]
    assert event["reason"] == "stuck_allocating"


def test_a_host_that_does_not_exist(system: System) -> None:
    """Without DNS nothing was sent: the shipment waits until its deadline and never falls back."""
    gone = "https://no-such-host.invalid"
    fallback = '[{ carrier_service = "FF_LINET-00001" }]'
    retry = "[retry]\ndeadline_hours = 0.001\nquiet_seconds = 1\n"
    system.merchant("gone", v2_file(gone, LINET, fallback, more=retry, api="timeout_s = 1\n"))
    system.publish([order_event("gone", ["sp_gone"])])
    wait_until(lambda: any(e["shipment"] == "sp_gone" for e in system.failed()), 30, "a failed event")
    (event,) = [e for e in system.failed() if e["shipment"] == "sp_gone"]
    assert event["reason"] == "deadline_passed"
    assert {(step["outcome"], *step["strategy"]) for step in event["steps"]} == {("not_sent", "virtual_service")}


def test_a_key_that_appears_later(system: System, tmp_path: Path) -> None:
    """A merchant without a key is paused, with one alert, and resumes when the key exists."""
    key = tmp_path / "key"
    text = v2_file(system.url, LINET).replace('{ env = "SANDBOX_KEY" }', f'{{ file = "{key}" }}')
    system.merchant("keyless", text)
    system.publish([order_event("keyless", [f"sp_key{n}" for n in range(5)])])
    wait_until(lambda: "keyless" in system.redis.hgetall("allocation:paused"), 20, "the pause")
    system.publish([order_event("keyless", [f"sp_more{n}" for n in range(5)])])
    wait_until(lambda: system.redis.zcard("allocation:schedule:keyless") == 10, 20, "ten parked shipments")
    result = [line for line in system.logged().splitlines() if '"merchant_paused"' in line and '"keyless"' in line]
    assert len(result) == 1
    key.write_text("sandbox-key\n")
    wait_until(lambda: sum(e["merchant"] == "keyless" for e in system.allocated()) == 10, 20, "ten allocated")


def test_a_refused_key(system: System, tmp_path: Path) -> None:
    """A 401 pauses the merchant after few calls instead of failing its orders, and a new key resumes it."""
    key = tmp_path / "key"
    key.write_text("wrong-key")
    text = v2_file(system.url, LINET).replace('{ env = "SANDBOX_KEY" }', f'{{ file = "{key}" }}')
    system.merchant("wrong", text)
    system.publish([order_event("wrong", [f"sp_wrong{n}" for n in range(50)])])
    wait_until(lambda: "wrong" in system.redis.hgetall("allocation:paused"), 20, "the pause")
    key.write_text("sandbox-key")
    wait_until(lambda: sum(e["merchant"] == "wrong" for e in system.allocated()) == 50, 30, "all allocated")
    assert not [e for e in system.failed() if e["merchant"] == "wrong"]


def test_a_missing_merchant_file(system: System) -> None:
    """Unfinished shipments of a merchant without a file wait, and continue when it exists again."""
    text = v2_file(system.url, LINET)
    system.merchant("fileless", text)
    system.faults({"fault": "throttled", "references": ["sp_fileless"], "retry_after_s": 2, "times": 1})
    system.publish([order_event("fileless", ["sp_fileless"])])
    wait_until(lambda: system.redis.zcard("allocation:schedule:fileless") == 1, 20, "the shipment parked")
    (system.merchants / "fileless.toml").unlink()
    wait_until(lambda: "fileless" in system.redis.hgetall("allocation:paused"), 30, "the pause")
    system.merchant("fileless", text)
    wait_until(lambda: any(e["merchant"] == "fileless" for e in system.allocated()), 30, "allocated")


def test_limits_hold_over_all_workers(system: System) -> None:
    """Calls per second of a merchant stay within its limit, whatever the number of children."""
    system.merchant("slow", v2_file(system.url, LINET, more="[limits]\nper_second = 20\n"))
    began = time.monotonic()
    system.publish(order_event("slow", [f"sp_slow{n}"]) for n in range(60))
    wait_until(lambda: sum(e["merchant"] == "slow" for e in system.allocated()) == 60, 30, "all allocated")
    # Sixty calls at twenty a second: the first is sent at once, the last after 59 gaps of 50 ms.
    assert time.monotonic() - began > 59 * 0.05 - 0.2


def test_a_late_task_cannot_write(tmp_path: Path) -> None:
    """A worker suspended during a call loses its lease to another; afterwards it writes nothing and calls nothing."""
    with running(tmp_path, "intake", "beat", ALLOCATION_CONCURRENCY="1", ALLOCATION_LEASE_SECONDS="3") as system:
        system.merchant("acme", v2_file(system.url, LINET))
        system.faults({"fault": "slow", "on": "allocate", "latency_s": 1, "acts": True, "times": 1})
        system.start("worker")
        system.publish([order_event("acme", ["sp_late"])])
        wait_until(lambda: system.counts()["puts"] == 1, 20, "the call")
        stopped = [system.processes["worker"].pid, *system.children("worker")]
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        system.start("worker:2")
        system.wait_settled(1, 30)
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
        wait_until(lambda: "sp_late" not in system.redis.zrange("allocation:working:acme", 0, -1), 10)
        system.publish([order_event("acme", ["sp_next"])])
        system.wait_settled(2, 20)
        assert system.verdict([("acme", "sp_late"), ("acme", "sp_next")]) == ALL_ZERO
        assert system.allocated()[0]["adopted"] is True


def test_a_worker_with_a_fast_clock(tmp_path: Path) -> None:
    """A worker whose clock is five minutes fast changes nothing: the server's time counts, in events too."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text("import time\n_t = time.time\ntime.time = lambda: _t() + 300\n")
    with running(tmp_path / "system", "intake", "beat") as system:
        system.merchant("acme", v2_file(system.url, LINET))
        system.start("worker", PYTHONPATH=str(site))
        system.start("worker:2")
        shipments = [("acme", f"sp_clock{n}") for n in range(200)]
        system.publish(order_event(merchant, [reference]) for merchant, reference in shipments)
        system.wait_settled(200, 40)
        assert system.verdict(shipments) == ALL_ZERO
        newest = max(event["allocated_at"] for event in system.allocated())
        assert newest < time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + 60))


def test_a_shipment_that_kills_its_worker(tmp_path: Path) -> None:
    """Isolated after two losses, it alone fails, as worker_lost; the other shipments are allocated."""
    with running(tmp_path, *ROLES, ALLOCATION_LEASE_SECONDS="2", ALLOCATION_CONCURRENCY="2") as system:
        system.merchant("acme", v2_file(system.url, LINET))
        system.faults({"fault": "hang", "on": "allocate", "references": ["sp_killer"]})
        done = threading.Event()
        killer = threading.Thread(target=_kill_children_calling_for, args=(system, "sp_killer", done))
        killer.start()
        try:
            system.publish([order_event("acme", [*(f"sp_ok{n}" for n in range(5)), "sp_killer"])])
            system.wait_settled(6, 60)
        finally:
            done.set()
            killer.join()
        assert sorted(event["shipment"] for event in system.allocated()) == [f"sp_ok{n}" for n in range(5)]
        (failed,) = system.failed()
        assert (failed["shipment"], failed["reason"]) == ("sp_killer", "worker_lost")


def _kill_children_calling_for(system: System, reference: str, done: threading.Event) -> None:
    """`kill -9` all children as soon as a call for the shipment is in flight, each time."""
    while not done.wait(0.02):
        token = system.redis.hget("allocation:lease_tokens:acme", reference)
        if token and token.startswith("c:"):
            for pid in system.children("worker"):
                os.kill(pid, signal.SIGKILL)
            _wait_for_another(system, reference, token, done)


def _wait_for_another(system: System, reference: str, token: str, done: threading.Event) -> None:
    key = "allocation:lease_tokens:acme"
    wait_until(lambda: done.is_set() or system.redis.hget(key, reference) != token, 30)


def test_many_invalid_events(tmp_path: Path) -> None:
    """Each invalid event is rejected with its reason, the valid ones are allocated, and all processes stay alive."""
    good = [order_event("acme", [f"sp_good{n}"]) for n in range(100)]
    base = order_event("acme", ["sp_x"])
    kinds: list[tuple[str, str]] = [
        ("bad_json", "{"),
        ("bad_json", "\x00\x01"),
        ("bad_json", "[" * 50_000),
        ("bad_envelope", "[]"),
        ("bad_envelope", '"text"'),
        ("bad_envelope", json.dumps({**base, "specversion": "1"})),
        ("bad_envelope", json.dumps({**base, "id": ""})),
        ("bad_order", json.dumps({**base, "data": []})),
        ("bad_order", json.dumps({**base, "data": {**base["data"], "shipments": []}})),
        ("bad_order", json.dumps({**base, "data": {**base["data"], "shipments": [{"reference": "\x1b[2J"}]}})),
        ("bad_order", json.dumps(base).replace('"sp_x"}', '"sp_x", "weight_kg": -1}')),
        ("unknown_merchant", json.dumps(order_event("ghost", ["sp_x"]))),
    ]
    with running(tmp_path, *ROLES) as system:
        system.merchant("acme", v2_file(system.url, LINET))
        bad = [kinds[n % len(kinds)] for n in range(2000)]
        for n in range(100):
            system.publish([*(event for _, event in bad[n * 20 : n * 20 + 20]), good[n]])
        system.wait_settled(100, 60)
        wait_until(lambda: len(system.rejected()) == 2000, 30, "2000 rejected events")
        assert [entry["reason"] for entry in system.rejected()] == [reason for reason, _ in bad]
        assert len(system.allocated()) == 100
        assert all(process.poll() is None for process in system.processes.values())
        assert "\x1b" not in system.logged()


def test_an_event_that_kills_intakes_is_rejected(tmp_path: Path) -> None:
    """After two intakes died with only one entry pending, it is rejected; the orders behind it are accepted."""
    with running(tmp_path, ALLOCATION_LEASE_SECONDS="2") as system:
        stream = "orders.created"
        system.merchant("acme", v2_file(system.url, LINET))
        stream_id = system.redis.xadd(stream, {"event": json.dumps(order_event("acme", ["sp_ends"]))})
        system.redis.xgroup_create(stream, "allocation", id="0")
        system.redis.xreadgroup("allocation", "dead", {stream: ">"})
        system.redis.xclaim(stream, "allocation", "dead", 0, [stream_id], idle=60_000, retrycount=3)
        system.redis.sadd(f"allocation:held_alone:{stream_id}", "first", "second")
        system.publish([order_event("acme", ["sp_behind"])])
        system.start(*ROLES)
        system.wait_settled(1, 30)
        (rejected,) = system.rejected()
        assert (rejected["reason"], "sp_ends" in rejected["event"]) == ("bad_order", True)
        assert [event["shipment"] for event in system.allocated()] == ["sp_behind"]
