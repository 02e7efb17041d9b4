"""A call for several shipments is refused as a whole: who is meant, and what becomes of the others."""

from collections.abc import Mapping

import pytest

from config.strategies.strategy import Strategy
from tasks.rules.outcome import DENIED, BulkRefused, NotYet, Outcome, Refused, Stopped, Throttled, Unknown
from tests.unit.carrier_api.responses import DEFAULT, EC, NOW, OTHER, REF, SERVICE, V1, V2, error, response
from tests.unit.carrier_api.test_errors_v2 import BODILESS, OTHER_REFUSALS, STEP_REFUSALS
from worker.carrier_api.response import ApiResponse

REFERENCES = (REF, OTHER, "sp_3")
TOGETHER = (BulkRefused, "refused_together")


def outcomes(answer: ApiResponse, strategy: Strategy = DEFAULT) -> Mapping[str, Outcome]:
    """What v2 says about each of three shipments."""
    found = V2.read(strategy, REFERENCES, answer, NOW)
    assert tuple(found) == REFERENCES
    return found


def read(answer: ApiResponse, strategy: Strategy = DEFAULT) -> list[tuple[type[Outcome], str | None]]:
    """Kind and reason for each of them."""
    return [(type(outcome), outcome.reason) for outcome in outcomes(answer, strategy).values()]


@pytest.mark.parametrize(("status", "code"), STEP_REFUSALS)
def test_refusal_of_the_step_is_for_all(status: int, code: str) -> None:
    """A code that names the step's reference is a definite no for each of them."""
    assert read(error(status, code, parent="allocation_failed")) == [(Refused, code)] * 3
    assert all(isinstance(one, Refused) and one.certain for one in outcomes(error(status, parent=code)).values())


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
def test_what_one_may_have_stops_no_other(status: int, code: str) -> None:
    """Where only one need be meant and nobody says which, none is refused, stopped or delayed for another."""
    assert read(error(status, code)) == [TOGETHER] * 3


def test_the_reason_is_passed_on() -> None:
    """What the API gave as its reason is told to a person."""
    answer = response(521, {"code": "allocation_failed", "message": "no carrier accepts it", "correlation_id": "c-1"})
    assert outcomes(answer)[REF] == BulkRefused(
        reason="refused_together",
        message="refused together with other shipments: allocation_failed: no carrier accepts it",
        correlation_id="c-1",
    )


@pytest.mark.parametrize(("status", "kind", "reason"), BODILESS)
@pytest.mark.parametrize("strategy", [DEFAULT, SERVICE], ids=lambda strategy: strategy.name)
def test_bare_status(status: int, kind: type[Outcome], reason: str, strategy: Strategy) -> None:
    """A bare status that refuses is of nobody in particular; any other means the same for each."""
    refuses = kind in (Refused, Stopped) and reason not in DENIED
    assert read(response(status), strategy) == [TOGETHER if refuses else (kind, reason)] * 3


def test_404_names_no_step_without_a_code() -> None:
    """A bare 404 may mean the service or one of the shipments."""
    assert read(response(404), SERVICE) == [TOGETHER] * 3
    assert V2.read(SERVICE, [REF], response(404), NOW)[REF].reason == "carrier_service_not_found"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (error(401, "invalid_api_key"), (Stopped, "unauthorised")),
        (error(403), (Stopped, "forbidden")),
        (error(429), (Throttled, "throttled")),
        (error(503), (Unknown, "server_error")),
    ],
)
def test_what_is_for_all(answer: ApiResponse, expected: object) -> None:
    """A key, a limit and a fault are everybody's."""
    assert read(answer) == [expected] * 3


@pytest.mark.parametrize(
    "answer",
    [
        error(429, "rule_conflict"),
        error(429, parent="conflict"),
        error(400, "invalid_state_for_operation"),
        error(521, "x", parent="shipment_invalid_state"),
    ],
)
def test_what_may_have_acted(answer: ApiResponse) -> None:
    """A conflict or a wrong state may come of our own request, sent twice on its way: a part may have gone through."""
    for one in outcomes(answer).values():
        assert isinstance(one, BulkRefused)
        assert (one.reason in ("conflict", "invalid_state"), one.partly) == (True, True)


def test_a_wrong_state_that_names_the_guilty() -> None:
    """The shipment that the details name has that state; the others are looked at, as a part may have gone through."""
    found = outcomes(response(400, {"details": [detail(1, "invalid_state_for_operation")]}))
    assert (type(found[OTHER]), found[OTHER].reason) == (Unknown, "invalid_state")
    other = found[REF]
    assert isinstance(other, BulkRefused)
    assert other.partly


def detail(position: int, code: str) -> dict[str, str]:
    """A detail of an error that names a shipment by its position in the request."""
    return {"property": f"$.shipments[{position}]", "code": code, "message": f"about {code}"}


def test_details_name_the_guilty() -> None:
    """Each shipment that the details name has its own outcome; the others were refused together with it."""
    body = {"code": "validation_error", "details": [detail(1, "invalid_reference_format"), detail(2, "processing")]}
    found = outcomes(response(400, body))
    assert found[OTHER] == Stopped(
        reason="invalid_request", message="$.shipments[1]: about invalid_reference_format", correlation_id=None
    )
    assert found["sp_3"] == NotYet(reason="processing", message="$.shipments[2]: about processing")
    assert (type(found[REF]), found[REF].reason) == TOGETHER


def test_details_that_name_nobody() -> None:
    """A position beyond our request names nobody."""
    assert read(response(400, {"details": [detail(7, "invalid_reference_format")]})) == [TOGETHER] * 3


def test_a_fault_names_nobody() -> None:
    """A fault of the server may have gone through for all of them, whomever its details name."""
    assert read(response(500, {"details": [detail(1, "x")]})) == [(Unknown, "server_error")] * 3


@pytest.mark.parametrize("status", [400, 404, 410])
def test_v1_may_have_done_a_part(status: int) -> None:
    """v1 says nothing of who was refused, nor whether all were; a single consignment is refused by itself."""
    found = V1.read(DEFAULT, [EC, OTHER], response(status, {"Message": "no"}), NOW)
    assert [(type(one), one.reason) for one in found.values()] == [TOGETHER] * 2
    assert all(isinstance(one, BulkRefused) and one.partly and "no" in one.message for one in found.values())
    assert isinstance(V1.read(DEFAULT, [EC], response(status, {"Message": "no"}), NOW)[EC], Refused | Stopped)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (401, (Stopped, "unauthorised")),
        (403, (Stopped, "forbidden")),
        (429, (Throttled, "throttled")),
        (500, (Unknown, "server_error")),
    ],
)
def test_v1_what_is_for_all(status: int, expected: object) -> None:
    """A key, a limit and a fault are everybody's in v1 too."""
    found = V1.read(DEFAULT, [EC, OTHER], response(status), NOW)
    assert [(type(one), one.reason) for one in found.values()] == [expected] * 2


def test_v1_one_failure_for_all_of_them() -> None:
    """A single summary that names nobody and fails is of the whole call, of which a part may have gone through."""
    found = V1.read(DEFAULT, [EC, OTHER], response(200, [{"IsSuccess": False, "Message": "no"}]), NOW)
    assert all(isinstance(one, BulkRefused) and one.partly for one in found.values())
    silent = V1.read(DEFAULT, [EC, OTHER], response(200, {"IsSuccess": True}), NOW)
    assert [(type(one), one.reason) for one in silent.values()] == [(Unknown, "missing_in_response")] * 2


def test_v1_entries_fail_by_themselves() -> None:
    """In a list each consignment is refused alone."""
    entries = [{"IsSuccess": False, "Data": EC}, {"StatusCode": 404, "Data": OTHER}]
    found = V1.read(DEFAULT, [EC, OTHER], response(200, entries), NOW)
    assert all(isinstance(one, Refused) and not one.certain for one in found.values())
