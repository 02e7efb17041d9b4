"""Links to labels open in a browser, which sends no API key."""

from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.integration.sandbox.running_sandbox import RunningSandbox
from worker.lab.sandbox.options import Options

LINETEN = "FF_LINET-00001"


@pytest.fixture
def browser(sandbox: RunningSandbox) -> Iterator[httpx.Client]:
    """A client without a key."""
    with httpx.Client(base_url=sandbox.client.base_url) as browser:
        yield browser


def links_v2(sandbox: RunningSandbox, reference: str) -> list[str]:
    """The links to the labels of a shipment that v2 allocates."""
    links = sandbox.put(reference, "service", LINETEN).json()["_links"]
    return [each["href"] for each in links if each["type"] == "label"]


def links_v1(sandbox: RunningSandbox, reference: str) -> list[str]:
    """The link to the label of a consignment that v1 allocates."""
    links = sandbox.v1.put(f"/allocation/{reference}/allocatewithcheapestquote").json()["ApiLinks"]
    return [each["Href"] for each in links if each["Rel"] == "label"]


@pytest.mark.parametrize(
    ("links_of", "documents"),
    [
        (links_v2, [("application/pdf", b"%PDF-1.4"), ("text/plain", b"^XA")]),
        (links_v1, [("application/pdf", b"%PDF-1.4")]),
    ],
)
def test_every_link_opens(
    sandbox: RunningSandbox,
    browser: httpx.Client,
    links_of: Callable[[RunningSandbox, str], list[str]],
    documents: list[tuple[str, bytes]],
) -> None:
    """Each link of a response is a file of its format, with the shipment's reference in it."""
    found = [browser.get(each) for each in links_of(sandbox, "sp_1")]
    assert [each.status_code for each in found] == [200] * len(documents)
    for response, (kind, start) in zip(found, documents, strict=True):
        assert response.headers["content-type"].partition(";")[0] == kind
        assert response.content.startswith(start)
        assert b"sp_1" in response.content


def test_a_key_gets_the_document_of_the_api(sandbox: RunningSandbox, browser: httpx.Client) -> None:
    """A caller with a key gets what the vendor's API returns, and a wrong key nothing."""
    (pdf, _) = links_v2(sandbox, "sp_1")
    headers = {"x-api-version": "1.1"}
    for name in ("x-api-key", "X-API-Key"):
        assert browser.get(pdf, headers={**headers, name: "sandbox-key"}).json()["content_type"] == "application/pdf"
    assert [browser.get(pdf, headers={**headers, "x-api-key": key}).status_code for key in ("", "no")] == [401, 401]


def test_labels_are_counted(sandbox: RunningSandbox, browser: httpx.Client) -> None:
    """An opened label counts as retrieved, and is a call like any other: logged, and open to faults."""
    (pdf, zpl) = links_v2(sandbox, "sp_1")
    browser.get(pdf)
    browser.get(f"{zpl}/300")
    assert sandbox.client.get("/shipments/sp_1").json()["label_details"]["retrieval_count"] == 2
    assert [each["kind"] for each in sandbox.calls()] == ["allocate", "label", "label", "read"]
    sandbox.set_faults({"fault": "gone"})
    assert browser.get(pdf).status_code == 410


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/pro/labels/sp_1/pdf", 400),
        ("/labels/sp_2/pdf", 404),
        ("/labels/sp_1/jpg", 400),
        ("/labels/sp_1/pdf/fine", 400),
        ("/labels", 400),
        ("/shipments/sp_1", 401),
    ],
)
def test_other_paths_do_not_open(sandbox: RunningSandbox, browser: httpx.Client, path: str, status: int) -> None:
    """There is no label before the allocation or of an unknown shipment or format; nothing else opens without key."""
    sandbox.create({"reference": "sp_1"})
    assert browser.get(path).status_code == status
    assert sandbox.counts()["shipments"] == {"unallocated": 1}


def test_labels_of_every_merchant_open(start: Callable[[Options], RunningSandbox]) -> None:
    """The link of a shipment opens whichever of the accepted keys it belongs to."""
    sandbox = start(Options(keys=("one", "two")))
    response = sandbox.put("sp_1", "service", LINETEN, headers={"x-api-key": "two"}).json()
    assert httpx.get(response["_links"][-1]["href"]).status_code == 200
