"""Actions in Flower's pages: previews, forms, what is done and what is refused."""

import html
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.commands.cli_harness import CliHarness, order
from tests.integration.flower.conftest import LOGIN, FlowerServer, running_flower
from worker.lab.embedded_server import EmbeddedServer
from worker.ledger import keys

HIDDEN = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)"')
CAUSE = {"merchant": "acme", "reason": "all_steps_refused", "strategy": "virtual_service V"}
BY = f"{LOGIN[0]} in Flower"


def seen(response: httpx.Response) -> str:
    """The text of a page."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", response.text)).split())


def form_of(page: httpx.Response) -> dict[str, str]:
    """The hidden fields of the form that does what the page shows."""
    _, _, form = page.text.partition('method="post"')
    return {name: html.unescape(value) for name, value in HIDDEN.findall(form)}


def preview(pages: httpx.Client, action: str, **arguments: str) -> httpx.Response:
    """The page of an action."""
    page = pages.get(f"/allocation/actions/{action}", params=arguments)
    assert page.status_code == 200, seen(page)
    return page


def act(pages: httpx.Client, action: str, why: str | None = None, **arguments: str) -> httpx.Response:
    """Open the page of an action, and send its form."""
    data = form_of(preview(pages, action, **arguments)) | ({} if why is None else {"why": why})
    return pages.post(f"/allocation/actions/{action}", data=data)


def audit(cli: CliHarness) -> list[tuple[str, str, str, int, str]]:
    """The audit log, newest first."""
    names = ("action", "by", "subject", "count", "why")
    return [tuple(each[name] for name in names) for each in cli.run("audit", "--json").document]


def failed(cli: CliHarness) -> set[str]:
    """The failed shipments to deal with."""
    return {each["reference"] for each in cli.run("failed", "--list", "--json").document}


def due(cli: CliHarness) -> dict[str, float]:
    """The scheduled shipments and their due times."""

    async def read(store: Any, _: Any) -> Any:
        return await store.redis.zrange(keys.schedule("acme"), 0, -1, withscores=True)

    return {reference.decode(): at for reference, at in cli.do(read)}


def published(cli: CliHarness) -> int:
    """The length of the orders stream."""

    async def read(store: Any, _: Any) -> int:
        return int(await store.redis.xlen(cli.settings.orders_stream))

    return cli.do(read)


def rejected(cli: CliHarness) -> list[dict[str, Any]]:
    """The rejected events to deal with."""
    found: list[dict[str, Any]] = cli.run("rejected", "--json").document
    return found


@pytest.fixture
def three_failed(cli: CliHarness) -> CliHarness:
    """Three failed shipments of a cause, one of another."""
    cli.merchant()
    cli.accept(order("sp_1", "sp_2", "sp_3"))
    cli.fail()
    cli.accept(order("other", id="evt-2"))
    cli.fail("wrong_state")
    return cli


@pytest.fixture
def two_rejected(cli: CliHarness) -> CliHarness:
    """Two events that were rejected because their merchant had no file, which it has now, and an invalid one."""
    cli.accept(order("sp_1"), order("sp_2", id="evt-2"), b"{}")
    cli.merchant()
    return cli


def test_preview_of_a_replay(three_failed: CliHarness, pages: httpx.Client) -> None:
    """It shows what the dry run of the command shows, and changes nothing."""
    page = preview(pages, "replay", **CAUSE, rate="2", limit="2")
    dry = three_failed.run(
        "replay", "--merchant", "acme", "--limit", "2", "--rate", "2", "--dry-run", "--json"
    ).document
    text = seen(page)
    assert "Would requeue 2 shipments, the last one due in 0.5 s." in text
    assert "More are selected" in text
    assert dry["requeued"][0]["plan_before"] in text
    assert (len(failed(three_failed)), due(three_failed), audit(three_failed)) == (4, {}, [])


def test_a_replay(three_failed: CliHarness, pages: httpx.Client) -> None:
    """The cause is requeued at the rate of the preview; the other one is not; the audit log says who did it."""
    result = act(pages, "replay", **CAUSE, rate="2")
    assert "Requeued 3 shipments" in seen(result)
    assert "/allocation/audit" in result.text
    assert "/allocation/merchants/acme" in result.text
    first, second, third = sorted(due(three_failed).values())
    assert (second - first, third - second) == (500, 500)
    assert failed(three_failed) == {"other"}
    assert audit(three_failed) == [("replay", BY, "acme all_steps_refused virtual_service V", 3, "")]


def test_a_form_is_used_once(three_failed: CliHarness, pages: httpx.Client) -> None:
    """A double click or a reload requeues nothing more, even if more is selected or it has failed again."""
    data = form_of(preview(pages, "replay", **CAUSE, limit="1"))
    assert pages.post("/allocation/actions/replay", data=data).status_code == 200
    three_failed.fail()
    again = pages.post("/allocation/actions/replay", data=data)
    assert again.status_code == 409
    assert "sent before" in seen(again)
    assert (due(three_failed), len(audit(three_failed))) == ({}, 1)


@pytest.mark.parametrize("action", ["replay", "dismiss"])
def test_nothing_newer_than_the_preview(three_failed: CliHarness, pages: httpx.Client, action: str) -> None:
    """What failed while the preview was read stays."""
    data = form_of(preview(pages, action, **CAUSE)) | ({"why": "test"} if action == "dismiss" else {})
    three_failed.accept(order("sp_newer", id="evt-newer"))
    three_failed.fail()
    assert pages.post(f"/allocation/actions/{action}", data=data).status_code == 200
    assert failed(three_failed) == {"sp_newer", "other"}


def test_the_limit_counts_what_can_be_requeued(three_failed: CliHarness, pages: httpx.Client) -> None:
    """The oldest ones were replayed too often, and keep no other one from its replay."""

    async def count_replays(store: Any, _: Any) -> None:
        for reference in ("sp_1", "sp_2"):
            await store.redis.hset(keys.record("acme", reference), "replays", 50)

    three_failed.do(count_replays)
    assert "Would requeue 1 shipment" in seen(preview(pages, "replay", **CAUSE, limit="1"))
    assert "Requeued 1 shipment" in seen(act(pages, "replay", **CAUSE, limit="1"))
    assert set(due(three_failed)) == {"sp_3"}


def test_an_old_form_is_refused(three_failed: CliHarness, pages: httpx.Client) -> None:
    """A form expires, so that its use is remembered for a bounded time."""
    data = form_of(preview(pages, "replay", **CAUSE))
    made, _, name = data["form"].partition("-")
    data["form"] = f"{int(made) - 3_601_000}-{name}"
    assert pages.post("/allocation/actions/replay", data=data).status_code == 409
    assert due(three_failed) == {}


def test_what_cannot_be_replayed(three_failed: CliHarness, pages: httpx.Client) -> None:
    """A shipment without a plan is listed with the reason, before and after."""
    (three_failed.settings.merchants_dir / "acme.toml").unlink()

    async def forget(store: Any, _: Any) -> None:
        await store.redis.delete(keys.MERCHANT_FILES, keys.MERCHANT_VERSIONS)

    three_failed.do(forget)
    page = preview(pages, "replay", **CAUSE)
    assert "3 shipments not requeued" in seen(page)
    assert "without a valid merchant file" in seen(page)
    assert 'method="post"' not in page.text


def test_one_shipment_is_replayed(three_failed: CliHarness, pages: httpx.Client) -> None:
    """By merchant and reference."""
    assert "Requeued 1 shipment." in seen(act(pages, "replay", merchant="acme", reference="sp_2"))
    assert set(due(three_failed)) == {"sp_2"}


def test_a_replay_too_often_is_kept(three_failed: CliHarness, pages: httpx.Client) -> None:
    """As by the command without `--force`."""

    async def count_replays(store: Any, _: Any) -> None:
        await store.redis.hset(keys.record("acme", "sp_1"), "replays", 10)

    three_failed.do(count_replays)
    text = seen(act(pages, "replay", **CAUSE))
    assert "Requeued 2 shipments" in text
    assert "replayed 10 times already" in text
    assert failed(three_failed) == {"sp_1", "other"}


def test_a_dismissal(three_failed: CliHarness, pages: httpx.Client) -> None:
    """The shipments of the cause are dealt with, for the reason that the operator states."""
    assert "Would dismiss 3 shipments" in seen(preview(pages, "dismiss", **CAUSE))
    assert "Dismissed 3 shipments" in seen(act(pages, "dismiss", why=" <b>test</b> orders ", **CAUSE))
    assert failed(three_failed) == {"other"}
    assert audit(three_failed) == [("dismiss", BY, "failed shipments", 3, "<b>test</b> orders")]
    assert "&lt;b&gt;test" in pages.get("/allocation/audit").text


def test_requeue_of_rejected_events(two_rejected: CliHarness, pages: httpx.Client) -> None:
    """Those that would be accepted are published, once; the others are counted by reason."""
    before = published(two_rejected)
    page = preview(pages, "requeue")
    assert "Would publish again 2 events." in seen(page)
    assert "1 event: bad_envelope" in seen(page)
    data = form_of(page)
    assert "Published again: 2 events." in seen(pages.post("/allocation/actions/requeue", data=data))
    assert pages.post("/allocation/actions/requeue", data=data).status_code == 409
    assert published(two_rejected) == before + 2
    assert [each["reason"] for each in rejected(two_rejected)] == ["bad_envelope"]
    assert audit(two_rejected) == [("replay", BY, "rejected events", 2, "")]


def test_requeue_of_one_event(two_rejected: CliHarness, pages: httpx.Client) -> None:
    """One event by its entry, or a limited number of one reason."""
    before = published(two_rejected)
    entry = rejected(two_rejected)[0]["stream_id"]
    assert "Published again: 1 event." in seen(act(pages, "requeue", entry=entry))
    assert "Published again: 1 event." in seen(act(pages, "requeue", reason="unknown_merchant", limit="1"))
    assert published(two_rejected) == before + 2
    assert [subject for _, _, subject, *_ in audit(two_rejected)] == ["rejected events", entry]


def test_dismissal_of_rejected_events(two_rejected: CliHarness, pages: httpx.Client) -> None:
    """One, those of a reason, or all."""
    entry = rejected(two_rejected)[0]["stream_id"]
    assert "Dismissed 1 event." in seen(act(pages, "dismiss_rejected", why="test", entry=entry))
    assert "Dismissed 1 event." in seen(act(pages, "dismiss_rejected", why="test", reason="unknown_merchant"))
    assert "Dismissed 1 event." in seen(act(pages, "dismiss_rejected", why="test"))
    assert rejected(two_rejected) == []
    assert audit(two_rejected) == [("dismiss", BY, "rejected events", 1, "test")] * 3


def test_hold_and_resume(cli: CliHarness, pages: httpx.Client) -> None:
    """The preview counts the shipments that would get no call; both are in the audit log."""
    cli.merchant()
    cli.accept(order("sp_1", "sp_2"))
    assert "acme was neither on hold nor paused" in seen(preview(pages, "resume", merchant="acme"))
    assert "acme has 2 shipments that would get no call" in seen(preview(pages, "hold", merchant="acme"))
    assert "acme is now on hold." in seen(act(pages, "hold", why="a strike", merchant="acme"))
    assert cli.claim() == []
    assert "It is on hold already: a strike" in seen(preview(pages, "hold", merchant="acme"))
    assert "the hold of acme would be lifted: a strike" in seen(preview(pages, "resume", merchant="acme"))
    assert "the hold of acme is lifted" in seen(act(pages, "resume", merchant="acme"))
    assert len(cli.claim()) == 2
    assert audit(cli) == [("resume", BY, "acme", 0, ""), ("hold", BY, "acme", 1, "a strike")]


SHOWN = re.compile(r'The same in a shell: <code class="command">([^<]*)</code>')


@pytest.mark.parametrize("action", ["replay", "dismiss"])
def test_the_command_shown_does_the_same(three_failed: CliHarness, pages: httpx.Client, action: str) -> None:
    """A shell that runs it selects the same shipments."""
    (line,) = SHOWN.findall(preview(pages, action, **CAUSE).text)
    words = shlex.split(html.unescape(line))
    assert words[:2] == ["allocation", action]
    assert three_failed.run(*words[1:]).code == 0
    assert failed(three_failed) == {"other"}


BAD = [
    ("replay", {}, 400),
    ("replay", {"reference": "sp_1", "reason": "all_steps_refused"}, 400),
    ("replay", {**CAUSE, "limit": "many"}, 400),
    ("replay", {**CAUSE, "limit": "0"}, 400),
    ("replay", {**CAUSE, "limit": "1.5"}, 400),
    ("replay", {**CAUSE, "limit": "5001"}, 400),
    ("replay", {**CAUSE, "limit": "nan"}, 400),
    ("replay", {**CAUSE, "rate": "fast"}, 400),
    ("replay", {**CAUSE, "rate": "0"}, 400),
    ("replay", {**CAUSE, "rate": "inf"}, 400),
    ("replay", {**CAUSE, "reason": "<i>%s"}, 400),
    ("replay", {**CAUSE, "merchant": "nobody"}, 404),
    ("requeue", {"limit": "1501"}, 400),
    ("requeue", {"limit": "100", "rate": "3"}, 400),
    ("requeue", {"reason": "no_reason"}, 400),
    ("hold", {}, 400),
    ("hold", {"merchant": "no\x1bbody"}, 404),
    ("resume", {"merchant": "nobody"}, 404),
    ("erase", {"merchant": "acme"}, 404),
]


@pytest.mark.parametrize(("action", "arguments", "status"), BAD)
def test_bad_arguments(
    three_failed: CliHarness, pages: httpx.Client, action: str, arguments: dict[str, str], status: int
) -> None:
    """Neither preview nor form takes them; the page says why, and nothing is done."""
    data = {**form_of(preview(pages, "hold", merchant="acme")), "why": "test", "limit": "1", "rate": "1"}
    data.pop("merchant")
    path = f"/allocation/actions/{action}"
    for response in (pages.get(path, params=arguments), pages.post(path, data={**data, **arguments})):
        assert response.status_code == status, seen(response)
        assert 'role="alert"' in response.text
        assert "<i>" not in response.text
        assert "\x1b" not in response.text
    assert (len(failed(three_failed)), audit(three_failed)) == (4, [])


@pytest.mark.parametrize("why", [None, "", "  ", "x" * 501, "two\nlines", "a\x1b[31mred", "\u2028"])
@pytest.mark.parametrize("action", ["dismiss", "hold"])
def test_bad_reasons(three_failed: CliHarness, pages: httpx.Client, action: str, why: str | None) -> None:
    """An action that needs a reason takes none that the audit log could not show; nothing is done."""
    response = act(pages, action, why=why, merchant="acme")
    assert response.status_code == 400
    assert "why must have" in seen(response)
    assert (len(failed(three_failed)), audit(three_failed)) == (4, [])


def test_a_reason_that_is_no_text(three_failed: CliHarness, pages: httpx.Client) -> None:
    """Text that is not UTF-8 is refused too."""
    data = form_of(preview(pages, "hold", merchant="acme"))
    body = str(httpx.QueryParams(data)) + "&why=%ff"
    response = pages.post(
        "/allocation/actions/hold",
        content=body,
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert response.status_code == 400
    assert audit(three_failed) == []


FORGED: list[tuple[dict[str, str | None], dict[str, str]]] = [
    ({"_xsrf": None}, {}),
    ({"_xsrf": "2|00000000|00000000000000000000000000000000|1795301055"}, {}),
    ({}, {"Sec-Fetch-Site": "cross-site"}),
    ({}, {"Sec-Fetch-Site": "same-site"}),
    ({}, {"Origin": "https://elsewhere.test"}),
]


@pytest.mark.parametrize(("fields", "headers"), FORGED)
def test_forged_requests(
    three_failed: CliHarness, pages: httpx.Client, fields: dict[str, str | None], headers: dict[str, str]
) -> None:
    """A request without the form's token, or of another site, does nothing even with login and cookie."""
    given: dict[str, str | None] = {**form_of(preview(pages, "replay", **CAUSE)), **fields}
    data = {name: value for name, value in given.items() if value is not None}
    assert pages.post("/allocation/actions/replay", data=data, headers=headers).status_code == 403
    assert (len(failed(three_failed)), audit(three_failed)) == (4, [])


def test_a_form_needs_the_cookie(three_failed: CliHarness, pages: httpx.Client) -> None:
    """The token alone does nothing; the cookie is sent only by this site's own pages."""
    with httpx.Client(base_url=pages.base_url, auth=LOGIN) as visitor:
        page = preview(visitor, "replay", **CAUSE)
        cookie = page.headers["Set-Cookie"]
        assert cookie.startswith("_xsrf=")
        assert "samesite=strict" in cookie.lower()
        visitor.cookies.clear()
        assert visitor.post("/allocation/actions/replay", data=form_of(page)).status_code == 403
    assert len(failed(three_failed)) == 4


def test_a_form_needs_the_login(three_failed: CliHarness, pages: httpx.Client) -> None:
    """Token and cookie alone do nothing."""
    data = form_of(preview(pages, "replay", **CAUSE))
    for login in (None, (LOGIN[0], "guessed")):
        with httpx.Client(base_url=pages.base_url, auth=login, cookies=pages.cookies) as visitor:
            responses = [
                visitor.get("/allocation/actions/replay", params=CAUSE),
                visitor.post("/allocation/actions/replay", data=data),
                visitor.post("/allocation/actions/replay"),
            ]
        assert [response.status_code for response in responses] == [401] * 3
    assert len(failed(three_failed)) == 4


def test_pages_need_no_script(three_failed: CliHarness, pages: httpx.Client) -> None:
    """The policy forbids scripts and styles in the page, and there are none."""
    page = preview(pages, "replay", **CAUSE)
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    assert not re.search(r"<script>|<style|\sstyle=|\son\w+=", page.text)
    assert len(failed(three_failed)) == 4


@pytest.fixture(scope="module")
def without_actions(server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlowerServer]:
    """Flower on the shared server, with a login and without actions."""
    with running_flower(server, tmp_path_factory.mktemp("read_only")) as flower:
        yield flower


def test_no_actions_without_login(server: EmbeddedServer, tmp_path: Path) -> None:
    """Flower may be started without ours, and so without the login that the settings have."""
    command = [sys.executable, "-m", "celery", "-A", "worker", "flower"]
    with running_flower(server, tmp_path, command=command, ALLOCATION_FLOWER_ACTIONS="true") as flower:
        response = flower.client.get("/allocation/actions/replay?merchant=acme")
        assert response.status_code == 403
        assert "switched off" in response.text


def test_actions_are_off_by_default(three_failed: CliHarness, without_actions: FlowerServer) -> None:
    """Preview and form are refused with the way to switch them on, and no page links to them."""
    client = without_actions.client
    (without_actions.merchants_dir / "acme.toml").write_bytes(
        (three_failed.settings.merchants_dir / "acme.toml").read_bytes()
    )
    three_failed.accept(b"{}")
    shown = [client.get("/allocation/failures/cause", params=CAUSE), client.get("/allocation/rejected")]
    assert [page.status_code for page in shown] == [200, 200]
    assert not any("/allocation/actions/" in page.text for page in shown)
    refused = client.get("/allocation/actions/replay", params=CAUSE)
    data = {**CAUSE, "_xsrf": client.cookies["_xsrf"], "form": "x"}
    for response in (refused, client.post("/allocation/actions/replay", data=data)):
        assert response.status_code == 403
        assert "ALLOCATION_FLOWER_ACTIONS=true" in seen(response)
    assert (len(failed(three_failed)), audit(three_failed)) == (4, [])
