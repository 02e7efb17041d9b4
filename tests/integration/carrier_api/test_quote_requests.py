"""Asking for quotes is a request of its own: it chooses a quote, allocates nothing, and opens no call."""

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from config.strategies.quote import Quote
from tasks.rules.outcome import Allocated, NotYet, Outcome, Quoted, Refused, Stopped, Throttled, Unknown
from tests.factories.batch_run import BatchRun, make_shipments
from tests.factories.raw_api import REFERENCE, Request, account, allocated, listening, open_client, request, response
from tests.factories.virtual_clock import run_virtual
from tests.unit.carrier_api.responses import GROUP

HOUR = timedelta(hours=1)
# Expiries are written a few years off, so that neither clock can be taken for the other.
PAST, FAR = datetime(2021, 5, 1, 12, tzinfo=UTC), datetime(2031, 5, 1, 12, tzinfo=UTC)


def quote(name: str, gross: str, expires: datetime | None, flavour: str) -> dict[str, Any]:
    """A quote in the form of the flavour."""
    until = None if expires is None else expires.isoformat()
    if flavour == "consignments-v1":
        return {"QuoteReference": name, "Price": {"Gross": gross}, "ExpiryDate": until}
    return {"reference": name, "price": {"gross": gross}, "expires": until}


def asked(
    *quotes: tuple[str, str, datetime | None],
    date: str | None = None,
    flavour: str = "shipments-v2",
    choice: dict[str, Any] | None = None,
) -> Quoted | Outcome:
    """What asking comes to, when the API has these quotes and says that it is this late."""
    offers = [quote(*one, flavour) for one in quotes]
    body = json.dumps({"quotes": offers} if flavour == "shipments-v2" else {"Quotes": offers}).encode()
    headers = [] if date is None else [f"date: {date}"]

    async def answer(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(response(200, body, *headers))

    async def asking() -> Quoted | Outcome:
        async with listening(answer) as api, open_client() as client:
            here = account(api.url, choice or {"quote": "cheapest"}, flavour=flavour)
            outcome = await client.quote(here, here.merchant.file.allocation.strategy, request())
            assert len(api.requests) == 1
            return outcome

    return asyncio.run(asking())


@pytest.mark.parametrize("flavour", ["shipments-v2", "consignments-v1"])
def test_the_best_that_lives(flavour: str) -> None:
    """The cheapest of those that have not expired is chosen, by one request."""
    date = format_datetime(FAR, usegmt=True)
    quotes = [("dead", "1", FAR - HOUR), ("dear", "9", None), ("good", "2", FAR + HOUR)]
    assert asked(*quotes, date=date, flavour=flavour) == Quoted(reference="good")


def test_the_cheapest_quote_of_v2() -> None:
    """The strategy of that name asks in the same way."""
    assert asked(("a", "2", None), ("b", "1", None), choice={"cheapest_quote": True}) == Quoted(reference="b")


@pytest.mark.parametrize("flavour", ["shipments-v2", "consignments-v1"])
def test_no_quote_is_guessed(flavour: str) -> None:
    """When nobody can say which is the cheapest, no quote is called for: the next step of the plan is."""
    outcome = asked(("a", "1,050", None), ("b", "98.00", None), ("dead", "1", PAST), flavour=flavour)
    assert outcome == Refused(
        reason="no_comparable_quote",
        message="which is the cheapest depends on how the prices are read; a 1,050; b 98.00",
    )
    trial = BatchRun(shipments=make_shipments("x", Quote(quote="cheapest"), GROUP))
    trial.api.quotes["x"] = [outcome]
    run_virtual(trial.run_all_visits())
    assert trial.api.called == [("service_group freight", ("x",))]
    assert trial.ledger.last("x").shipment.progress.last_refusal == "no_comparable_quote"
    assert trial.ledger.last("x").verdict == "allocated"


@pytest.mark.parametrize("flavour", ["shipments-v2", "consignments-v1"])
def test_only_dead_ones(flavour: str) -> None:
    """Quotes that had all expired when they were written are asked for again."""
    outcome = asked(("dead", "1", FAR), date=format_datetime(FAR, usegmt=True), flavour=flavour)
    assert isinstance(outcome, NotYet)
    assert outcome.reason == "quote_expired"


def test_their_clock_decides() -> None:
    """What expires does so by the clock of the answer, however wrong that or ours is."""
    past = datetime.fromtimestamp(time.time(), UTC) - timedelta(days=900)
    assert asked(("a", "1", past + HOUR), date=format_datetime(past, usegmt=True)) == Quoted(reference="a")
    assert isinstance(asked(("a", "1", FAR), date=format_datetime(FAR + HOUR, usegmt=True)), NotYet)


@pytest.mark.parametrize("date", [None, "", "yesterday", "Sat, 31 Feb 2026 25:00:00 GMT"])
def test_our_clock_stands_in(date: str | None) -> None:
    """Without a readable `Date` our own clock decides."""
    now = datetime.fromtimestamp(time.time(), UTC)
    assert asked(("dead", "1", now - HOUR), ("good", "2", now + HOUR), date=date) == Quoted(reference="good")


@pytest.mark.parametrize(
    ("flavour", "target"),
    [
        ("shipments-v2", f"/pro/shipments/{REFERENCE}/allocate/quote/qu_1"),
        ("consignments-v1", f"/pro/allocation/{REFERENCE}/allocatewithquote/qu_1"),
    ],
)
def test_the_quote_is_allocated_with(flavour: str, target: str) -> None:
    """The allocation is a request of its own too, with the quote that it is given."""

    async def answer(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(response(200, b'{"IsSuccess": true}' if flavour == "consignments-v1" else allocated()))

    async def allocating() -> None:
        async with listening(answer) as api, open_client() as client:
            here = account(api.url, {"quote": "earliest"}, flavour=flavour)
            strategy = here.merchant.file.allocation.strategy
            outcomes = await client.allocate(here, strategy, request(), quote="qu_1")
            assert isinstance(outcomes[REFERENCE], Allocated)
            assert [(came.method, came.target) for came in api.requests] == [("PUT", target)]

    asyncio.run(allocating())


@pytest.mark.parametrize("flavour", ["shipments-v2", "consignments-v1"])
@pytest.mark.parametrize("status", [200, 201, 202, 207, 400, 401, 404, 407, 410, 429, 500, 521, 531])
@pytest.mark.parametrize("body", [b"", b"{}", allocated(), b'{"IsSuccess": true}', b'{"queued": ["sp_1"]}'])
def test_asking_allocates_nothing(status: int, body: bytes, flavour: str) -> None:
    """No answer to a question for quotes is an allocation or a queued one; here the host is known to be the API's."""
    answers = iter([response(500, b"{}"), response(status, body)])

    async def answer(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(next(answers))

    async def asking() -> Quoted | Outcome:
        async with listening(answer) as api, open_client() as client:
            here = account(api.url, {"quote": "cheapest"}, flavour=flavour)
            await client.read_back(here, request())
            return await client.quote(here, here.merchant.file.allocation.strategy, request())

    assert isinstance(asyncio.run(asking()), NotYet | Refused | Throttled | Unknown | Stopped)
