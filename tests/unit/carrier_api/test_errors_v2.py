"""v2 errors: the child code decides, then the parent, then the status."""

import pytest

from config.strategies.strategy import Strategy
from tasks.rules.outcome import Finding, NotYet, Outcome, Refused, Stopped, Throttled, Unknown
from tests.unit.carrier_api.responses import (
    ALL,
    CHEAPEST,
    DEFAULT,
    FILTERS,
    GROUP,
    NOW,
    QUOTE,
    REF,
    SERVICE,
    V2,
    VIRTUAL,
    api_error,
    api_response,
    v2,
)

STEP_REFUSALS = [
    (400, "non_unique_reference"),
    (400, "virtual_service_not_found"),
    (400, "invalid_carrier_service"),
    (400, "invalid_service_group"),
    (404, "service_group_not_found"),
    (521, "carrier_service_not_found"),
]
OTHER_REFUSALS = [
    (521, "allocation_failed"),
    (521, "carrier_service_shipment_mismatch"),
    (531, "no_quotes_available"),
]
MEANT: list[tuple[int, str, type[Outcome], str]] = [
    *((status, code, Refused, code) for status, code in (*STEP_REFUSALS, *OTHER_REFUSALS)),
    (429, "rule_conflict", Refused, "conflict"),
    (429, "conflict", Refused, "conflict"),
    (400, "invalid_state_for_operation", Unknown, "invalid_state"),
    (521, "shipment_invalid_state", Unknown, "invalid_state"),
    (404, "processing", NotYet, "processing"),
    (404, "shipment_not_found", Stopped, "shipment_not_found"),
    (521, "shipment_not_found", Stopped, "shipment_not_found"),
    (410, "resource_removed", Stopped, "shipment_gone"),
    (410, "resource_quarantined", Stopped, "shipment_gone"),
    (401, "invalid_api_key", Stopped, "unauthorised"),
    (403, "forbidden", Stopped, "forbidden"),
    (400, "invalid_format", Stopped, "invalid_request"),
    (500, "internal_server_error", Unknown, "server_error"),
    (405, "method_not_supported", Unknown, "unexpected_status"),
]
BODILESS: list[tuple[int, type[Outcome], str]] = [
    (400, Stopped, "invalid_request"),
    (401, Stopped, "unauthorised"),
    (403, Stopped, "forbidden"),
    (410, Stopped, "shipment_gone"),
    (429, Throttled, "throttled"),
    (521, Refused, "allocation_failed"),
    (531, Refused, "no_quotes_available"),
    *((status, Unknown, "server_error") for status in (500, 501, 502, 503, 504, 520, 522, 530, 599)),
    *(
        (status, Unknown, "unexpected_status")
        for status in (100, 101, 201, 204, 301, 302, 304, 307, 405, 408, 409, 422)
    ),
]
BODIES = [b"", b"<html><h1>Bad Gateway</h1></html>", b"null", b"[]", b'"no"', b'{"code": null, "details": null}']


@pytest.mark.parametrize("strategy", ALL, ids=lambda strategy: strategy.name)
@pytest.mark.parametrize(("status", "code", "kind", "reason"), MEANT)
def test_child_code(status: int, code: str, kind: type[Outcome], reason: str, strategy: Strategy) -> None:
    """Each documented child code has the same meaning for every strategy."""
    outcome = v2(api_error(status, code, parent="validation_error"), strategy)
    assert (type(outcome), outcome.reason) == (kind, reason)
    assert not isinstance(outcome, Refused) or outcome.certain


@pytest.mark.parametrize(("status", "code", "kind", "reason"), MEANT)
def test_parent_code(status: int, code: str, kind: type[Outcome], reason: str) -> None:
    """Without a known child code, the parent code decides."""
    for response in (api_error(status, parent=code.upper()), api_error(status, "no_such_code", parent=code)):
        outcome = v2(response)
        assert (type(outcome), outcome.reason) == (kind, reason)


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize(("status", "kind", "reason"), BODILESS)
def test_bare_status(status: int, kind: type[Outcome], reason: str, body: bytes) -> None:
    """Without a code, as in a proxy's page or an empty body, the status decides."""
    outcome = v2(api_response(status, body))
    assert (type(outcome), outcome.reason) == (kind, reason)


def test_child_takes_precedence() -> None:
    """A missing shipment is recognized under `allocation_failed` and 521, or under a meaningless status."""
    assert isinstance(v2(api_error(521, "shipment_not_found", parent="allocation_failed")), Stopped)
    assert isinstance(v2(api_error(418, "shipment_not_found", parent="allocation_failed")), Stopped)


def test_invalid_state_takes_precedence() -> None:
    """The worker's own earlier call may have taken effect, so the shipment is read back whatever the other codes."""
    outcome = v2(api_error(521, "carrier_service_not_found", "shipment_invalid_state", parent="allocation_failed"))
    assert (type(outcome), outcome.reason) == (Unknown, "invalid_state")


@pytest.mark.parametrize("parent", [None, "not_found"])
@pytest.mark.parametrize(
    ("strategy", "kind", "reason"),
    [
        (VIRTUAL, Refused, "virtual_service_not_found"),
        (SERVICE, Refused, "carrier_service_not_found"),
        (GROUP, Refused, "service_group_not_found"),
        (DEFAULT, Stopped, "shipment_not_found"),
        (FILTERS, Stopped, "shipment_not_found"),
        (CHEAPEST, Stopped, "shipment_not_found"),
        (QUOTE, Stopped, "shipment_not_found"),
    ],
)
def test_404_without_a_cause(strategy: Strategy, kind: type[Outcome], reason: str, parent: str | None) -> None:
    """It refers to the step's reference, if the step has one, and otherwise to the shipment."""
    outcome = v2(api_error(404, parent=parent), strategy)
    assert (type(outcome), outcome.reason) == (kind, reason)


@pytest.mark.parametrize("status", [400, 404, 410])
@pytest.mark.parametrize("code", ["quote_expired", "quote_not_found", "invalid_quote_reference"])
def test_missing_quote_is_requested_again(status: int, code: str) -> None:
    """A quote that no longer exists is no refusal of the step; the code counts only if a quote was sent."""
    assert v2(api_error(status, code), QUOTE).reason == v2(api_error(status, code), CHEAPEST).reason == "quote_expired"
    assert isinstance(v2(api_error(status, code), QUOTE), NotYet)
    assert not isinstance(v2(api_error(status, code), DEFAULT), NotYet)


def test_throttled_has_retry_after() -> None:
    """`Retry-After` is parsed into seconds; None without it."""
    assert v2(api_error(429, retry_after="30")) == Throttled(
        reason="throttled", message="no", correlation_id="c-1", retry_after_s=30.0
    )
    assert v2(api_response(429)) == Throttled(reason="throttled", message="HTTP 429", retry_after_s=None)


@pytest.mark.parametrize("status", [401, 403, 500, 503, 599])
def test_other_errors_have_retry_after(status: int) -> None:
    """A refused key and a server error may contain a `Retry-After` as well."""
    outcome = v2(api_error(status, retry_after="30"))
    assert isinstance(outcome, Stopped | Unknown)
    assert outcome.retry_after_s == 30.0
    assert V2.find(REF, api_error(status, retry_after="30"), NOW) == outcome
    assert V2.parse_quotes(REF, api_error(status, retry_after="30"), NOW) == outcome


def test_message_is_readable() -> None:
    """A message is one short line of the error, its details and the excluded services."""
    body = {
        "message": "No quotes\r\ncould be generated",
        "details": [{"property": "$.weight", "code": "x", "message": "is too heavy"}, {"code": "y"}],
        "excluded_services": [
            {"carrier": {"service_name": "Next Day"}, "exclusion": {"code": "ex_weight", "reason": "over 30 kg"}},
            {"carrier": None, "exclusion": {"reason": "no route"}},
        ],
    }
    expected = "No quotes could be generated; $.weight: is too heavy; Next Day: over 30 kg; no route"
    assert v2(api_response(531, body)) == Refused(reason="no_quotes_available", message=expected)
    long = v2(api_response(531, {"message": "x" * 1000}))
    assert isinstance(long, Refused)
    assert len(long.message) == 300


def test_proxy_page_is_recognized() -> None:
    """A page that is not from the API is recognized by status and type; its content is not repeated."""
    outcome = v2(api_response(502, b"<html>secret</html>", content_type="text/html"))
    assert outcome == Unknown(reason="server_error", message="HTTP 502 text/html")


FOUND: list[tuple[int, str | None, type[Finding], str]] = [
    (404, None, Stopped, "shipment_not_found"),
    (404, "not_found", Stopped, "shipment_not_found"),
    (404, "shipment_not_found", Stopped, "shipment_not_found"),
    (404, "processing", NotYet, "processing"),
    (410, "resource_quarantined", Stopped, "shipment_gone"),
    (401, None, Stopped, "unauthorised"),
    (403, None, Stopped, "forbidden"),
    (400, "invalid_reference_format", Stopped, "invalid_request"),
    (429, None, Throttled, "throttled"),
    (429, "rule_conflict", Unknown, "conflict"),
    (521, None, Unknown, "allocation_failed"),
    (202, None, Unknown, "unexpected_status"),
    (304, None, Unknown, "unexpected_status"),
    (503, None, Unknown, "server_error"),
]


@pytest.mark.parametrize(("status", "code", "kind", "reason"), FOUND)
def test_read_back_is_never_refused(status: int, code: str | None, kind: type[Finding], reason: str) -> None:
    """An error on a read-back is about the shipment or the key; it is never a refusal."""
    finding = V2.find(REF, api_error(status, parent=code), NOW)
    assert (type(finding), finding.reason) == (kind, reason)
