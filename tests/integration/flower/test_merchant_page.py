"""The page of a merchant."""

from typing import Any

import httpx

from tests.integration.commands.cli_harness import FILE, CliHarness, order
from tests.integration.flower.stored import store_version
from tests.integration.sandbox.running_sandbox import until
from worker.ledger import keys
from worker.ledger.counters import field


def text_with(pages: httpx.Client, words: str) -> str:
    """The page of acme, once it has these words: figures are read once a second."""
    found = [""]

    def has_words() -> bool:
        found.append(pages.get("/allocation/merchants/acme").text)
        return words in found[-1]

    until(has_words)
    return found[-1]


def test_counts_and_failures(cli: CliHarness, pages: httpx.Client) -> None:
    """Shipments by state, and failures by cause, linked to their pages."""
    cli.merchant()
    cli.accept(order("sp_1"))
    cli.allocate()
    cli.accept(order("sp_2", id="evt-2"))
    cli.fail(message="<b>full")
    cli.accept(order("sp_3", "sp_4", id="evt-3"))
    text = text_with(pages, "<dt>due</dt><dd>2, the first for ")
    assert "<dt>allocated</dt><dd>1</dd>" in text
    assert 'href="/allocation/shipments/acme/sp_3"' in text
    assert text.count('data-label="state">due for ') == 2
    assert "<dt>failed</dt><dd>1</dd>" in text
    assert 'href="/allocation/failures/cause?merchant=acme&amp;reason=all_steps_refused&amp;strategy=' in text
    assert 'class="shipment" href="/allocation/shipments/acme/sp_2"' in text
    assert "&lt;b&gt;full" in text
    for action in ("hold", "replay"):
        assert f'href="/allocation/actions/{action}?merchant=acme"' in text
    assert "/actions/resume" not in text


def test_rules_and_strategies(cli: CliHarness, pages: httpx.Client) -> None:
    """Every rule has its numbers, also one that never matched or that the file in use does not have."""
    cli.merchant()
    store_version(cli, FILE)
    counted: dict[Any, Any] = {
        field("allocated", "acme", "default", "virtual_service V", 0, 0): 5,
        field("allocated", "acme", "default", "carrier_service C", 1, 1): 2,
        field("failed", "acme", "default", "all_steps_refused"): 4,
        field("failed", "acme", "old", "all_steps_refused"): 1,
        field("failed", "other", "foreign", "all_steps_refused"): 1,
        field("calls", "acme", "allocate", "virtual_service V", "allocated"): 5,
        field("calls", "acme", "allocate", "virtual_service V", "refused"): 6,
    }
    cli.do(lambda store, _: store.redis.hset(keys.METRICS, mapping=counted))
    text = " ".join(text_with(pages, "refused 6, allocated 5").split())
    assert "foreign" not in text
    heavy, default, old = (part.partition("</tr>")[0] for part in text.split('<th scope="row">')[1:4])
    assert heavy.startswith("heavy</th>")
    assert '<td data-label="when">weight_kg over 20</td>' in heavy
    assert '<td data-label="matched">never</td>' in heavy
    assert default.startswith("default</th>")
    assert "virtual_service V, then carrier_service C" in default
    assert [part.partition("<")[0] for part in default.split('data-label="')[3:6]] == [
        'allocated">7',
        'of these fell back">2',
        'failed">4',
    ]
    assert old.startswith("old</th>")
    assert "not in the file in use" in old


def test_the_file(cli: CliHarness, pages: httpx.Client) -> None:
    """The version in use without API keys, and why the file on this machine is invalid."""
    merchant = store_version(cli, FILE + "# <b> opens-nothing\n")
    cli.merchant(text="[api\n")
    text = text_with(pages, "<code>file_invalid</code>")
    assert f"Version {merchant.version}, in use since " in text
    assert "# &lt;b&gt; [key]" in text
    assert "opens-nothing" not in text
    assert "The file on this machine is invalid; the last valid version stays in use" in text


def test_a_merchant_on_hold(cli: CliHarness, pages: httpx.Client) -> None:
    """Why it is stopped is on top, and it can be resumed."""
    cli.merchant()
    assert cli.run("hold", "acme", "--why", "<i>strike").code == 0
    text = text_with(pages, "on hold: &lt;i&gt;strike")
    assert 'href="/allocation/actions/resume?merchant=acme"' in text
    assert "/actions/hold" not in text


def test_an_unknown_merchant(cli: CliHarness, pages: httpx.Client) -> None:
    """It is answered with 404 and the nearest names."""
    cli.merchant()
    text_with(pages, "Neither stopped nor slowed.")
    page = pages.get("/allocation/merchants/amce")
    assert page.status_code == 404
    assert 'href="/allocation/merchants/acme"' in page.text
