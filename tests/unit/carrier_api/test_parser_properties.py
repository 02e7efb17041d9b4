"""Properties of the parsers for any response: no exception, no missing shipment, no allocation without its state."""

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.strategies.strategy import QuoteChoice, Strategy
from tasks.rules.outcome import (
    Allocated,
    BulkRefused,
    Finding,
    NotSent,
    NotYet,
    Outcome,
    Refused,
    Stopped,
    Throttled,
    Unallocated,
    Unknown,
)
from tests.unit.carrier_api.responses import ALL, EC, NOW, OTHER, REF, V1, V2
from worker.carrier_api.dialect import Dialect
from worker.carrier_api.fields import tables
from worker.carrier_api.quotes import Offer, choose
from worker.carrier_api.response import ApiResponse
from worker.carrier_api.states import allocation_state

REQUESTED = ("sp_1", REF, EC)
NAMES = st.sampled_from([*REQUESTED, OTHER, "", None])
WORDS = st.sampled_from(["allocated", "Delivered", "allocating", "allocation_failed", "cancelled", "odd", "", None])
CODES = st.sampled_from(
    ["processing", "shipment_not_found", "allocation_failed", "conflict", "quote_expired", "x", None]
)
LINKS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "href": NAMES | st.just("https://h/labels/x/pdf"),
            "rel": st.sampled_from(["label", "PDF", 5]),
            "Rel": st.sampled_from(["detail", "Link", "label", 5]),
            "Href": st.sampled_from([f"https://h/consignments/{name}" for name in REQUESTED]),
        },
    ),
    max_size=2,
)
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
PRICES = JUNK | st.fixed_dictionaries(
    {"gross": JUNK | st.sampled_from(["1,050", 1.5, "2"]), "currency": JUNK | st.sampled_from(["GBP", "EUR"])}
)
TABLES = st.fixed_dictionaries(
    {},
    optional={
        "shipment_reference": NAMES,
        "reference": NAMES,
        "Reference": NAMES,
        "state": WORDS | JUNK,
        "ConsignmentState": WORDS | JUNK,
        "Status": WORDS,
        "code": CODES | JUNK,
        "message": JUNK,
        "details": st.lists(st.fixed_dictionaries({"code": CODES | JUNK, "message": JUNK}) | JUNK, max_size=2) | JUNK,
        "price": JUNK,
        "carrier": JUNK,
        "tracking_details": JUNK,
        "_links": LINKS | JUNK,
        "queued": st.lists(NAMES, max_size=3) | JUNK,
        "rejected": st.lists(st.fixed_dictionaries({"code": CODES, "references": st.lists(NAMES)}) | JUNK, max_size=2),
        "quotes": st.lists(st.fixed_dictionaries({"reference": NAMES, "price": PRICES, "expires": JUNK}), max_size=2),
        "IsSuccess": st.booleans() | st.sampled_from(["true", "false"]) | JUNK,
        "StatusCode": st.sampled_from([200, 202, 400, 429, 500, "200"]) | JUNK,
        "Data": NAMES | JUNK,
        "ApiLinks": LINKS | JUNK,
        "ConsignmentLegs": st.lists(st.fixed_dictionaries({"Leg": JUNK, "TrackingReferences": JUNK}), max_size=3)
        | JUNK,
        "Allocation": JUNK,
        "Quotes": JUNK,
    },
)
BODIES = (
    st.binary(max_size=60)
    | (TABLES | st.lists(TABLES | JUNK, max_size=4)).map(lambda value: json.dumps(value).encode())
    | TABLES.map(lambda table: b"<AllocationSummary>" + _as_xml(table) + b"</AllocationSummary>")
)
REPLIES = st.builds(
    ApiResponse,
    status=st.sampled_from([200, 201, 202, 207, 400, 401, 404, 407, 410, 429, 500, 521, 531]) | st.integers(0, 999),
    body=BODIES,
    whole=st.booleans(),
    retry_after=st.none() | st.text(max_size=12),
    content_type=st.text(max_size=12),
    date=st.none() | st.text(max_size=12),
)
REFERENCES = st.lists(st.sampled_from(REQUESTED), min_size=1, unique=True)


def _as_xml(table: dict[str, Any]) -> bytes:
    return b"".join(f"<{k}>{v}</{k}>".encode("utf-8", "replace") for k, v in table.items() if isinstance(v, str | bool))


def _entries(body: Any) -> list[dict[str, Any]]:
    found = body if isinstance(body, list) else [body]
    return [entry for entry in found if isinstance(entry, dict)]


def _allocated_v2(body: Any) -> set[str | None]:
    """References of the shipments in "allocated" or a later state in a v2 body; None for a missing one."""
    allocated = (entry for entry in _entries(body) if allocation_state(entry.get("state")) == "allocated")
    return {entry.get("shipment_reference") or None for entry in allocated}


def _allocated_v1(body: bytes) -> set[str | None]:
    """References in the successful summaries of a v1 body; None for a summary without one."""
    claims: set[str | None] = set()
    for entry in _entries(ApiResponse(status=200, body=body).content):
        if entry.get("IsSuccess") in (True, "true") or entry.get("StatusCode") in ("200", "202"):
            links = [
                link for link in tables(entry.get("ApiLinks")) if str(link.get("Rel")).lower() in ("detail", "link")
            ]
            text = json.dumps([entry.get("Data"), links])
            claims |= {name for name in REQUESTED if name in text} or {None}
    return claims


@settings(max_examples=300)
@given(REPLIES, REFERENCES, st.sampled_from(ALL))
def test_v2_outcomes_are_safe(response: ApiResponse, references: list[str], strategy: Strategy) -> None:
    """One outcome for each shipment, of the possible kinds, and none allocated without its state."""
    outcomes = V2.read(strategy, references, response, NOW)
    assert list(outcomes) == references
    for reference, outcome in outcomes.items():
        assert isinstance(outcome, get_args(Outcome))
        assert not isinstance(outcome, NotSent)
        if isinstance(outcome, BulkRefused):
            assert len(references) > 1
            # Only these are possible for a request that was sent twice, and then a part may have taken effect.
            assert outcome.partly == (outcome.reason in ("conflict", "invalid_state"))
        if isinstance(outcome, Allocated):
            claims = _allocated_v2(json.loads(response.body))
            assert reference in claims or (len(references) == 1 and claims == {None})


@settings(max_examples=300)
@given(REPLIES, REFERENCES, st.sampled_from(ALL[1:]))
def test_v1_outcomes_are_safe(response: ApiResponse, references: list[str], strategy: Strategy) -> None:
    """One outcome for each consignment, none certainly refused, none allocated without its own successful summary."""
    outcomes = V1.read(strategy, references, response, NOW)
    assert list(outcomes) == references
    for reference, outcome in outcomes.items():
        assert isinstance(outcome, get_args(Outcome))
        assert not (isinstance(outcome, Refused) and outcome.certain)
        assert not isinstance(outcome, BulkRefused) or (len(references) > 1 and outcome.partly)
        if isinstance(outcome, Allocated):
            claims = _allocated_v1(response.body)
            assert reference in claims or (len(references) == 1 and claims == {None})


@settings(max_examples=300)
@given(REPLIES, st.sampled_from(REQUESTED), st.sampled_from([V1, V2]))
def test_findings_are_safe(response: ApiResponse, reference: str, wire: Dialect) -> None:
    """A finding is never refused, and only a 200 with a state can be allocated or unallocated."""
    finding = wire.find(reference, response, NOW)
    assert isinstance(finding, get_args(Finding))
    assert not isinstance(finding, Refused | BulkRefused | NotSent)
    if isinstance(finding, Allocated | Unallocated):
        assert response.status == 200
        assert b"tate" in response.body or b"Status" in response.body


@settings(max_examples=200)
@given(REPLIES, st.sampled_from(REQUESTED), st.sampled_from([V1, V2]), st.sampled_from(["cheapest", "earliest"]))
def test_quotes_are_safe(response: ApiResponse, reference: str, wire: Dialect, by: QuoteChoice) -> None:
    """A quote request has at least one quote or an outcome, and never one that may be an allocation."""
    parsed = wire.parse_quotes(reference, response, NOW)
    if isinstance(parsed, tuple):
        assert parsed
        assert all(isinstance(offer, Offer) for offer in parsed)
        chosen = choose(parsed, by, NOW)
        assert chosen is None or chosen in parsed or (isinstance(chosen, Refused) and len(chosen.message) <= 300)
    else:
        assert isinstance(parsed, NotYet | Refused | Throttled | Unknown | Stopped)


@given(REPLIES)
def test_form_and_time_never_raise(response: ApiResponse) -> None:
    """The form of a response and its time can always be determined."""
    assert response.form in ("own", "empty", "foreign")
    assert response.written_at is None or response.written_at.tzinfo


TEXTS: list[Callable[[str], bytes]] = [
    lambda words: json.dumps({"state": "allocated", "correlation_id": words, "carrier": {"name": words}}).encode(),
    lambda words: json.dumps({"code": words, "message": words, "details": [{"message": words}]}).encode(),
    lambda words: json.dumps({"IsSuccess": True, "Message": words, "CarrierName": words}).encode(),
]


@pytest.mark.parametrize("write", TEXTS)
@given(words=st.text() | st.just("\ud800"), status=st.sampled_from([200, 400, 429, 521]))
def test_outcomes_can_be_encoded(write: Callable[[str], bytes], words: str, status: int) -> None:
    """Whatever a response contains, an outcome has only texts that can be encoded, and short messages."""
    for wire in (V1, V2):
        outcome = wire.read(ALL[0], [REF], ApiResponse(status=status, body=write(words)), NOW)[REF]
        assert json.dumps(asdict(outcome), ensure_ascii=False).encode()
        assert len(getattr(outcome, "message", "")) <= 300
