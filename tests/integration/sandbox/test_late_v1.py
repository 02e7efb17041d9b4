"""The same lateness for consignments, in JSON and in XML."""

from contextlib import suppress
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import pytest

from tests.integration.sandbox.running_sandbox import Running, until

XML = {"content-type": "application/xml", "accept": "application/xml"}
NEVER = 600


def _many(sandbox: Running, form: str, *references: str) -> httpx.Response:
    if form == "json":
        return sandbox.v1.put("/allocation/allocate", json={"ConsignmentReferences": references})
    named = "".join(f"<string>{each}</string>" for each in references)
    body = f"<Request><ConsignmentReferences>{named}</ConsignmentReferences></Request>"
    return sandbox.v1.put("/allocation/allocate", content=body, headers=XML)


def _codes(answer: httpx.Response) -> list[int]:
    """The status of each entry, in either form."""
    if "xml" not in answer.headers["content-type"]:
        return [each["StatusCode"] for each in answer.json()]
    entries = ET.fromstring(answer.content)  # noqa: S314 - our own document
    return [int(each.findtext("{*}StatusCode", "")) for each in entries]


def _state(sandbox: Running, reference: str) -> str:
    found: str = sandbox.v1.get(f"/consignments/{reference}/status").json()["Status"]
    return found


@pytest.mark.parametrize("form", ["json", "xml"])
def test_a_late_entry_is_a_202(sandbox: Running, form: str) -> None:
    """In an answer for many a late consignment is a 202, its status the old one; the others are allocated at once."""
    sandbox.break_with({"fault": "late", "late_s": NEVER, "references": ["EC-2"]})
    answer = _many(sandbox, form, "EC-1", "EC-2", "EC-3")
    assert (answer.status_code, _codes(answer)) == (200, [200, 202, 200])
    assert [_state(sandbox, each) for each in ("EC-1", "EC-2", "EC-3")] == ["Allocated", "Unallocated", "Allocated"]


@pytest.mark.parametrize("form", ["json", "xml"])
@pytest.mark.parametrize("fault", [{"fault": "status", "status": 502}, {"fault": "drop"}, {"fault": "garbage"}])
def test_all_of_many_are_late(sandbox: Running, form: str, fault: dict[str, Any]) -> None:
    """After a bad answer every consignment of the call is allocated, each for itself."""
    sandbox.break_with({**fault, "on": "allocate", "late_s": 0.05})
    with suppress(httpx.TransportError):
        _many(sandbox, form, "EC-1", "EC-2")
    assert [sandbox.allocations(each) for each in ("EC-1", "EC-2")] == [1, 1]
    assert [each["state_before"] for each in sandbox.acted()] == ["unallocated", "unallocated"]


@pytest.mark.parametrize("form", ["json", "xml"])
def test_a_missing_entry_may_be_late(sandbox: Running, form: str) -> None:
    """A consignment without an entry is allocated later."""
    sandbox.break_with({"fault": "omit", "late_s": 0.05, "references": ["EC-2"]})
    assert _codes(_many(sandbox, form, "EC-1", "EC-2")) == [200]
    until(lambda: _state(sandbox, "EC-2") == "Allocated")


@pytest.mark.parametrize("accept", ["application/json", "application/xml"])
@pytest.mark.parametrize("path", ["allocatewithcheapestquote", "allocatewithservicegroup/freight"])
def test_a_single_call_is_late(sandbox: Running, path: str, accept: str) -> None:
    """A late call for one consignment is a 202, and acts later."""
    sandbox.break_with({"fault": "late", "late_s": 0.05})
    assert sandbox.v1.put(f"/allocation/EC-1/{path}", headers={"accept": accept}).status_code == 202
    until(lambda: _state(sandbox, "EC-1") == "Allocated")
    assert [each["state_before"] for each in sandbox.acted()] == ["unallocated"]


def test_who_asks_too_early_pays_twice(sandbox: Running) -> None:
    """A consignment that is asked for again while the first call is pending is allocated twice."""
    sandbox.break_with({"fault": "status", "on": "allocate", "late_s": 1, "times": 1})
    for _ in range(2):
        _many(sandbox, "json", "EC-1")
    assert sandbox.allocations("EC-1") == 2
