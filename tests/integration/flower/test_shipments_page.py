"""The search for shipments."""

import httpx

from tests.integration.commands.cli_harness import CliHarness, order


def test_the_overview_lists_the_merchant(cli: CliHarness, pages: httpx.Client) -> None:
    """Every merchant with a file is on the overview."""
    cli.merchant()
    cli.accept(order("sp_1"))
    assert pages.get("/allocation?all=1").status_code == 200
