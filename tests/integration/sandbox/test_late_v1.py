"""Late effects for consignments, in JSON and in XML."""

from contextlib import suppress
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import pytest

from tests.integration.sandbox.running_sandbox import RunningSandbox, until

XML = {"content-type": "application/xml", "accept": "application/xml"}
NEVER = 600


def _allocate_many(sandbox: RunningSandbox, form: str, *references: str) -> httpx.Response:
    if form == "json":
        return sandbox.v1.put("/allocation/allocate", json={"ConsignmentReferences": references})
    named = "".join(f"<string>{each}</string>" for each in references)
    body = f"<Request><ConsignmentReferences>{named}</ConsignmentReferences></Request>"
    return sandbox.v1.put("/allocation/allocate", content=body, headers=XML)


def _codes(response: httpx.Response) -> list[int]:
    """The status of each entry, in either format."""
    if "xml" not in response.headers["content-type"]:
        return [each["StatusCode"] for each in response.json()]
    entries = ET.fromstring(response.content)  # noqa: S314 - our own document
    return [int(each.findtext("{*}StatusCode", "")) for each in entries]


def _state(sandbox: RunningSandbox, reference: str) -> str:
    found: str = sandbox.v1.get(f"/consignments/{reference}/status").json()["Status"]
    return found


@pytest.mark.parametrize("form", ["json", "xml"])
def test_a_late_entry_is_a_202(sandbox: RunningSandbox, form: str) -> None:
    """In a bulk response a late consignment is a 202 with its old status; the others are allocated at once."""
    sandbox.set_faults({"fault": "late", "late_s": NEVER, "references": ["EC-2"]})
    response = _allocate_many(sandbox, form, "EC-1", "EC-2", "EC-3")
    assert (response.status_code, _codes(response)) == (200, [200, 202, 200])
    assert [_state(sandbox, each) for each in ("EC-1", "EC-2", "EC-3")] == ["Allocated", "Unallocated", "Allocated"]


@pytest.mark.parametrize("form", ["json", "xml"])
@pytest.mark.parametrize("fault", [{"fault": "status", "status": 502}, {"fault": "drop"}, {"fault": "garbage"}])
def test_all_of_a_bulk_call_are_late(sandbox: RunningSandbox, form: str, fault: dict[str, Any]) -> None:
    """After a bad response every consignment of the call is allocated separately."""
    sandbox.set_faults({**fault, "on": "allocate", "late_s": 0.05})
    with suppress(httpx.TransportError):
        _allocate_many(sandbox, form, "EC-1", "EC-2")
    assert [sandbox.allocations(each) for each in ("EC-1", "EC-2")] == [1, 1]
    assert [each["state_before"] for each in sandbox.late_actions()] == ["unallocated", "unallocated"]


@pytest.mark.parametrize("form", ["json", "xml"])
def test_a_missing_entry_may_be_late(sandbox: RunningSandbox, form: str) -> None:
    """A consignment without an entry is allocated later."""
    sandbox.set_faults({"fault": "omit", "late_s": 0.05, "references": ["EC-2"]})
    assert _codes(_allocate_many(sandbox, form, "EC-1", "EC-2")) == [200]
    until(lambda: _state(sandbox, "EC-2") == "Allocated")


@pytest.mark.parametrize("accept", ["application/json", "application/xml"])
@pytest.mark.parametrize("path", ["allocatewithcheapestquote", "allocatewithservicegroup/freight"])
def test_a_single_call_is_late(sandbox: RunningSandbox, path: str, accept: str) -> None:
    """A late call for one consignment is a 202, and acts later."""
    sandbox.set_faults({"fault": "late", "late_s": 0.05})
    assert sandbox.v1.put(f"/allocation/EC-1/{path}", headers={"accept": accept}).status_code == 202
    until(lambda: _state(sandbox, "EC-1") == "Allocated")
    assert [each["state_before"] for each in sandbox.late_actions()] == ["unallocated"]


def test_an_early_repeat_allocates_twice(sandbox: RunningSandbox) -> None:
    """A consignment that is called again while the first call is pending is allocated twice."""
    sandbox.set_faults({"fault": "status", "on": "allocate", "late_s": 1, "times": 1})
    for _ in range(2):
        _allocate_many(sandbox, "json", "EC-1")
    assert sandbox.allocations("EC-1") == 2
