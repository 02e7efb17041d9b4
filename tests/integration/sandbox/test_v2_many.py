"""v2's bulk calls: every shipment is queued or rejected."""

from typing import Any

import pytest

from tests.integration.sandbox.running_sandbox import RunningSandbox, shipment_reference

FILTERS = {"direction": "outbound", "pickup": False, "drop_off": True, "tags": ["Oil"]}
WAYS: dict[str, dict[str, Any]] = {
    "/shipments/allocate": {},
    "/shipments/allocate/service": {"carrier_service_reference": "FF_LINET-00001"},
    "/shipments/allocate/service_group": {"service_group": "freight"},
    "/shipments/allocate/filters": {"filters": FILTERS},
}


def _allocate(sandbox: RunningSandbox, path: str, references: object, **rest: object) -> Any:
    return sandbox.client.put(path, json={"shipments": references, **WAYS[path], **rest})


@pytest.mark.parametrize(
    ("path", "service"),
    list(zip(WAYS, ["FF_LINET-00001", "FF_LINET-00001", "HAUL-PALLET", "DNQ72"], strict=True)),
)
def test_bulk_calls_are_queued_and_then_allocated(sandbox: RunningSandbox, path: str, service: str) -> None:
    """The response is 202; each shipment is `allocating` until it has the service that the strategy selects."""
    references = [shipment_reference(), shipment_reference()]
    response = _allocate(sandbox, path, references)
    assert response.status_code == 202
    accepted = response.json().get("queued") or [each["reference"] for each in response.json()["shipments"]]
    assert accepted == references
    assert [sandbox.settled(each) for each in references] == ["allocated", "allocated"]
    carrier = sandbox.client.get(f"/shipments/{references[0]}").json()["allocation"]["carrier"]
    assert carrier["service_reference"] == service


@pytest.mark.parametrize(("path", "status"), list(zip(WAYS, [407, 207, 407, 202], strict=True)))
def test_some_may_be_rejected(sandbox: RunningSandbox, path: str, status: int) -> None:
    """A shipment that is processed or in the wrong state is rejected with its code, the others are queued."""
    good, early, taken = (shipment_reference() for _ in range(3))
    sandbox.create({"reference": early, "exists_after_s": 60}, {"reference": taken, "state": "allocated"})
    response = _allocate(sandbox, path, [good, early, taken, "not a reference"])
    assert response.status_code == status
    if status == 202:
        assert [each["reference"] for each in response.json()["shipments"]] == [good]
        return
    assert response.json()["queued"] == [good]
    assert {each["code"]: each["references"] for each in response.json()["rejected"]} == {
        "processing": [early],
        "invalid_state_for_operation": [taken],
        "shipment_not_found": ["not a reference"],
    }


def test_a_queued_shipment_may_fail(sandbox: RunningSandbox) -> None:
    """A queued shipment without an eligible service ends as `allocation_failed`."""
    reference = shipment_reference()
    sandbox.create({"reference": reference, "weight_kg": 5000})
    _allocate(sandbox, "/shipments/allocate", [reference])
    assert sandbox.settled(reference) == "allocation_failed"


@pytest.mark.parametrize("path", WAYS)
@pytest.mark.parametrize("references", [[], ["sp_1", "sp_1"], [f"sp_{each}" for each in range(101)], [1], None])
def test_invalid_lists_are_refused(sandbox: RunningSandbox, path: str, references: object) -> None:
    """1 to 100 different references are allowed; anything else is refused as a whole."""
    response = _allocate(sandbox, path, references)
    assert (response.status_code, response.json()["code"]) == (400, "validation_error")
    assert sandbox.counts()["shipments"] == {}


@pytest.mark.parametrize(
    ("path", "rest", "status"),
    [
        ("/shipments/allocate/service", {"carrier_service_reference": "nothing"}, 404),
        ("/shipments/allocate/service_group", {"service_group": "nothing"}, 404),
        ("/shipments/allocate/filters", {"filters": {}}, 400),
    ],
)
def test_invalid_choices_are_refused(sandbox: RunningSandbox, path: str, rest: dict[str, object], status: int) -> None:
    """An unknown service or group, or filters without a direction, refuse the whole call."""
    reference = shipment_reference()
    assert _allocate(sandbox, path, [reference], **rest).status_code == status
    assert sandbox.state(reference) == "unallocated"


@pytest.mark.parametrize("body", [b"", b"[]", b"{"])
def test_the_body_must_be_an_object(sandbox: RunningSandbox, body: bytes) -> None:
    """A body that is no JSON object is refused."""
    assert sandbox.client.put("/shipments/allocate", content=body).status_code == 400
