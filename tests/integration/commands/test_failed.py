"""`allocation failed`: failures grouped by cause."""

from tests.integration.commands.cli_harness import CliHarness, order


def test_causes_are_counted(cli: CliHarness) -> None:
    """Shipments that failed for the same reason at the same strategy have one cause, the most frequent first."""
    cli.merchant()
    cli.merchant("beta")
    cli.accept(order("heavy", weight_kg=30), order("other", merchant="beta"))
    cli.fail()
    cli.accept(order(*(f"f{number}" for number in range(30))))
    cli.fail(message="full")
    causes = cli.run("failed", "--json").document
    assert [(cause["merchant"], cause["strategy"], cause["shipments"]) for cause in causes] == [
        ("acme", "virtual_service V", 30),
        ("acme", "service_group freight", 1),
        ("beta", "virtual_service V", 1),
    ]
    assert causes[0]["message"] == "full"
    assert causes[0]["oldest"] <= causes[0]["newest"]


def test_the_table_ends_with_a_total(cli: CliHarness) -> None:
    """Messages of an API are printed escaped; a merchant can be selected."""
    cli.merchant()
    cli.merchant("beta")
    cli.accept(order("a"), order("a", "b", merchant="beta"))
    cli.fail("wrong_state", "is [red]\x1b]0;dispatched")
    result = cli.run("failed", "--merchant", "beta")
    assert result.code == 0
    assert r"is [red]\x1b]0;dispatched" in result.out
    assert result.out.endswith("2 shipments, 1 cause\n")
