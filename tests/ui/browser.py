"""A headless Chromium, and what it must never do on a page."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Browser, ConsoleMessage, Dialog, Error, Page, Request, sync_playwright

OPTIONS = [
    "--no-sandbox",  # as root, in containers
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass(kw_only=True)
class Visit:
    """A tab that is logged in.

    `wrong`: script errors, violations of the CSP, dialogs, requests to other servers. `merchant`: the one to act on.
    """

    page: Page
    address: str
    wrong: list[str] = field(default_factory=list)
    merchant: str = ""

    def open(self, path: str) -> str:
        """Open a page of Flower's server; returns its text."""
        response = self.page.goto(self.address + path)
        assert response, path
        assert response.ok, f"{path}: {response.status}"
        return self.text()

    def click(self, selector: str) -> str:
        """Click on the first such element, wait for the next page, and return its text."""
        with self.page.expect_navigation():
            self.page.locator(selector).first.click()
        return self.text()

    def text(self) -> str:
        """The visible text of the page."""
        return self.page.inner_text("main")


@contextlib.contextmanager
def chromium(program: Path) -> Iterator[Browser]:
    """A browser within a `with`."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(program), args=OPTIONS)
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def visiting(
    browser: Browser, address: str, login: tuple[str, str], *, javascript: bool = True, width: int = 1280
) -> Iterator[Visit]:
    """A tab of its own, within a `with`. Fails if a page did what none may do."""
    context = browser.new_context(
        http_credentials={"username": login[0], "password": login[1]},
        java_script_enabled=javascript,
        viewport={"width": width, "height": 900},
    )
    visit = Visit(page=context.new_page(), address=address)
    _listen(visit)
    try:
        yield visit
    finally:
        context.close()
    assert visit.wrong == []


def _listen(visit: Visit) -> None:
    def said(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            visit.wrong.append(f"{visit.page.url}: {message.text}")

    def failed(error: Error) -> None:
        visit.wrong.append(f"{visit.page.url}: {error}")

    def asked(dialog: Dialog) -> None:
        visit.wrong.append(f"{visit.page.url}: a dialog: {dialog.message}")
        dialog.dismiss()

    def requested(request: Request) -> None:
        if not request.url.startswith((visit.address, "data:")):
            visit.wrong.append(f"{visit.page.url}: a request to {request.url}")

    visit.page.on("console", said)
    visit.page.on("pageerror", failed)
    visit.page.on("dialog", asked)
    visit.page.on("request", requested)
