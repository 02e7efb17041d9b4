"""The base of the operator's pages: login, headers, forged requests, errors, links."""

from base64 import b64decode
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import tornado.web
from flower.views import BaseHandler

from config.urls import server_address
from worker.ledger.records import server_ms
from worker.processes.flower import formats
from worker.processes.flower.sources import Sources
from worker.redis_client.store import REFUSALS, RedisError

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Scripts, styles and pictures from this server only; `data:` for the icons of Flower's style sheet."""


class Page(BaseHandler):  # type: ignore[misc]  # Flower carries no types
    """A page that needs the login, renders templates of `allocation/`, and changes nothing unless actions are on."""

    def initialize(self, sources: Sources) -> None:
        """Tornado's way to pass arguments to a handler."""
        self.sources = sources

    def set_default_headers(self) -> None:
        """Tornado calls it for every response, also for errors."""
        super().set_default_headers()
        self.set_header("Content-Security-Policy", CSP)
        self.set_header("Referrer-Policy", "same-origin")
        self.set_header("Cache-Control", "no-store")

    @tornado.web.authenticated
    def prepare(self) -> None:
        """Before every request: without a login, none is answered."""

    def get_current_user(self) -> Any:
        """Whether, or who, is logged in. Flower cannot compare credentials that are not ASCII: they are wrong."""
        try:
            return super().get_current_user()
        except TypeError:
            raise tornado.web.HTTPError(401) from None

    def check_xsrf_cookie(self) -> None:
        """Refuse a request without login, and a forged one: by its origin, as Flower does, and by the form's token."""
        if not self.current_user:
            raise tornado.web.HTTPError(401)
        super().check_xsrf_cookie()
        tornado.web.RequestHandler.check_xsrf_cookie(self)

    @property
    def can_act(self) -> bool:
        """Whether pages offer actions: never without a login, also if Flower was started in another way."""
        options = self.application.options
        return bool(self.sources.settings.flower_actions and (options.basic_auth or options.auth))

    @property
    def operator(self) -> str:
        """Who is logged in, for the audit log."""
        kind, _, credentials = self.request.headers.get("Authorization", "").partition(" ")
        if kind == "Basic":
            return f"{b64decode(credentials).decode().partition(':')[0]} in Flower"
        return f"{self.current_user} in Flower"

    def query(self, name: str) -> str | None:
        """An argument of the request as it was sent; None if it is missing or empty."""
        # The method of the same name in Flower escapes; templates do.
        return tornado.web.RequestHandler.get_argument(self, name, None) or None

    def number(self, name: str, default: float, *, least: float, most: float) -> float:
        """A number of the request, between these bounds. Raises the error 400 for anything else."""
        text = self.query(name)
        try:
            value = default if text is None else float(text)
        except ValueError:
            value = float("nan")
        if not least <= value <= most:
            raise tornado.web.HTTPError(400, f"{name} must be a number from {least:,.12g} to {most:,.12g}")
        return value

    def page_number(self) -> int:
        """The number of the page of a list, from 1."""
        return int(self.number("page", 1, least=1, most=1e6))

    async def server_time(self) -> float:
        """The server's clock, in seconds since the epoch."""
        return await server_ms(self.sources.store.redis) / 1000

    def link(self, page: str, /, *parts: str, **arguments: str | float | None) -> str:
        """The address of a page, with these arguments unless they are None."""
        given = {name: value for name, value in arguments.items() if value is not None}
        return f"{self.reverse_url(page, *parts)}{'?' if given else ''}{urlencode(given)}"

    def show(self, template: str, **values: Any) -> None:
        """Render a template of this project."""
        self.render(f"allocation/{template}", link=self.link, can_act=self.can_act, text=formats, **values)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """An unavailable server is no bug of a page."""
        if not isinstance(value, (RedisError, OSError)):
            super().log_exception(typ, value, tb)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """The error as a page, without a traceback, which might contain a secret."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        if status_code == 401 or (isinstance(error, tornado.web.HTTPError) and not self._has_login()):  # noqa: PLR2004
            super().write_error(status_code, **kwargs)
            return
        if isinstance(error, (RedisError, OSError)):
            status_code = 503
            self.set_status(status_code)
        self.show("error.html", status=status_code, message=self._message(status_code, error))

    def _has_login(self) -> bool:
        try:
            return bool(self.current_user)
        except tornado.web.HTTPError:
            return False

    def _message(self, status: int, error: BaseException | None) -> str:
        where = server_address(self.sources.settings.redis_url.get_secret_value())
        if isinstance(error, REFUSALS):
            return f"{where} refuses commands; run `allocation status` for the reason."
        if status == 503:  # noqa: PLR2004  # unavailable
            return f"No response from {where}; check that the server is running."
        if isinstance(error, tornado.web.HTTPError):
            return str(error.get_message() or HTTPStatus(status).phrase)
        return "This is a bug; the log of Flower has the details."


class Static(tornado.web.StaticFileHandler):
    """Style sheet and script."""

    def set_extra_headers(self, path: str) -> None:  # noqa: ARG002  # as Tornado calls it
        """A browser asks again after an update."""
        self.set_header("Cache-Control", "no-cache")
        self.set_header("X-Content-Type-Options", "nosniff")
