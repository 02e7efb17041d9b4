"""The page of a shipment."""

import json
from typing import Any

import httpx
import pytest

from tasks.rules.outcome import Allocated, Label, Price
from tests.integration.commands.cli_harness import ENTRY, FILE, CliHarness, order
from tests.integration.flower.stored import store_version

HOSTILE = '<script>alert(1)</script>"\x1b\u202e'
KEY = "allocation:shipment:acme:sp_1"


def page_of(pages: httpx.Client, reference: str = "sp_1") -> str:
    """The page of a shipment of acme."""
    return pages.get(f"/allocation/shipments/acme/{reference}").raise_for_status().text


def set_history(cli: CliHarness, entries: list[Any], **progress: Any) -> None:
    """Replace the history of the shipment."""
    fields: dict[Any, Any] = {
        f"entry:{number}": json.dumps(entry) for number, entry in enumerate(entries, 1) if entry is not None
    }
    fields["progress"] = json.dumps({"entries": len(entries), "attempts": 1, **progress})
    cli.do(lambda store, _: store.redis.hset(KEY, mapping=fields))


def test_a_failed_shipment(cli: CliHarness, pages: httpx.Client) -> None:
    """State first, then order, rule, plan and history; it can be replayed and dismissed; foreign text is escaped."""
    cli.merchant()
    cli.accept(order("sp_1", weight_kg=30))
    cli.fail(message=HOSTILE)
    text = page_of(pages)
    for words in (
        "sp_1 of <a",
        "all_steps_refused: &lt;script&gt;alert(1)&lt;/script&gt;&quot;\\x1b\\u202e",
        "1001, event evt-1",
        "heavy: weight_kg 30.0 is over 20",
        "service_group freight (failed here)",
        "The carrier is full.",
        "c-1",
        'href="/allocation/actions/replay?merchant=acme&amp;reference=sp_1"',
        'href="/allocation/actions/dismiss?merchant=acme&amp;reference=sp_1"',
    ):
        assert words in text
    assert "alert(1)</script>" not in text
    assert " style=" not in text


def test_rules_that_did_not_match(cli: CliHarness, pages: httpx.Client) -> None:
    """Each rule before the one that matched has the fact that decided, also once the file has changed."""
    cli.merchant()
    cli.accept(order("sp_1", weight_kg=1.5))
    reason = "heavy did not match: weight_kg 1.5 is not over 20"
    assert reason in page_of(pages)
    assert ", in use</dd>" in page_of(pages)
    assert reason in cli.run("explain", "sp_1").out
    store_version(cli, FILE)
    changed = FILE + "# changed\n"
    cli.merchant(text=changed)
    text = page_of(pages)
    assert "earlier rules" not in text
    assert ", replaced by " in text
    store_version(cli, changed)
    assert reason in page_of(pages)


def test_a_version_that_is_no_longer_kept(cli: CliHarness, pages: httpx.Client) -> None:
    """Without the version of the file, the page and the command say that earlier rules are unknown."""
    cli.merchant()
    cli.accept(order("sp_1"))
    cli.merchant(text=FILE + "# changed\n")
    assert "of the file is no longer kept: earlier rules are unknown" in page_of(pages)
    (document,) = cli.run("explain", "sp_1", "--json").document["shipments"]
    assert document["rules_before"] is None
    cli.merchant()
    (document,) = cli.run("explain", "sp_1", "--json").document["shipments"]
    assert document["rules_before"] == [{"rule": "heavy", "why_not": "weight_kg 1.0 is not over 20"}]


def test_the_timeline(cli: CliHarness, pages: httpx.Client) -> None:
    """Fallback steps have lanes; calls, read-backs, quiet time, waits and gaps are drawn, each with a title."""
    cli.merchant()
    cli.accept(order("sp_1"))
    second = {"strategy": {"carrier_service": "C"}}
    unknown = {**ENTRY, **second, "at": "2026-11-21T10:00:05.000Z", "outcome": "unknown", "message": HOSTILE}
    read = {"action": "read", "outcome": "unallocated", **second, "duration_ms": 3}
    reads = [{"at": f"2026-11-21T10:0{minute}:05.000Z", **read} for minute in (1, 2)]
    replay = {"at": "2026-11-21T10:05:00.000Z", "action": "replay", "by": "default"}
    set_history(cli, [ENTRY, unknown, reads[0], None, reads[1], replay, "newer", {"at": 7, "duration_ms": "x"}], step=1)
    text = page_of(pages)
    drawing = text.partition('<svg class="timeline"')[2].partition("</svg>")[0]
    assert 'role="img" aria-label="Timeline of ' in drawing
    for kind in ("bar refused", "bar unknown", "bar other read", "bar other", "quiet", "wait", "gap"):
        assert f'<rect class="{kind}"' in drawing
    assert drawing.count("<rect") == drawing.count("<title>")
    assert "virtual_service V</text>" in drawing
    assert "carrier_service C</text>" in drawing
    assert "&lt;script&gt;" in drawing
    assert "1 more, not kept" in drawing
    assert "alert(1)</script>" not in text
    assert '<td data-label="message">newer</td>' in text


def test_a_call_in_flight(cli: CliHarness, pages: httpx.Client) -> None:
    """It is in the table and in the drawing; a shipment that nobody has called for has neither."""
    cli.merchant()
    cli.accept(order("sp_1"))
    assert "No attempt yet." in page_of(pages)
    cli.claim()
    assert '<rect class="bar in-flight"' in page_of(pages)
    assert '<td data-label="outcome">in flight</td>' in page_of(pages)


@pytest.mark.parametrize(
    ("href", "is_link"),
    [("https://x.test/1.pdf", True), ("http://x.test/1", True), ("javascript:alert(1)", False), ("//x.test/1", False)],
)
def test_labels(cli: CliHarness, pages: httpx.Client, href: str, is_link: bool) -> None:  # noqa: FBT001  # a row
    """Price and labels of an allocated shipment; only web addresses are links."""
    cli.merchant()
    cli.accept(order("sp_1"))
    cli.allocate(Allocated(price=Price(net="2.00", gross="2.40", currency="GBP"), labels=(Label(href, "pdf"),)))
    text = page_of(pages)
    assert "2.00 net, 2.40 gross, GBP" in text
    assert f"{href} (pdf)" in text
    assert (f'<a href="{href}" rel="noreferrer noopener">' in text) is is_link
    assert "/actions/replay" not in text


@pytest.mark.parametrize("field", ["progress", "intake"])
def test_an_unreadable_record(cli: CliHarness, pages: httpx.Client, field: str) -> None:
    """What can be read is shown, and why the rest cannot."""
    cli.merchant()
    cli.accept(order("sp_1"))
    cli.park(wait_s=60)
    cli.do(lambda store, _: store.redis.hset(KEY, field, "{<b>not json"))
    text = page_of(pages)
    assert "this version cannot parse it: " in text
    assert "<b>" not in text
    assert "The carrier is full." in text


def test_an_unknown_shipment(cli: CliHarness, pages: httpx.Client) -> None:
    """It is answered with 404."""
    cli.merchant()
    assert pages.get("/allocation/shipments/acme/sp_9").status_code == 404
