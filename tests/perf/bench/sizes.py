"""The sizes of the measurements."""

from collections.abc import Mapping
from dataclasses import dataclass

from tests.perf.bench.contenders import CONTENDERS, FLOOR
from tests.perf.bench.filled_ledger import Content


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """Bursts last about `burst_s` and warm-ups about twice `warm_s`, regardless of a contender's speed."""

    contenders: Mapping[int, tuple[str, ...]]
    """The contenders, by API time in ms."""

    warm_s: float
    burst_s: float
    most_orders: int

    lone: int
    lone_peer: int
    """Lone orders of this project and of a peer."""

    flow_s: float
    """How long each load of an even flow lasts."""

    stub_s: float
    calm_s: float
    idle_s: float

    few_waiting: int
    few_rounds: int
    many_waiting: int
    """Orders waiting in the two cases that are compared; the smaller one is repeated."""

    merchants: int
    merchant_orders: tuple[int, ...]
    """Orders spread over the merchants; more orders per merchant make larger batches."""
    sweep_orders: int

    scaled: Mapping[str, tuple[int, ...]]
    """The values of settings that are compared."""

    history: Content
    command_runs: int
    """What the ledger holds when the operators' commands are measured, and how often each of them runs."""
    accepted: int
    accepted_at_once: tuple[int, ...]
    """Orders accepted with the index and without, and how many of them in one script."""
    counted: int
    """Orders accepted and allocated with counting and without."""

    failures: Content
    page_rounds: int
    """What the ledger holds when Flower's pages are measured, and how often each of them is requested."""


_WAITING_FOR_ANSWERS = tuple(name for name in CONTENDERS if name != FLOOR.name)
"""The floor has one call in flight at a time, which is meaningless with a slow API."""

FULL = Sizes(
    contenders={0: tuple(CONTENDERS), 50: _WAITING_FOR_ANSWERS, 200: _WAITING_FOR_ANSWERS},
    warm_s=1.0,
    burst_s=6.0,
    most_orders=40_000,
    lone=100,
    lone_peer=20,
    flow_s=10.0,
    stub_s=2.0,
    calm_s=5.0,
    idle_s=20.0,
    few_waiting=1000,
    few_rounds=5,
    many_waiting=140_000,
    merchants=1000,
    merchant_orders=(10_000, 40_000),
    sweep_orders=10_000,
    scaled={"ALLOCATION_CONCURRENCY": (1, 2, 8), "ALLOCATION_BATCH": (1, 10, 25)},
    history=Content(merchants=300, shipments=100_000, failed=2000, rejected=300),
    command_runs=7,
    accepted=10_000,
    accepted_at_once=(1, 4, 100),
    counted=4000,
    failures=Content(merchants=1000, shipments=110_000, failed=100_000, rejected=300),
    page_rounds=7,
)
"""About eighteen minutes on two cores."""

QUICK = Sizes(
    contenders={
        0: ("allocation", "allocation-many", "celery-prefork"),
        200: ("allocation", "celery-threads-100"),
    },
    warm_s=0.5,
    burst_s=2.0,
    most_orders=10_000,
    lone=20,
    lone_peer=5,
    flow_s=3.0,
    stub_s=0.5,
    calm_s=5.0,
    idle_s=10.0,
    few_waiting=500,
    few_rounds=2,
    many_waiting=5000,
    merchants=100,
    merchant_orders=(1000,),
    sweep_orders=1000,
    scaled={"ALLOCATION_CONCURRENCY": (4,), "ALLOCATION_BATCH": (100,)},
    history=Content(merchants=30, shipments=5000, failed=100, rejected=20),
    command_runs=2,
    accepted=1000,
    accepted_at_once=(4,),
    counted=400,
    failures=Content(merchants=60, shipments=2000, failed=1500, rejected=20),
    page_rounds=2,
)
"""Under one minute: a rough result."""
