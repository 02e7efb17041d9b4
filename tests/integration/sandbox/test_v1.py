"""v1: the same shipments as consignments, in JSON and in XML."""

from base64 import b64decode
from collections.abc import Callable
from itertools import count
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import pytest

from tests.integration.sandbox.running_sandbox import RunningSandbox
from worker.lab.sandbox.options import Options

StartMessage = Callable[[Options], RunningSandbox]

LINETEN = "FF_LINET-00001"
XML = {"content-type": "application/xml", "accept": "application/xml"}
IN_CONSIGNMENTS = "{http://electioapp.com/schemas/v1.1/MPD.Electio.SDK.DataTypes.Consignments}"
IN_COMMON = "{http://electioapp.com/schemas/v1.1/MPD.Electio.SDK.DataTypes.Common}"

_numbers = count(1)


def _reference() -> str:
    return f"EC-000-000-{next(_numbers):03d}"


def _allocate_many(sandbox: RunningSandbox, *references: str, service: str = LINETEN) -> httpx.Response:
    body = {"MpdCarrierServiceReference": service, "ConsignmentReferences": references}
    return sandbox.v1.put("/allocation/allocatewithcarrierservice", json=body)


def _xml(response: httpx.Response) -> ET.Element:
    assert response.headers["content-type"].startswith("application/xml")
    return ET.fromstring(response.content)  # noqa: S314 - our own document


def test_bulk_calls_are_decided_at_once(sandbox: RunningSandbox) -> None:
    """Each consignment has its own entry, which succeeds or fails independently."""
    good, heavy = _reference(), _reference()
    sandbox.create({"reference": heavy, "weight_kg": 5000})
    response = _allocate_many(sandbox, good, heavy)
    first, second = response.json()
    assert (response.status_code, first["StatusCode"], second["StatusCode"]) == (200, 200, 400)
    assert first["CarrierServiceReference"] == LINETEN
    assert first["ConsignmentLegs"][0]["Leg"] == 1
    assert [each["Rel"] for each in first["ApiLinks"]] == ["detail", "label"]
    assert second["ApiLinks"][0]["Href"].endswith(f"/consignments/{heavy}")


def test_summaries_may_have_the_other_form(start: StartMessage) -> None:
    """With the form `is_success` an entry has success, message and reference."""
    sandbox = start(Options(v1_form="is_success"))
    good, bad = _allocate_many(sandbox, "EC-1", "not a reference").json()
    assert (good["IsSuccess"], good["Data"]) == (True, "EC-1")
    assert (bad["IsSuccess"], bad["Data"]) == (False, "not a reference")


@pytest.mark.parametrize(
    ("strategy", "rest", "service"),
    [
        ("allocate", {}, LINETEN),
        ("allocatewithcarrierservice", {"MpdCarrierServiceReference": "DNQ72"}, "DNQ72"),
        (
            "allocateConsignmentsWithServiceFilters",
            {"Filters": {"ServiceDirection": "Inbound", "IsPickup": False, "IsDropOff": True}},
            "CORNER-RETURN",
        ),
    ],
)
def test_each_many_strategy_picks_its_service(
    sandbox: RunningSandbox, strategy: str, rest: dict[str, Any], service: str
) -> None:
    """Default rules, a carrier service and filters each select their service."""
    body = {"ConsignmentReferences": [_reference()], **rest}
    (entry,) = sandbox.v1.put(f"/allocation/{strategy}", json=body).json()
    assert entry["CarrierServiceReference"] == service


def test_an_unknown_service_fails_every_entry(sandbox: RunningSandbox) -> None:
    """An unknown carrier service fails in each entry, not for the call."""
    response = _allocate_many(sandbox, _reference(), service="nothing")
    assert (response.status_code, response.json()[0]["StatusCode"]) == (200, 400)


@pytest.mark.parametrize(
    ("path", "service"), [("allocatewithcheapestquote", LINETEN), ("allocatewithservicegroup/freight", "HAUL-PALLET")]
)
def test_a_single_call_returns_one_summary(sandbox: RunningSandbox, path: str, service: str) -> None:
    """The response to a call for one consignment is a summary and not a list."""
    response = sandbox.v1.put(f"/allocation/{_reference()}/{path}")
    assert response.json()["CarrierServiceReference"] == service


@pytest.mark.parametrize("explains", [True, False])
def test_a_refusal_may_be_empty(start: StartMessage, *, explains: bool) -> None:
    """A refused single call is a 400, with a summary or without a body."""
    sandbox = start(Options(v1_refusal_body=explains))
    response = sandbox.v1.put("/allocation/EC-1/allocatewithservicegroup/nobody")
    assert response.status_code == 400
    assert bool(response.content) is explains


def test_quotes_can_be_used(sandbox: RunningSandbox) -> None:
    """Allocating with a quote of a consignment uses the quote's service."""
    reference = _reference()
    response = sandbox.v1.get(f"/quotes/consignment/{reference}")
    quote = response.json()["Quotes"][-1]
    assert '"Gross":2.00' in response.text
    summary = sandbox.v1.put(f"/allocation/{reference}/allocatewithquote/{quote['QuoteReference']}").json()
    assert summary["CarrierServiceReference"] == quote["MpdCarrierServiceReference"]


def test_a_consignment_can_be_read_back(sandbox: RunningSandbox) -> None:
    """The consignment, its status and its label show the allocation."""
    reference = _reference()
    assert sandbox.v1.get(f"/consignments/{reference}").json()["ConsignmentState"] == "Unallocated"
    _allocate_many(sandbox, reference)
    consignment = sandbox.v1.get(f"/consignments/{reference}").json()
    assert consignment["Allocation"]["MpdCarrierServiceReference"] == LINETEN
    assert consignment["ConsignmentLegs"][0]["CarrierName"] == "Lineten"
    assert sandbox.v1.get(f"/consignments/{reference}/status").json()["Status"] == "Allocated"
    label = sandbox.v1.get(f"/labels/{reference}/zpl").json()
    assert (label["ContentType"], b64decode(label["File"])[:3]) == ("text/plain", b"^XA")
    assert sandbox.v1.get(f"/labels/{reference}").json()["ContentType"] == "application/pdf"


def test_the_failed_state(sandbox: RunningSandbox) -> None:
    """The state after a refusal is "Allocation Failed"."""
    reference = _reference()
    sandbox.v1.put(f"/allocation/{reference}/allocatewithservicegroup/nobody")
    assert sandbox.v1.get(f"/consignments/{reference}/status").json()["Status"] == "Allocation Failed"


def test_xml_requests_and_responses(sandbox: RunningSandbox) -> None:
    """The response to a request in XML is an array in the vendor's namespaces."""
    body = (
        '<AllocateWithCarrierServiceRequest xmlns="urn:any">'
        f"<MpdCarrierServiceReference>{LINETEN}</MpdCarrierServiceReference>"
        "<ConsignmentReferences><string>EC-1</string><string>EC-2</string></ConsignmentReferences>"
        "</AllocateWithCarrierServiceRequest>"
    )
    root = _xml(sandbox.v1.put("/allocation/allocatewithcarrierservice", content=body, headers=XML))
    assert root.tag == f"{IN_CONSIGNMENTS}ArrayOfAllocationSummary"
    first, second = root
    assert [each.text for each in first.iter(f"{IN_COMMON}Rel")] == ["Link", "Label"]
    assert first.findtext(f".//{IN_CONSIGNMENTS}Leg") == "0"
    assert second.findtext(f"{IN_CONSIGNMENTS}StatusCode") == "200"
    assert second.findtext(f".//{IN_CONSIGNMENTS}string", "").startswith("TRK")


def test_booleans_in_xml(sandbox: RunningSandbox) -> None:
    """Booleans in an XML request are parsed from their text."""
    body = (
        "<Request><ConsignmentReferences><string>EC-1</string></ConsignmentReferences><Filters>"
        "<ServiceDirection>Outbound</ServiceDirection><IsPickup>true</IsPickup><IsDropOff>false</IsDropOff>"
        "</Filters></Request>"
    )
    sandbox.create({"reference": "EC-1", "weight_kg": 500})
    root = _xml(sandbox.v1.put("/allocation/allocateConsignmentsWithServiceFilters", content=body, headers=XML))
    assert root.findtext(f".//{IN_CONSIGNMENTS}CarrierServiceReference") == "HAUL-PALLET"


@pytest.mark.parametrize("path", ["consignments/EC-1", "consignments/EC-1/status", "quotes/consignment/EC-1"])
def test_everything_can_be_read_as_xml(sandbox: RunningSandbox, path: str) -> None:
    """Every resource is well-formed XML when XML is accepted."""
    assert "EC-1" in "".join(_xml(sandbox.v1.get(f"/{path}", headers=XML)).itertext())


@pytest.mark.parametrize(
    "body",
    [
        '<!DOCTYPE a [<!ENTITY b "EC-1">]><a><ConsignmentReferences><string>&b;</string></ConsignmentReferences></a>',
        '<!DOCTYPE a SYSTEM "file:///etc/hostname"><a/>',
        "<a><b></a>",
        "<a/>",
        "",
    ],
)
def test_xml_with_a_document_type_is_refused(sandbox: RunningSandbox, body: str) -> None:
    """A document type, or anything that is no request, is a 400."""
    assert sandbox.v1.put("/allocation/allocate", content=body, headers=XML).status_code == 400


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"ocp-apim-subscription-key": "another"}, 401),
        ({"ocp-apim-subscription-key": "forbidden-key"}, 403),
        ({"electio-api-version": "2"}, 400),
    ],
)
def test_key_and_version_are_required(sandbox: RunningSandbox, headers: dict[str, str], status: int) -> None:
    """v1 has its own headers for the key and the version."""
    assert sandbox.v1.get("/consignments/EC-1", headers=headers).status_code == status


def test_v1_has_no_prefix(sandbox: RunningSandbox) -> None:
    """Below a prefix there is only v2, which does not accept v1's key."""
    assert sandbox.v1.get("/pro/consignments/EC-1").status_code == 401
    assert sandbox.v1.get("/consignments/EC-1/other").status_code == 404
