"""The search for shipments."""

import httpx
import pytest

from tests.integration.commands.cli_harness import CliHarness, order


@pytest.mark.parametrize("key", ["sp_1", "1001", "evt-1"])
def test_one_shipment(cli: CliHarness, pages: httpx.Client, key: str) -> None:
    """A reference, an order number and an event id all lead to the shipment's page."""
    cli.merchant()
    cli.accept(order("sp_1"))
    found = pages.get("/allocation/shipments", params={"key": key})
    assert found.status_code == 302
    assert found.headers["location"] == "/allocation/shipments/acme/sp_1"
    assert pages.get(found.headers["location"]).status_code == 200


def test_several_shipments(cli: CliHarness, pages: httpx.Client) -> None:
    """They are listed with their state and reason, each with its page."""
    cli.merchant()
    cli.merchant("beta")
    cli.accept(order("sp_1"))
    cli.fail()
    cli.accept(order("sp_2", "sp_3", merchant="beta", id="evt-2"))
    page = pages.get("/allocation/shipments", params={"key": "1001"})
    assert page.status_code == 200
    assert "3 shipments of 1001" in page.text
    for address in ("acme/sp_1", "beta/sp_2", "beta/sp_3"):
        assert f'href="/allocation/shipments/{address}"' in page.text
    assert '<td data-label="reason">all_steps_refused</td>' in page.text
    assert '<td data-label="state">due</td>' in page.text


def test_a_rejected_event(cli: CliHarness, pages: httpx.Client) -> None:
    """A key that only a rejected event names gets the reason, advice, and the event's page."""
    cli.accept(order("sp_1", merchant="<b>unknown</b>"))
    page = pages.get("/allocation/shipments", params={"key": "sp_1"})
    assert page.status_code == 404
    assert "unknown_merchant" in page.text
    assert "&lt;b&gt;unknown" in page.text
    assert "<b>" not in page.text
    _, _, rest = page.text.partition('href="/allocation/rejected/')
    assert pages.get("/allocation/rejected/" + rest.partition('"')[0]).status_code == 200


def test_the_nearest_references(cli: CliHarness, pages: httpx.Client) -> None:
    """A key that nothing has is answered with 404, and links to the nearest references."""
    cli.merchant()
    cli.accept(order("sp_1001", "sp_1002"))
    page = pages.get("/allocation/shipments", params={"key": "sp_1O01<script>"})
    assert page.status_code == 404
    assert 'href="/allocation/shipments?key=sp_1001"' in page.text
    assert "sp_1O01&lt;script&gt;" in page.text
    assert pages.get("/allocation/shipments").status_code == 400
