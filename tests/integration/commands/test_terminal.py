"""On a terminal of 80 columns, output is folded between words; no time, reference or word is torn."""

import json

import pytest

from tasks.rules.outcome import Allocated, Carrier, Label, Price
from tests.integration.commands.cli_harness import FILE, PROGRAM, CliHarness, order
from tests.integration.commands.terminal import lines_on_terminal

COLUMNS = 80
REFERENCE = "sp_00802615769404976542730318118930"
MESSAGE = "service_group freight: The shipment could not be allocated.; HAUL-PALLET: It is too heavy for the service"
BOX = set("─┬│ ")


@pytest.fixture
def full(cli: CliHarness) -> CliHarness:
    """A ledger with a failed, an allocated and a parked shipment, a rejected event, and actions."""
    cli.merchant()
    cli.merchant("a-merchant-with-a-long-name-of-forty-chars")
    cli.accept(order(REFERENCE, weight_kg=30))
    cli.fail(message=MESSAGE)
    cli.accept(order("sp_allocated", id="evt-2"))
    labels = (Label(href=f"https://api.test/pro/labels/{REFERENCE}/pdf", format="pdf"),)
    carrier = Carrier(reference="FF", name="Lineten", service_reference="FF-1", service_name="Standard On Demand")
    cli.allocate(Allocated(carrier=carrier, price=Price(net="2.00", gross="2.40", currency="GBP"), labels=labels))
    cli.accept(order("sp_parked", id="evt-3"), order(merchant="acme", id="evt-4"))
    cli.park(wait_s=600)
    cli.run("hold", "acme", "--why", "the carrier is on strike until the end of next week, they say")
    (cli.folder / "order.json").write_text(json.dumps(order(REFERENCE, weight_kg=30)))
    return cli


COMMANDS = (
    ["status"],
    ["failed"],
    ["failed", "--list"],
    ["explain", REFERENCE],
    ["explain", "sp_allocated"],
    ["explain", "sp_parked"],
    ["explain", "1001"],
    ["rejected"],
    ["rejected", "--list"],
    ["replay", "--all", "--dry-run"],
    ["merchants"],
    ["audit"],
    ["check"],
    ["check", "--order", "order.json"],
    ["schema"],
)


def test_output_fits(full: CliHarness) -> None:
    """No line is longer than the terminal unless a single word is, and no word is torn."""
    for words in COMMANDS:
        plain = full.run(*words)
        assert plain.err == "", words
        lines = lines_on_terminal([str(PROGRAM), *words], full.environment, full.folder, COLUMNS)
        # A line with a word that is too long has nothing else than its label beside it.
        assert [line for line in lines if len(line) > COLUMNS and len(line.split()) > 2] == [], words
        assert torn(plain.out, "\n".join(lines)) == [], (words, lines)


def torn(plain: str, shown: str) -> list[str]:
    """The words of the plain output that the terminal does not show whole, apart from passing times and rulers."""
    words = {*shown.split(), "s", "ms", "min", "ago"}
    return [
        word
        for word in plain.split()
        if word not in words and not set(word) <= BOX and not word.replace(".", "").isdigit()
    ]


def test_the_plain_output_has_a_row_per_line(full: CliHarness) -> None:
    """Where it is read by programs, nothing is folded."""
    rows = [line for line in full.run("failed").out.splitlines() if REFERENCE in line]
    assert len(rows) == 1
    assert MESSAGE in rows[0]
    assert FILE in full.run("merchants", "show", "acme").out
