"""Bulk calls that are refused as a whole: the outcome of each shipment."""

from collections.abc import Mapping

import pytest

from config.strategies.strategy import Strategy
from tasks.rules.outcome import DENIED, BulkRefused, NotYet, Outcome, Refused, Stopped, Throttled, Unknown
from tests.unit.carrier_api.responses import DEFAULT, EC, NOW, OTHER, REF, SERVICE, V1, V2, api_error, api_response
from tests.unit.carrier_api.test_errors_v2 import BODILESS, OTHER_REFUSALS, STEP_REFUSALS
from worker.carrier_api.response import ApiResponse

REFERENCES = (REF, OTHER, "sp_3")
TOGETHER = (BulkRefused, "refused_together")


def outcomes(response: ApiResponse, strategy: Strategy = DEFAULT) -> Mapping[str, Outcome]:
    """The v2 outcomes of three shipments."""
    found = V2.read(strategy, REFERENCES, response, NOW)
    assert tuple(found) == REFERENCES
    return found


def read(response: ApiResponse, strategy: Strategy = DEFAULT) -> list[tuple[type[Outcome], str | None]]:
    """Kind and reason of each outcome."""
    return [(type(outcome), outcome.reason) for outcome in outcomes(response, strategy).values()]


@pytest.mark.parametrize(("status", "code"), STEP_REFUSALS)
def test_refusal_of_the_step_applies_to_all(status: int, code: str) -> None:
    """A code about the step's reference is a definite refusal for each shipment."""
    assert read(api_error(status, code, parent="allocation_failed")) == [(Refused, code)] * 3
    assert all(isinstance(one, Refused) and one.certain for one in outcomes(api_error(status, parent=code)).values())


@pytest.mark.parametrize(
    ("status", "code"),
    [
        *OTHER_REFUSALS,
        (404, "shipment_not_found"),
        (404, "processing"),
        (410, "resource_removed"),
        (404, "x"),
        (400, "x"),
    ],
)
def test_an_error_of_one_shipment_affects_no_other(status: int, code: str) -> None:
    """If the cause may be any one shipment, none is refused, stopped or delayed for it."""
    assert read(api_error(status, code)) == [TOGETHER] * 3


def test_the_reason_is_kept() -> None:
    """The message contains the API's reason."""
    response = api_response(
        521, {"code": "allocation_failed", "message": "no carrier accepts it", "correlation_id": "c-1"}
    )
    assert outcomes(response)[REF] == BulkRefused(
        reason="refused_together",
        message="refused together with other shipments: allocation_failed: no carrier accepts it",
        correlation_id="c-1",
    )


@pytest.mark.parametrize(("status", "kind", "reason"), BODILESS)
@pytest.mark.parametrize("strategy", [DEFAULT, SERVICE], ids=lambda strategy: strategy.name)
def test_bare_status(status: int, kind: type[Outcome], reason: str, strategy: Strategy) -> None:
    """A bare status that refuses is not attributed to any shipment; any other means the same for each."""
    refuses = kind in (Refused, Stopped) and reason not in DENIED
    assert read(api_response(status), strategy) == [TOGETHER if refuses else (kind, reason)] * 3


def test_404_names_no_step_without_a_code() -> None:
    """A bare 404 may refer to the service or to one of the shipments."""
    assert read(api_response(404), SERVICE) == [TOGETHER] * 3
    assert V2.read(SERVICE, [REF], api_response(404), NOW)[REF].reason == "carrier_service_not_found"


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (api_error(401, "invalid_api_key"), (Stopped, "unauthorised")),
        (api_error(403), (Stopped, "forbidden")),
        (api_error(429), (Throttled, "throttled")),
        (api_error(503), (Unknown, "server_error")),
    ],
)
def test_common_errors(response: ApiResponse, expected: object) -> None:
    """A refused key, a limit and a server error apply to all shipments."""
    assert read(response) == [expected] * 3


@pytest.mark.parametrize(
    "response",
    [
        api_error(429, "rule_conflict"),
        api_error(429, parent="conflict"),
        api_error(400, "invalid_state_for_operation"),
        api_error(521, "x", parent="shipment_invalid_state"),
    ],
)
def test_a_partial_effect_is_possible(response: ApiResponse) -> None:
    """A conflict or a wrong state may result from a request that was sent twice: a part may have taken effect."""
    for one in outcomes(response).values():
        assert isinstance(one, BulkRefused)
        assert (one.reason in ("conflict", "invalid_state"), one.partly) == (True, True)


def test_a_wrong_state_with_details() -> None:
    """The shipment in the details has that state; the others are read back, as a part may have taken effect."""
    found = outcomes(api_response(400, {"details": [detail(1, "invalid_state_for_operation")]}))
    assert (type(found[OTHER]), found[OTHER].reason) == (Unknown, "invalid_state")
    other = found[REF]
    assert isinstance(other, BulkRefused)
    assert other.partly


def detail(position: int, code: str) -> dict[str, str]:
    """An error detail that names a shipment by its position in the request."""
    return {"property": f"$.shipments[{position}]", "code": code, "message": f"about {code}"}


def test_details_name_the_bad_shipments() -> None:
    """Each shipment in the details has its own outcome; the others were refused together with it."""
    body = {"code": "validation_error", "details": [detail(1, "invalid_reference_format"), detail(2, "processing")]}
    found = outcomes(api_response(400, body))
    assert found[OTHER] == Stopped(
        reason="invalid_request", message="$.shipments[1]: about invalid_reference_format", correlation_id=None
    )
    assert found["sp_3"] == NotYet(reason="processing", message="$.shipments[2]: about processing")
    assert (type(found[REF]), found[REF].reason) == TOGETHER


def test_details_of_an_unknown_position() -> None:
    """A position beyond the request is ignored."""
    assert read(api_response(400, {"details": [detail(7, "invalid_reference_format")]})) == [TOGETHER] * 3


def test_details_of_a_server_error_are_ignored() -> None:
    """After a server error the call may have taken effect for all shipments, whatever the details."""
    assert read(api_response(500, {"details": [detail(1, "x")]})) == [(Unknown, "server_error")] * 3


@pytest.mark.parametrize("status", [400, 404, 410])
def test_v1_may_have_a_partial_effect(status: int) -> None:
    """v1 does not state which consignments were refused; a single one is refused by itself."""
    found = V1.read(DEFAULT, [EC, OTHER], api_response(status, {"Message": "no"}), NOW)
    assert [(type(one), one.reason) for one in found.values()] == [TOGETHER] * 2
    assert all(isinstance(one, BulkRefused) and one.partly and "no" in one.message for one in found.values())
    assert isinstance(V1.read(DEFAULT, [EC], api_response(status, {"Message": "no"}), NOW)[EC], Refused | Stopped)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (401, (Stopped, "unauthorised")),
        (403, (Stopped, "forbidden")),
        (429, (Throttled, "throttled")),
        (500, (Unknown, "server_error")),
    ],
)
def test_v1_common_errors(status: int, expected: object) -> None:
    """A refused key, a limit and a server error apply to all consignments in v1 too."""
    found = V1.read(DEFAULT, [EC, OTHER], api_response(status), NOW)
    assert [(type(one), one.reason) for one in found.values()] == [expected] * 2


def test_v1_single_failure_for_a_bulk_call() -> None:
    """A failed summary without a reference applies to the whole call, of which a part may have taken effect."""
    found = V1.read(DEFAULT, [EC, OTHER], api_response(200, [{"IsSuccess": False, "Message": "no"}]), NOW)
    assert all(isinstance(one, BulkRefused) and one.partly for one in found.values())
    silent = V1.read(DEFAULT, [EC, OTHER], api_response(200, {"IsSuccess": True}), NOW)
    assert [(type(one), one.reason) for one in silent.values()] == [(Unknown, "missing_in_response")] * 2


def test_v1_entries_fail_independently() -> None:
    """In a list each consignment is refused alone."""
    entries = [{"IsSuccess": False, "Data": EC}, {"StatusCode": 404, "Data": OTHER}]
    found = V1.read(DEFAULT, [EC, OTHER], api_response(200, entries), NOW)
    assert all(isinstance(one, Refused) and not one.certain for one in found.values())
