"""Readings with a value for every metric."""

from typing import Any

from worker.ledger.throttling import Breaker, Slowed
from worker.observability.heartbeat import Heartbeat
from worker.observability.merchant_counts import MerchantCounts
from worker.observability.metrics import Readings, families
from worker.observability.orders_lag import OrdersCounts
from worker.observability.overview import Overview, RejectedCount
from worker.observability.problems.problem import Problem

ACME = MerchantCounts(
    merchant="acme",
    merchant_file="1f2e",
    due=1,
    parked=2,
    working=3,
    allocated=4,
    failed=5,
    oldest_due_s=6.5,
    paused="401",
    paused_since=1.0,
    on_hold="a strike",
    in_quiet_time=7,
    near_deadline=8,
    repeated_calls=9,
    carrier_changed=10,
    window=200,
    limit_in_flight=5,
    limit_per_second=2.5,
)
OVERVIEW = Overview(
    now=1_795_255_200.0,
    server="",
    refuses=None,
    unsafe=(),
    memory_share=0.5,
    merchants=(ACME,),
    last_sweep_s=5.0,
    orders=OrdersCounts(undelivered=1, unacknowledged=2, has_group=True, oldest_s=3.0),
    rejected=(RejectedCount(reason="bad_json", merchant="", events=4),),
    ignored=0,
    lost_orders=5,
    processes={"worker@h:1": Heartbeat(at=0)},
    breakers=(Breaker(api="api.test#1", probe_in_s=1.0, since=0.0),),
    slowed=(Slowed(merchant="acme", window=20, throttled_s=1.0),),
)
COUNTERS: dict[tuple[Any, ...], int] = {
    ("orders", "acme"): 1,
    ("accepted", "acme"): 2,
    ("rejected", "bad_json"): 3,
    ("allocated", "acme", "default", "virtual_service V", 0, 1): 4,
    ("failed", "acme", "default", "conflict"): 5,
    ("calls", "acme", "allocate", "virtual_service V", "allocated"): 6,
    ("settle_bucket", "api.test", 0): 7,
    ("settle_bucket", "api.test", 14): 2,
    ("settle_ms", "api.test"): 9000,
    ("merchant_settle_ms", "acme"): 9000,
    ("call_bucket", "api.test", "allocate", 1): 6,
    ("call_ms", "api.test", "allocate"): 480,
    ("merchant_call_ms", "acme"): 480,
}
PROBLEM = Problem(slug="file_missing", severity="attention", subject="an event's own text", text="", command="")
READINGS = Readings(overview=OVERVIEW, problems=(PROBLEM,), counters=COUNTERS, queues={"allocation": 1})


def exposed() -> dict[str, tuple[str, tuple[str, ...]]]:
    """The type of every metric, and the names of its labels, sorted; those of a histogram without its own."""
    found = {}
    for family in families(READINGS):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        found[name] = family.type, tuple(sorted(labels))
    return found
