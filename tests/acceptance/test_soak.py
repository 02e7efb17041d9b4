"""The soak's check for growth; `make chaos` runs a short soak, `make soak` a long one."""

from collections.abc import Callable

import pytest

from tests.perf.soak.growth import MB, Row, rows, table
from tests.perf.soak.samples import LIVING, STREAMS, Process, Sample


def judged(used: Callable[[int], float]) -> Row:
    """The row of the server's memory in a run of 100 samples, 300 orders apart."""
    process = Process(rss=80 * MB, pss=40 * MB, fds=20)
    samples = [
        Sample(
            at_s=5.0 * n,
            settled=300 * n,
            processes=dict.fromkeys((*LIVING, "worker child 7"), process),
            used=round(used(n)),
            keys=6000,
            clients=60,
            streams=dict.fromkeys(STREAMS, 6000),
            api_connections=50,
        )
        for n in range(100)
    ]
    found = list(rows(samples))
    assert [row.name for row in found if row.grows] in ([], ["Redis memory"])
    assert ("grows" in table(found)) == any(row.grows for row in found)
    return next(row for row in found if row.name == "Redis memory")


def test_growth_with_every_order_is_found() -> None:
    """One kilobyte per order is growth, with its slope."""
    row = judged(lambda n: 20 * MB + 300 * 1024 * n)
    assert row.grows
    assert row.slope == pytest.approx(10_000 * 1024)


def test_bounded_growth_is_not_reported() -> None:
    """Memory that grows until the first records expire, or that varies, is no growth."""
    assert not judged(lambda n: min(n, 20) * MB).grows
    assert not judged(lambda n: (20 + n % 5) * MB).grows
