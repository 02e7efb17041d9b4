"""An even flow: orders a second over a number of merchants, compared with a bare asyncio worker."""

import time
from dataclasses import dataclass, replace

from tests.perf.bench.contenders import OURS, TASKIQ, Contender
from tests.perf.bench.measure import percentile
from tests.perf.bench.rig import Rig, rig
from tests.perf.bench.stub import FALLS_BACK

API_MS = 200
_TICK_S = 0.002
_RAMP_S = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """Orders a second over merchants; one of `one_in` orders falls back (0: none)."""

    per_s: int
    merchants: int
    one_in: int = 0

    def __str__(self) -> str:
        """The first columns of its row."""
        falls_back = f", one in {self.one_in} falls back" if self.one_in else ""
        return f"{self.per_s}/s over {self.merchants:,} merchant{'s' * (self.merchants > 1)}{falls_back}"


LOADS = (
    Load(per_s=200, merchants=1000),
    Load(per_s=200, merchants=1000, one_in=5),
    Load(per_s=600, merchants=1000),
    Load(per_s=200, merchants=1),
    Load(per_s=20, merchants=1),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Flow:
    """The result of a system under a load. CPU per order in ms, of all processes but the stub.

    Latencies in ms are the time above the API's own, twice that for an order that falls back. `behind`: orders without
    an event when the last one is published, beyond those in flight at such an API.
    """

    system: str
    load: Load
    cpu_ms: float
    redis_cpu_ms: float
    p50_ms: int
    p99_ms: int
    behind: int
    others_percent: float

    @property
    def whole_ms(self) -> float:
        """CPU of all processes and the server, for one order."""
        return self.cpu_ms + self.redis_cpu_ms


def contenders(load: Load) -> tuple[Contender, ...]:
    """This project and the peer under this load."""
    return (replace(OURS, merchants=load.merchants, one_in=load.one_in), replace(TASKIQ, one_in=load.one_in))


def flow(contender: Contender, load: Load, seconds: float) -> Flow:
    """Measure one contender under one load, after every merchant has had an order."""
    with rig(contender, API_MS) as running:
        for _ in range(2):
            running.feed(max(load.merchants, 20))
            running.wait_settled()
        _even(running, load.per_s, _RAMP_S)
        running.wait_settled()
        running.came_out()
        before = running.usage()
        came_in = _even(running, load.per_s, seconds)
        behind = running.fed - running.settled()
        running.wait_settled()
        used, came_out = running.usage() - before, running.came_out()
    latencies = sorted(came_out[each] - at - _api_ms(each) for each, at in came_in.items())
    orders = len(came_in)
    return Flow(
        system=contender.name,
        load=load,
        cpu_ms=round(used.cpu_s / orders * 1000, 3),
        redis_cpu_ms=round(used.redis_s / orders * 1000, 3),
        p50_ms=percentile(latencies, 0.5),
        p99_ms=percentile(latencies, 0.99),
        behind=max(0, behind - round(load.per_s * API_MS / 1000 * (1 + (1 / load.one_in if load.one_in else 0)))),
        others_percent=round(used.others_percent, 1),
    )


def _api_ms(reference: str) -> int:
    return 2 * API_MS if reference.startswith(FALLS_BACK) else API_MS


def _even(running: Rig, per_s: int, seconds: float) -> dict[str, int]:
    """Publish at an even rate; returns the time of each order."""
    came_in: dict[str, int] = {}
    began = time.monotonic()
    while (passed_s := time.monotonic() - began) < seconds:
        if wanted := int(passed_s * per_s) - len(came_in):
            came_in |= running.feed(wanted)
        time.sleep(_TICK_S)
    return came_in
