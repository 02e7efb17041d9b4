"""An HTTP response as a value, before it is interpreted."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property, lru_cache
from typing import Any, Literal

from worker.carrier_api.bodies import parse_json, why_no_json
from worker.carrier_api.v1.xml import Document, parse_document, why_no_document

LONGEST_WAIT_S = 3600.0
"""A longer `Retry-After` counts as a mistake: the breaker probes after this time."""

Form = Literal["own", "empty", "foreign"]
"""`own`: JSON or XML, as the API writes. `foreign`: a page or other text, from something in front of the API."""

_SECONDS = re.compile(r"\d+(\.\d+)?", re.ASCII)
_BLANK = b"\xef\xbb\xbf \t\r\n"
_CLEAR_BY_STATUS = frozenset({202, 207, 401, 403, *range(500, 600)}) - {521, 531}
# The start of a page that is also XML; a document type is never parsed as XML.
_HTML = frozenset({"html", "head", "title", "body", "center", "div", "h1", "h2", "p", "pre"})
_HTML_STARTS = (b"<!doctype", b"<html")


# Without slots: cached properties are stored beside the fields.
@dataclass(frozen=True, kw_only=True)
class ApiResponse:
    """One HTTP response, its body decompressed, in UTF-8, of bounded size and without the key; so are its headers.

    `whole`: the body is complete. `coding`: its `content-encoding`. `trouble`: why it could not be decompressed.
    `odd`: what is wrong with the framing; an odd response counts only for shipments that it names.
    """

    status: int
    body: bytes
    whole: bool = True
    retry_after: str | None = None
    content_type: str = ""
    date: str | None = None
    coding: str = ""
    trouble: str = ""
    odd: str = ""

    @cached_property
    def json(self) -> Any:
        """The body as JSON, with numbers as text; None if it is invalid."""
        return parse_json(self.body)

    @property
    def content(self) -> Any:
        """The body as one structure, from XML or JSON: its first character decides, not its headers."""
        if not self._is_markup:
            return self.json
        return self._document.value if self._document else None

    @property
    def unread(self) -> str:
        """The parser's error for the body; empty if it is readable or absent."""
        if self.trouble:
            return self.trouble
        if self.form == "empty" or not self.whole:
            return ""
        why = why_no_document(self.body) if self._is_markup else why_no_json(self.body)
        if why and "charset" in self.content_type.lower():
            why = f"{self.content_type}: {why}"
        return f"content-encoding {self.coding}: {why}" if why and self.coding else why

    def names(self, reference: str) -> bool:
        """Whether the body contains the reference as a whole word."""
        return re.search(rb"(?<![\w.-])" + re.escape(reference.encode()) + rb"(?![\w.-])", self.body) is not None

    @cached_property
    def form(self) -> Form:
        """Whether an API can have written the body. For an incomplete one its beginning decides."""
        if self.body[:1] == b"{" and self.json is not None:  # nearly always
            return "own"
        begin = self.body.lstrip(_BLANK)
        if not begin or begin.rstrip() == b"null":
            return "empty"
        if self._is_markup:
            own = self._document.root.lower() not in _HTML if self._document else self._broke_off(begin)
        elif self.json == []:
            return "empty"
        else:
            # A bare number or word may be any text.
            own = (begin[:1] in b'{["' and self.json is not None) or self._broke_off(begin)
        return "own" if own else "foreign"

    @property
    def is_half(self) -> bool:
        """Whether the body is incomplete, or cannot be decompressed, and the status alone does not decide.

        A server error, a queued or a denied call is decided by its status.
        """
        is_stated = (self.whole and not self.trouble) or self.form == "foreign" or self.status in _CLEAR_BY_STATUS
        return not is_stated and self.content is None

    def _broke_off(self, begin: bytes) -> bool:
        return not self.whole and begin[:1] in b"{[<" and not begin[:9].lower().startswith(_HTML_STARTS)

    @property
    def _is_markup(self) -> bool:
        return self.body.lstrip(_BLANK).startswith(b"<")

    @cached_property
    def _document(self) -> Document | None:
        return parse_document(self.body)

    @property
    def written_at(self) -> datetime | None:
        """When the response was written, by its `Date`; None without a readable one."""
        return None if self.date is None else _http_date(self.date)


def retry_after_s(value: str | None, now: datetime) -> float | None:
    """The wait of a `Retry-After` header in seconds, 0 to an hour; None if it is unreadable."""
    if value is None:
        return None
    text = value.strip()
    wait_s = float(text) if _SECONDS.fullmatch(text) else _seconds_until(text, now)
    return None if wait_s is None else min(max(wait_s, 0.0), LONGEST_WAIT_S)


def _seconds_until(http_date: str, now: datetime) -> float | None:
    moment = _http_date(http_date)
    try:
        return None if moment is None else (moment - now).total_seconds()
    except OverflowError:
        return None


@lru_cache(maxsize=64)  # all responses of a second have the same date
def _http_date(value: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    # "-0000" parses as a naive time, which RFC 5322 means as UTC.
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
