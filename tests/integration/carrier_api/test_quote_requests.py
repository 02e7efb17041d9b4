"""Quote requests are separate requests: they choose a quote, allocate nothing, and open no call."""

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
# Expiries are some years ahead, so that the two clocks cannot be confused.
PAST, FAR = datetime(2021, 5, 1, 12, tzinfo=UTC), datetime(2031, 5, 1, 12, tzinfo=UTC)


def quote(name: str, gross: str, expires: datetime | None, flavour: str) -> dict[str, Any]:
    """A quote in the format of the flavour."""
    until = None if expires is None else expires.isoformat()
    if flavour == "consignments-v1":
        return {"QuoteReference": name, "Price": {"Gross": gross}, "ExpiryDate": until}
    return {"reference": name, "price": {"gross": gross}, "expires": until}


def outcome_of(
    *quotes: tuple[str, str, datetime | None],
    date: str | None = None,
    flavour: str = "shipments-v2",
    choice: dict[str, Any] | None = None,
) -> Quoted | Outcome:
    """The outcome of a quote request for these quotes, with this `Date` of the response."""
    offers = [quote(*one, flavour) for one in quotes]
    body = json.dumps({"quotes": offers} if flavour == "shipments-v2" else {"Quotes": offers}).encode()
    headers = [] if date is None else [f"date: {date}"]

    async def handler(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(response(200, body, *headers))

    async def request_quote() -> Quoted | Outcome:
        async with listening(handler) as api, open_client() as client:
            merchant_account = account(api.url, choice or {"quote": "cheapest"}, flavour=flavour)
            outcome = await client.quote(
                merchant_account, merchant_account.merchant.file.allocation.strategy, request()
            )
            assert len(api.requests) == 1
            return outcome

    return asyncio.run(request_quote())


@pytest.mark.parametrize("flavour", ["shipments-v2", "consignments-v1"])
def test_the_best_valid_quote(flavour: str) -> None:
    """The cheapest of the unexpired quotes is chosen, with one request."""
    date = format_datetime(FAR, usegmt=True)
    quotes = [("dead", "1", FAR - HOUR), ("dear", "9", None), ("good", "2", FAR + HOUR)]
    assert outcome_of(*quotes, date=date, flavour=flavour) == Quoted(reference="good")


def test_the_cheapest_quote_of_v2() -> None:
    """The strategy of that name sends the same request."""
    assert outcome_of(("a", "2", None), ("b", "1", None), choice={"cheapest_quote": True}) == Quoted(reference="b")


@pytest.mark.parametrize("flavour", ["shipments-v2", "consignments-v1"])
def test_no_quote_is_guessed(flavour: str) -> None:
    """If it is uncertain which quote is the cheapest, none is called for, and the next step of the plan follows."""
    outcome = outcome_of(("a", "1,050", None), ("b", "98.00", None), ("dead", "1", PAST), flavour=flavour)
    assert outcome == Refused(
        reason="no_comparable_quote",
        message="which is the cheapest depends on how the prices are read; a 1,050; b 98.00",
    )
    run = BatchRun(shipments=make_shipments("x", Quote(quote="cheapest"), GROUP))
    run.api.quotes["x"] = [outcome]
    run_virtual(run.run_all_visits())
    assert run.api.called == [("service_group freight", ("x",))]
    assert run.ledger.last("x").shipment.progress.last_refusal == "no_comparable_quote"
    assert run.ledger.last("x").verdict == "allocated"


@pytest.mark.parametrize("flavour", ["shipments-v2", "consignments-v1"])
def test_expired_quotes_only(flavour: str) -> None:
    """Quotes that had all expired when they were written are requested again."""
    outcome = outcome_of(("dead", "1", FAR), date=format_datetime(FAR, usegmt=True), flavour=flavour)
    assert isinstance(outcome, NotYet)
    assert outcome.reason == "quote_expired"


def test_the_clock_of_the_response_decides() -> None:
    """Expiry is decided by the clock of the response, however wrong either clock is."""
    past = datetime.fromtimestamp(time.time(), UTC) - timedelta(days=900)
    assert outcome_of(("a", "1", past + HOUR), date=format_datetime(past, usegmt=True)) == Quoted(reference="a")
    assert isinstance(outcome_of(("a", "1", FAR), date=format_datetime(FAR + HOUR, usegmt=True)), NotYet)


@pytest.mark.parametrize("date", [None, "", "yesterday", "Sat, 31 Feb 2026 25:00:00 GMT"])
def test_the_local_clock_is_the_fallback(date: str | None) -> None:
    """Without a valid `Date` the local clock decides."""
    now = datetime.fromtimestamp(time.time(), UTC)
    assert outcome_of(("dead", "1", now - HOUR), ("good", "2", now + HOUR), date=date) == Quoted(reference="good")


@pytest.mark.parametrize(
    ("flavour", "target"),
    [
        ("shipments-v2", f"/pro/shipments/{REFERENCE}/allocate/quote/qu_1"),
        ("consignments-v1", f"/pro/allocation/{REFERENCE}/allocatewithquote/qu_1"),
    ],
)
def test_a_call_with_a_quote(flavour: str, target: str) -> None:
    """The allocation is a separate request, with the given quote."""

    async def handler(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(response(200, b'{"IsSuccess": true}' if flavour == "consignments-v1" else allocated()))

    async def request_allocation() -> None:
        async with listening(handler) as api, open_client() as client:
            merchant_account = account(api.url, {"quote": "earliest"}, flavour=flavour)
            strategy = merchant_account.merchant.file.allocation.strategy
            outcomes = await client.allocate(merchant_account, strategy, request(), quote="qu_1")
            assert isinstance(outcomes[REFERENCE], Allocated)
            assert [(received.method, received.target) for received in api.requests] == [("PUT", target)]

    asyncio.run(request_allocation())


@pytest.mark.parametrize("flavour", ["shipments-v2", "consignments-v1"])
@pytest.mark.parametrize("status", [200, 201, 202, 207, 400, 401, 404, 407, 410, 429, 500, 521, 531])
@pytest.mark.parametrize("body", [b"", b"{}", allocated(), b'{"IsSuccess": true}', b'{"queued": ["sp_1"]}'])
def test_a_quote_request_allocates_nothing(status: int, body: bytes, flavour: str) -> None:
    """No response to a quote request is an allocation or queued; the host is known to be the API's."""
    responses = iter([response(500, b"{}"), response(status, body)])

    async def handler(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(next(responses))

    async def request_quote() -> Quoted | Outcome:
        async with listening(handler) as api, open_client() as client:
            merchant_account = account(api.url, {"quote": "cheapest"}, flavour=flavour)
            await client.read_back(merchant_account, request())
            return await client.quote(merchant_account, merchant_account.merchant.file.allocation.strategy, request())

    assert isinstance(asyncio.run(request_quote()), NotYet | Refused | Throttled | Unknown | Stopped)
