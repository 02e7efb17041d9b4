"""How long Flower's pages take on a ledger with many failures, over HTTP."""

import html
import re
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.perf.bench.filled_ledger import (
    Content,
    FilledPlace,
    failed_references,
    filling,
    merchant_names,
    order_number,
    reference,
)
from tests.perf.bench.processes import started
from tests.perf.bench.rig import LONGEST_S, BenchError
from worker.lab.embedded_server import free_port
from worker.ledger.operator_actions import record_action
from worker.processes.flower.overview_page import FRESH_S

_LOGIN = ("bench", "flower-password")
_ACTIONS = 300
_LOOK_EVERY_S = 0.1
_CAUSE = re.compile(r'class="cause" href="([^"]+)"')


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """A page. `shows`: what a correct one contains; `wait_s`: the time before each request, for new readings."""

    name: str
    path: str
    shows: Sequence[str]
    wait_s: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class PageTime:
    """The time of a page in seconds, over several rounds. `first_s`: of its first request, which is left out.

    `most_s`: the goal.
    """

    page: str
    merchants: int
    failed: int
    rounds: int
    first_s: float
    median_s: float
    slowest_s: float
    most_s: float = 0.3


@dataclass(slots=True)
class _Measured:
    """The times of a page in seconds, and the first response that was not correct."""

    times: list[float] = field(default_factory=list)
    fault: str = ""


async def fill_for_pages(content: Content, place: FilledPlace) -> None:
    """Fill the ledger and the audit log."""
    async with filling(place.settings) as filler:
        await filler.fill(content)
        for number in range(_ACTIONS):
            await record_action(
                filler.store.redis, "hold", "operator@bench", f"merchant-{number:04d}", count=1, why="no contract"
            )


def pages(content: Content, cause: str) -> list[Page]:
    """The measured pages, for one of the failed shipments. `cause`: the path of a cause's page."""
    failed = failed_references(content)
    number = next(n for n in range(content.shipments // 3, content.shipments) if reference(n) in failed)
    merchant, shipment = merchant_names(content.merchants)[number % content.merchants], reference(number)
    last = merchant_names(content.merchants)[-1]
    failures, rejected = f"{content.failed} failed shipments", f"{content.rejected} rejected events"
    overview, link = "/allocation", "/allocation/shipments"
    return [
        Page(name=overview, path=overview, shows=["merchant-"], wait_s=FRESH_S),
        Page(name=f"{overview}?all=1", path=f"{overview}?all=1", shows=[last], wait_s=FRESH_S),
        Page(name="/allocation/failures", path="/allocation/failures", shows=[failures]),
        Page(name="/allocation/failures/cause?...", path=cause, shows=["failed with", "merchant-"]),
        Page(name=f"{link}/<merchant>/<reference>", path=f"{link}/{merchant}/{shipment}", shows=[merchant, shipment]),
        Page(name=f"{link}?key=<order number>", path=f"{link}?key={order_number(number)}", shows=[shipment]),
        Page(name="/allocation/merchants/<name>", path=f"/allocation/merchants/{merchant}", shows=[merchant]),
        Page(name="/allocation/rejected", path="/allocation/rejected", shows=[rejected]),
        Page(name="/allocation/audit", path="/allocation/audit", shows=["operator@bench"]),
    ]


def page_times(content: Content, rounds: int, environment: Mapping[str, str], log: Path) -> Iterator[PageTime]:
    """Request every page in turn, several times over; after the correct ones, raises BenchError if others are wrong."""
    port = free_port()
    more = {"ALLOCATION_FLOWER_PORT": str(port), "ALLOCATION_FLOWER_BASIC_AUTH": ":".join(_LOGIN)}
    with (
        started(["allocation", "flower"], log, {**environment, **more}),
        httpx.Client(
            base_url=f"http://127.0.0.1:{port}", auth=_LOGIN, timeout=LONGEST_S, follow_redirects=True
        ) as client,
    ):
        _wait_for_flower(client, log)
        measured = pages(content, _a_cause(client))
        found = {each.name: _Measured() for each in measured}
        for _ in range(rounds + 1):
            for each in measured:
                _request(client, each, found[each.name])
    yield from (_time(name, content, one.times) for name, one in found.items() if not one.fault)
    if faults := [f"{name} {one.fault}" for name, one in found.items() if one.fault]:
        raise BenchError("; ".join(faults))


def _wait_for_flower(client: httpx.Client, log: Path) -> None:
    deadline = time.monotonic() + LONGEST_S
    while time.monotonic() < deadline:
        try:
            client.get("/healthcheck").raise_for_status()
        except httpx.HTTPError:
            time.sleep(_LOOK_EVERY_S)
        else:
            return
    raise BenchError(f"Flower did not start\n{log.read_text(errors='replace')[-4000:]}")


def _a_cause(client: httpx.Client) -> str:
    text = client.get("/allocation/failures").text
    if not (found := _CAUSE.search(text)):
        raise BenchError(f"/allocation/failures links to no cause: {text[:1000]}")
    return html.unescape(found[1])


def _request(client: httpx.Client, page: Page, measured: _Measured) -> None:
    time.sleep(page.wait_s)
    began = time.monotonic()
    response = client.get(page.path)
    measured.times.append(time.monotonic() - began)
    if missing := [each for each in page.shows if each not in response.text]:
        measured.fault = measured.fault or f"lacks {missing[0]}"
    if response.status_code != httpx.codes.OK:
        measured.fault = measured.fault or f"responded {response.status_code}"


def _time(name: str, content: Content, times: Sequence[float]) -> PageTime:
    return PageTime(
        page=name,
        merchants=content.merchants,
        failed=content.failed,
        rounds=len(times) - 1,
        first_s=round(times[0], 3),
        median_s=round(statistics.median(times[1:]), 3),
        slowest_s=round(max(times[1:]), 3),
    )
