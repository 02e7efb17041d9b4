"""v2: authentication, strategies, and refusals."""

from base64 import b64decode
from collections.abc import Callable

import pytest

from tests.integration.sandbox.running_sandbox import RunningSandbox, shipment_reference
from worker.lab.sandbox.options import Options

StartMessage = Callable[[Options], RunningSandbox]

LINETEN = "FF_LINET-00001"


def test_a_carrier_service_allocates(sandbox: RunningSandbox) -> None:
    """The response is a 200 with the carrier and the price in the vendor's format, and the read-back agrees."""
    reference = shipment_reference()
    response = sandbox.put(reference, "service", LINETEN)
    assert response.status_code == 200
    assert response.json()["carrier"]["service_name"] == "Lineten - Standard On Demand"
    assert '"net":2.00,"gross":2.00' in response.text
    resource = sandbox.client.get(f"/pro/shipments/{reference}").json()
    assert resource["state"] == "allocated"
    assert resource["allocation"]["tracking_details"] == response.json()["tracking_details"]


@pytest.mark.parametrize("prefix", ["", "/pro", "/prosandbox"])
def test_links_keep_the_prefix_of_the_call(sandbox: RunningSandbox, prefix: str) -> None:
    """Label links are absolute, keep host and prefix, and lead to a document of their format."""
    response = sandbox.client.put(f"{prefix}/shipments/{shipment_reference()}/allocate/service/{LINETEN}").json()
    links = [each["href"] for each in response["_links"] if each["type"] == "label"]
    assert all(each.startswith(f"{sandbox.client.base_url}".rstrip("/") + f"{prefix}/labels/") for each in links)
    pdf, zpl = (b64decode(sandbox.client.get(each).json()["file"]) for each in links)
    assert pdf.startswith(b"%PDF-1.4")
    assert zpl.startswith(b"^XA")


def test_pdf_offsets_are_correct(sandbox: RunningSandbox) -> None:
    """Every offset in the cross-reference table of a label points at its object."""
    reference = shipment_reference()
    sandbox.put(reference, "service", LINETEN)
    pdf = b64decode(sandbox.client.get(f"/labels/{reference}/pdf/203").json()["file"])
    start = int(pdf.split(b"startxref\n")[1].split()[0])
    assert pdf[start:].startswith(b"xref")
    offsets = [int(line[:10]) for line in pdf[start:].splitlines() if line.endswith(b" n ")]
    assert all(pdf[offset:].startswith(b"%d 0 obj" % number) for number, offset in enumerate(offsets, start=1))


def test_labels_belong_to_allocated_shipments(sandbox: RunningSandbox) -> None:
    """A shipment without an allocation has no label, and fetched labels are counted."""
    reference = shipment_reference()
    assert sandbox.client.get(f"/labels/{reference}/pdf").status_code == 400
    sandbox.put(reference, "service", LINETEN)
    sandbox.client.get(f"/labels/{reference}/pdf")
    sandbox.client.get(f"/labels/{reference}/zpl/300")
    assert sandbox.client.get(f"/labels/{reference}/jpg").status_code == 400
    assert sandbox.client.get(f"/shipments/{reference}").json()["label_details"]["retrieval_count"] == 2


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"x-api-key": ""}, 401),
        ({"x-api-key": "another"}, 401),
        ({"x-api-key": "forbidden-key"}, 403),
        ({"x-api-version": ""}, 400),
        ({"x-api-version": "1.0"}, 400),
    ],
)
def test_key_and_version_are_required(sandbox: RunningSandbox, headers: dict[str, str], status: int) -> None:
    """A call with a wrong key or version is rejected before any effect."""
    reference = shipment_reference()
    assert sandbox.put(reference, "service", LINETEN, headers=headers).status_code == status
    assert sandbox.state(reference) == "unallocated"


def test_only_open_states_may_be_allocated(sandbox: RunningSandbox) -> None:
    """A second allocation is refused by the state, and the shipment is unchanged."""
    reference = shipment_reference()
    sandbox.put(reference, "service", LINETEN)
    again = sandbox.put(reference, "service_group", "valuableGoods")
    assert (again.status_code, again.json()["details"][0]["code"]) == (400, "invalid_state_for_operation")
    assert sandbox.counts()["allocated_twice"] == []


@pytest.mark.parametrize(
    ("path", "status", "cause"),
    [
        (("virtual_service", "EXPRESS"), 400, "non_unique_reference"),
        (("virtual_service", "missing_one"), 400, "virtual_service_not_found"),
        (("virtual_service", "nothing"), 404, None),
        (("service", "nothing"), 400, "invalid_carrier_service"),
        (("service_group", "nothing"), 404, None),
        (("service", "ALWAYS_REFUSES"), 521, "carrier_service_shipment_mismatch"),
        (("service_group", "nobody"), 521, "carrier_service_shipment_mismatch"),
        (("quote", "nothing"), 404, "quote_not_found"),
    ],
)
def test_refusals_have_their_code(
    sandbox: RunningSandbox, path: tuple[str, str], status: int, cause: str | None
) -> None:
    """Each refusal has its status and its child code."""
    response = sandbox.put(shipment_reference(), *path)
    details = response.json()["details"]
    assert (response.status_code, details[0]["code"] if details else None) == (status, cause)


@pytest.mark.parametrize(("virtual", "service"), [(LINETEN, LINETEN), ("valuableGoods", "DNQ72")])
def test_a_virtual_service_is_a_service_or_a_group(sandbox: RunningSandbox, virtual: str, service: str) -> None:
    """A virtual service stands for the service, or for the cheapest eligible service of the group."""
    response = sandbox.put(shipment_reference(), "virtual_service", virtual)
    assert response.json()["carrier"]["service_reference"] == service


@pytest.mark.parametrize("facts", [{"weight_kg": 25.5}, {"country": "IE"}, {"tags": ["fragile", "Oil"]}])
def test_rules_of_a_service(sandbox: RunningSandbox, facts: dict[str, object]) -> None:
    """A shipment that violates a rule of the service fails, and may then be allocated to another service."""
    reference = shipment_reference()
    sandbox.create({"reference": reference, **facts})
    response = sandbox.put(reference, "service", LINETEN)
    assert (response.status_code, response.json()["code"]) == (521, "allocation_failed")
    assert [each["property"] for each in response.json()["details"]] == [LINETEN]
    assert sandbox.state(reference) == "allocation_failed"
    assert sandbox.put(reference, "service", "DNQ72").status_code == 200


def test_a_group_lists_excluded_services(sandbox: RunningSandbox) -> None:
    """An allocation within a group lists the services that are not eligible for the shipment."""
    reference = shipment_reference()
    sandbox.create({"reference": reference, "weight_kg": 50})
    response = sandbox.put(reference, "service_group", "valuableGoods").json()
    (left_out,) = response["excluded_services"]
    assert left_out["carrier"]["service_reference"] == "GUARDED-SIGNED"
    assert left_out["exclusion"]["code"] == "ex_weight"


def test_a_group_without_an_eligible_service(sandbox: RunningSandbox) -> None:
    """If no service of a group is eligible the response has this code and lists each of them."""
    reference = shipment_reference()
    sandbox.create({"reference": reference, "weight_kg": 500})
    response = sandbox.put(reference, "service_group", "valuableGoods")
    causes = [(each.get("property"), each["code"]) for each in response.json()["details"]]
    assert response.status_code == 521
    assert causes == [
        (None, "carrier_service_not_found"),
        ("DNQ72", "carrier_service_shipment_mismatch"),
        ("GUARDED-SIGNED", "carrier_service_shipment_mismatch"),
    ]


def test_quotes_can_be_used(sandbox: RunningSandbox) -> None:
    """A shipment has several quotes, the cheapest is not the earliest, and allocating with one uses its service."""
    reference = shipment_reference()
    response = sandbox.client.post(f"/pro/shipments/{reference}/quote")
    quotes = response.json()["quotes"]
    assert response.status_code == 201
    cheapest = min(quotes, key=lambda quote: quote["price"]["gross"])
    earliest = min(quotes, key=lambda quote: quote["delivery_date"]["end"])
    assert cheapest != earliest
    allocated = sandbox.put(reference, "quote", earliest["reference"])
    assert allocated.json()["carrier"] == earliest["carrier"]


def test_quotes_expire(start: StartMessage) -> None:
    """An expired quote is refused with its code."""
    sandbox = start(Options(quote_s=0))
    reference = shipment_reference()
    quotes = sandbox.client.post(f"/pro/shipments/{reference}/quote").json()["quotes"]
    response = sandbox.put(reference, "quote", quotes[0]["reference"])
    assert (response.status_code, response.json()["details"][0]["code"]) == (400, "quote_expired")


def test_no_quotes(sandbox: RunningSandbox) -> None:
    """Without a quote the response is 531 and lists every service with the reason."""
    reference = shipment_reference()
    sandbox.create({"reference": reference, "tags": ["radioactive"]})
    response = sandbox.client.post(f"/pro/shipments/{reference}/quote")
    assert (response.status_code, response.json()["code"]) == (531, "no_quotes_available")
    assert LINETEN in {each["property"] for each in response.json()["details"]}


def test_shipments_may_have_to_be_created_first(start: StartMessage) -> None:
    """Without automatic creation an unknown reference is not found, by any call."""
    sandbox = start(Options(auto_create=False))
    for response in (sandbox.put("sp_1", "service", LINETEN), sandbox.client.get("/pro/shipments/sp_1")):
        assert (response.status_code, response.json()["details"][0]["code"]) == (404, "shipment_not_found")


def test_a_shipment_may_still_be_processed(sandbox: RunningSandbox) -> None:
    """Until a shipment exists the API responds `processing`; then it can be allocated."""
    reference = shipment_reference()
    sandbox.create({"reference": reference, "exists_after_s": 0.3})
    early = sandbox.put(reference, "service", LINETEN)
    assert (early.status_code, early.json()["details"][0]["code"]) == (404, "processing")
    while sandbox.client.get(f"/pro/shipments/{reference}").status_code == 404:
        pass
    assert sandbox.put(reference, "service", LINETEN).status_code == 200


@pytest.mark.parametrize("path", ["/", "/pro", "/pro/shipments/allocation/filters", "/pro/shipments/%2F/other"])
def test_other_paths_are_not_found(sandbox: RunningSandbox, path: str) -> None:
    """A path that is no endpoint responds 404."""
    assert sandbox.client.put(path).status_code == 404
