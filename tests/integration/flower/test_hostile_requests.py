"""Requests and events that no operator or shop sends on purpose."""

import re
from base64 import b64encode

import httpx
import pytest

from tests.integration.commands.cli_harness import CliHarness
from tests.integration.flower.test_actions import seen
from tests.integration.sandbox.running_sandbox import until

UNUSUAL = {
    b'{"half": "\\ud800"}': r"\ud800",
    b"\xff<b>": "\N{REPLACEMENT CHARACTER}<b>",
}
"""Rejected events, and a part of what their page shows."""


@pytest.mark.parametrize(("event", "shown"), UNUSUAL.items(), ids=["half a character", "no text"])
def test_a_rejected_event_is_shown_whatever_it_is(
    cli: CliHarness, pages: httpx.Client, event: bytes, shown: str
) -> None:
    """An event that cannot be indented, or sent as it is, still has its page."""
    cli.accept(event)
    found = re.search(r'href="(/allocation/rejected/[0-9-]+)"', pages.get("/allocation/rejected").text)
    assert found
    page = pages.get(found[1])
    assert page.status_code == 200
    assert shown in seen(page).replace(" ", "")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_login_that_is_not_ascii(pages: httpx.Client, method: str) -> None:
    """Flower cannot compare it; it is wrong, not a bug."""
    login = {"Authorization": "Basic " + b64encode("opérator:x".encode()).decode()}
    assert httpx.request(method, f"{pages.base_url}/allocation/actions/replay", headers=login).status_code == 401


def test_an_unknown_method(pages: httpx.Client) -> None:
    """The error message names the problem."""
    page = pages.request("TRACE", "/allocation")
    assert page.status_code == 405
    assert "Method Not Allowed" in seen(page)


@pytest.mark.parametrize("address", ["/allocation", "/allocation/"])
def test_all_merchants_are_a_link_away(cli: CliHarness, pages: httpx.Client, address: str) -> None:
    """The overview hides idle merchants; its link lists them."""
    cli.merchant("idle")
    # Figures are up to a second old.
    until(lambda: "/allocation/merchants/idle" in pages.get(f"{address}?all=1").text)
    page = pages.get(address)
    assert "/allocation/merchants/idle" not in page.text
    link = re.search(r'href="([^"]+)">show all<', page.text)
    assert link
    assert "/allocation/merchants/idle" in pages.get(link[1]).text
