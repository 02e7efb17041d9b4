"""The operator's pages in a real browser, in a run with faults."""

import json
import re
import subprocess
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.acceptance.system import BIN, System, order_event, running, v2_file, wait_until
from tests.ui.browser import Visit, visiting
from worker.lab.embedded_server import free_port

LOGIN = ("ops", "sesame-7f3a")
KEY = "sandbox-key"
FAILED = 412
FAILING = ("bust", "crash")
"""Merchants of which this many shipments fail: for a browser with JavaScript, and for one without."""
MARKUP = "<script>alert(1)</script><img src=x onerror=alert(2)>\" onload='alert(3)"
"""In every text of an event that intake does not refuse."""

WRONG = '{ carrier_service = "NO-SUCH" }'
RIGHT = '{ carrier_service = "FF_LINET-00001" }'
PAGES = ("", "/failures", "/rejected", "/audit")

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A run with failures, fallbacks, a lost response, a merchant without a key, rejected events, hostile text."""
    port = str(free_port())
    environment = {
        "ALLOCATION_FLOWER_PORT": port,
        "ALLOCATION_FLOWER_BASIC_AUTH": ":".join(LOGIN),
        "ALLOCATION_FLOWER_ACTIONS": "true",
    }
    with running(tmp_path_factory.mktemp("ui"), "intake", "worker", "beat", **environment) as system:
        system.start("flower")
        _write_merchants(system)
        system.faults({"fault": "drop", "references": ["sp_lost"], "acts": True, "times": 1})
        system.publish(_events())
        system.wait_settled(len(FAILING) * FAILED + 13, 90)
        wait_until(lambda: bool(system.redis.hexists("allocation:paused", "nokey")), 30, "the pause without a key")
        wait_until(lambda: _responds(port), 30, "Flower responds")
        yield system


def _write_merchants(system: System) -> None:
    for name in FAILING:
        system.merchant(name, v2_file(system.url, WRONG))
    system.merchant("fallen", v2_file(system.url, '{ virtual_service = "EXPRESS" }', f"[{RIGHT}]"))
    system.merchant("acme", v2_file(system.url, RIGHT, more=f"{_rule('never')}[retry]\nquiet_seconds = 1\n"))
    system.merchant("nokey", v2_file(system.url, RIGHT, key="NO_SUCH_KEY"))


def _rule(name: str) -> str:
    return f'[[rules]]\nname = "{name}"\nwhen = {{ country = "FR" }}\nstrategy = {WRONG}\n'


def _events() -> Iterator[dict[str, object] | str]:
    for name in FAILING:
        for number in range(0, FAILED, 4):
            yield order_event(name, [f"{name}-{n}" for n in range(number, number + 4)], order=f"{number} {MARKUP}")
    yield order_event("fallen", [f"fallen-{n}" for n in range(10)], order=MARKUP, shipping_method=MARKUP)
    yield order_event("acme", ["sp_fine", "sp_other"], order="1001")
    yield order_event("acme", ["sp_lost"], facts={"destination": {"country": "GB"}}, shipping_method=MARKUP)
    yield order_event("nokey", ["waiting"])
    yield order_event("nobody", ["sp_x"], order=MARKUP)
    yield json.dumps(order_event("acme", ["sp_y"], order=MARKUP)).replace("1.0", MARKUP.replace('"', ""))
    yield f'{{"broken": {MARKUP}'


def _responds(port: str) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthcheck").is_success
    except httpx.TransportError:
        return False


@pytest.fixture
def address(system: System) -> str:
    """Flower's address."""
    return f"http://127.0.0.1:{system.environment['ALLOCATION_FLOWER_PORT']}"


@pytest.fixture(params=[True, False], ids=["javascript", "no-javascript"])
def visit(browser: Browser, address: str, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """A tab with and without JavaScript."""
    with visiting(browser, address, LOGIN, javascript=request.param) as visit:
        visit.merchant = FAILING[0 if request.param else 1]
        yield visit


def test_overview(visit: Visit) -> None:
    """Health first, in the words of `allocation status`; then merchants, the worst first."""
    # Figures are up to a second old.
    wait_until(lambda: "nokey: paused: its API key cannot be found" in visit.open("/allocation"), 10, "the problem")
    text = visit.text()
    assert f"bust: {FAILED} failed shipments to deal with" in text
    names = visit.page.locator("tbody th").all_inner_texts()
    assert names == ["nokey", "bust", "crash", "acme", "fallen"]
    assert "Overview" in visit.click(".app-nav >> text=Allocation")


def test_the_words_are_those_of_status(system: System, visit: Visit) -> None:
    """Page and command line show the same problems in the same words, besides how long they have lasted."""
    shown = subprocess.run(
        [str(BIN / "allocation"), "status", "--json"], env=system.environment, capture_output=True, check=False
    )
    problems = json.loads(shown.stdout)["problems"]
    text = visit.open("/allocation?all=1")
    assert problems
    assert [each["slug"] for each in problems if each["text"] not in text] == []


def test_every_page_opens(visit: Visit) -> None:
    """No page breaks, none shows a secret, and nothing escapes from an event."""
    paths = [f"/allocation{page}" for page in PAGES] + [
        "/allocation?all=1",
        "/allocation/failures/cause?merchant=bust&reason=all_steps_refused&strategy=carrier_service+NO-SUCH",
        "/allocation/shipments/bust/bust-7",
        "/allocation/shipments/fallen/fallen-3",
        "/allocation/shipments/acme/sp_lost",
        "/allocation/shipments/nokey/waiting",
        "/allocation/shipments?key=1001",
        *(f"/allocation/merchants/{name}" for name in ("bust", "fallen", "acme", "nokey")),
        "/allocation/actions/replay?merchant=bust",
        "/allocation/actions/hold?merchant=bust",
        "/allocation/actions/requeue",
        "/tasks",
        "/workers",
    ]
    for path in paths:
        visit.page.goto(visit.address + path)
        assert visit.page.locator("h1").count() or path in {"/tasks", "/workers"}, path
        content = visit.page.content()
        assert KEY not in content, path
        assert LOGIN[1] not in content, path
        assert visit.page.locator("main script, main img, main [onload], main [onerror]").count() == 0, path


def test_hostile_text_is_shown_as_text(visit: Visit) -> None:
    """Markup of an event is visible, and not part of the page."""
    assert MARKUP in visit.open("/allocation/shipments/fallen/fallen-3")
    visit.open("/allocation/rejected?reason=bad_json")
    assert f'{{"broken": {MARKUP}' in visit.click("h2 ~ table a")


def test_the_rule_that_did_not_match(visit: Visit) -> None:
    """A shipment's page says which rules came before the one that matched, and why they did not."""
    text = visit.open("/allocation/shipments/acme/sp_lost")
    assert "country GB is not" in text
    assert "adopted" in text


def test_found_by_any_key(visit: Visit) -> None:
    """By reference, order or event id; an order of several shipments is a list."""
    for key in ("sp_fine", "evt-acme-sp_lost"):
        visit.open("/allocation")
        visit.page.fill("#key", key)
        visit.click(".pages-nav button")
        assert "/allocation/shipments/acme/" in visit.page.url
    visit.open("/allocation")
    visit.page.fill("#key", "1001")
    assert "sp_other" in visit.click(".pages-nav button")


def test_anonymous_users_see_nothing(address: str) -> None:
    """Without login, or with a wrong one, no page responds, and no action is done."""
    for auth in (None, ("ops", "wrong")):
        with httpx.Client(base_url=address, auth=auth) as client:
            for path in (*PAGES, "/metrics", "/merchants/acme", "/actions/replay?merchant=bust", "/shipments?key=1001"):
                response = client.get(f"/allocation{path}")
                assert response.status_code == 401, path
                assert "acme" not in response.text
            assert client.post("/allocation/actions/replay", data={"merchant": "bust"}).status_code in {401, 403}


def test_a_forged_request_does_nothing(system: System, address: str) -> None:
    """Neither without the form's token nor from another site."""
    before = system.redis.xlen("allocation:audit")
    with httpx.Client(base_url=address, auth=LOGIN) as client:
        client.get("/allocation/actions/replay?merchant=bust")
        token = client.cookies["_xsrf"]
        data = {"merchant": "bust", "limit": "1000", "rate": "50"}
        forged = [
            client.post("/allocation/actions/replay", data=data),
            client.post("/allocation/actions/replay", data={**data, "_xsrf": "2|0|0|0"}),
            client.post(
                "/allocation/actions/replay", data={**data, "_xsrf": token}, headers={"Origin": "https://evil.test"}
            ),
            client.post(
                "/allocation/actions/replay", data={**data, "_xsrf": token}, headers={"Sec-Fetch-Site": "cross-site"}
            ),
        ]
    assert [response.status_code for response in forged] == [403] * 4
    assert system.redis.xlen("allocation:audit") == before
    assert system.redis.zcard("allocation:failed:bust") == FAILED


@pytest.mark.parametrize("screen", [390, 1280])
def test_pages_fit_the_screen(browser: Browser, address: str, screen: int) -> None:
    """Nothing is wider than the screen, on a telephone and on a desk."""
    with visiting(browser, address, LOGIN, width=screen) as visit:
        for path in (*PAGES, "/merchants/acme", "/shipments/fallen/fallen-3"):
            visit.open(f"/allocation{path}")
            width = visit.page.evaluate("document.documentElement.scrollWidth")
            assert width <= screen, f"{path} is {width} pixels wide"


def test_the_list_of_tasks_fits(browser: Browser, address: str) -> None:
    """State, time and result are in sight at 1280 pixels, and a line says whose shipments a task has."""
    with visiting(browser, address, LOGIN) as visit:
        visit.page.goto(f"{address}/tasks")
        row = visit.page.locator("tbody tr", has_text="carrier_service").first
        expect(row).to_contain_text(re.compile(r"\w+, \d+ shipments?, carrier_service"))
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= 1280
        for cell in row.locator("td").all():
            box = cell.bounding_box()
            assert box
            assert box["x"] + box["width"] <= 1280


def test_keyboard(browser: Browser, address: str) -> None:
    """From the top of a page, Tab leads to the first cause, and Enter opens it."""
    with visiting(browser, address, LOGIN) as visit:
        visit.open("/allocation/failures")
        for _ in range(40):
            visit.page.keyboard.press("Tab")
            if visit.page.evaluate("document.activeElement.className") == "cause":
                break
        with visit.page.expect_navigation():
            visit.page.keyboard.press("Enter")
        assert "NO-SUCH" in visit.text()


def test_live_figures(system: System, browser: Browser, address: str) -> None:
    """The overview renews itself."""
    with visiting(browser, address, LOGIN) as visit:
        visit.open("/allocation")
        system.publish([order_event("acme", ["sp_live"])])
        allocated = visit.page.locator("tbody tr", has_text="acme").locator("[data-label=allocated]")
        expect(allocated).to_have_text("4", timeout=30_000)


def test_from_a_failure_to_its_replay_in_four_clicks(visit: Visit, system: System) -> None:
    """Cause, shipment, replay, confirm; it fails again, as nothing was fixed."""
    replays = len(system.failed())
    visit.open(f"/allocation/failures?merchant={visit.merchant}")
    assert "NO-SUCH" in visit.click("a.cause")
    assert "NO-SUCH" in visit.click("a.shipment")
    assert "1 shipment" in visit.click("a.action >> text=Replay")
    assert "1 shipment" in visit.click("main form[method=post] button")
    wait_until(lambda: len(system.failed()) == replays + 1, 30, "it has failed again")


def test_from_the_alert_to_settled_shipments(visit: Visit, system: System) -> None:
    """One finds why they failed, fixes the merchant's file, previews, replays, and sees them settle."""
    merchant = visit.merchant
    text = visit.open(f"/allocation/failures?merchant={merchant}")
    assert "There is no carrier service NO-SUCH" in text
    assert f"{FAILED} failed shipments" in text
    visit.click("a.cause")
    system.merchant(merchant, v2_file(system.url, RIGHT))
    preview = visit.click("a.action >> text=Replay")
    assert str(FAILED) in preview
    assert "FF_LINET-00001" in preview
    assert f"{FAILED} shipments" in visit.click("main form[method=post] button")
    wait_until(lambda: _allocated_on_page(visit) == FAILED, 60, "all are allocated")
    assert system.counted_wrongly() == 0
    visit.open("/allocation/failures")
    assert merchant not in visit.page.locator("[data-label=merchant]").all_inner_texts()
    assert "replay" in visit.open("/allocation/audit")
    assert "ops in Flower" in visit.text()


def _allocated_on_page(visit: Visit) -> int:
    visit.open(f"/allocation?find={visit.merchant}")
    return int(visit.page.locator("[data-label=allocated]").inner_text())
