"""Fairness: quiet merchants beside busy ones and beside APIs that hang."""

import time
from pathlib import Path

from tests.acceptance.system import System, order_event, running, v2_file, wait_until

LINET = '{ virtual_service = "FF_LINET-00001" }'
ROLES = ("intake", "worker", "beat")


def test_a_quiet_merchant_behind_a_busy_one(tmp_path: Path) -> None:
    """Twenty orders behind four thousand of another merchant are settled while most of those still wait."""
    with running(tmp_path, *ROLES, sandbox=("--latency", "0.3")) as system:
        system.merchant("noisy", v2_file(system.url, LINET))
        system.merchant("quiet", v2_file(system.url, LINET))
        system.publish(order_event("noisy", [f"sp_n{n}"]) for n in range(4000))
        wait_until(lambda: system.settled() > 100, 30, "the noisy merchant under way")
        began = time.monotonic()
        system.publish(order_event("quiet", [f"sp_q{n}"]) for n in range(20))
        wait_until(lambda: _allocated(system, "quiet") == 20, 20, "the quiet merchant done")
        took_s = time.monotonic() - began
        assert system.settled() < 4000, f"the noisy one was done first ({took_s:.1f} s)"


def _allocated(system: System, merchant: str) -> int:
    return sum(event["merchant"] == merchant for event in system.allocated())


def test_hanging_apis_delay_no_other_merchant(tmp_path: Path) -> None:
    """With five merchants whose API never responds, a quiet one is done long before the first of their calls ends."""
    with running(tmp_path, *ROLES, ALLOCATION_LEASE_SECONDS="60") as system:
        hanging = [f"hang{n}" for n in range(5)]
        for name in (*hanging, "quiet"):
            system.merchant(name, v2_file(system.url, LINET))
        stuck = [f"sp_h{n}" for n in range(2000)]
        system.faults({"fault": "hang", "on": "any", "references": stuck})
        system.publish(order_event(hanging[n % 5], [reference]) for n, reference in enumerate(stuck))
        wait_until(lambda: system.counts()["puts"] >= 500, 30, "calls that hang")
        began = time.monotonic()
        system.publish(order_event("quiet", [f"sp_q{n}"]) for n in range(20))
        system.wait_settled(20, 15)
        # Each hanging call lasts the 20 s of its timeout: only the quiet merchant can have settled by now.
        assert {event["merchant"] for event in system.allocated()} == {"quiet"}, time.monotonic() - began
