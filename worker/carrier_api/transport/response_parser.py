"""Parses one response as it arrives: its head, then its body."""

import asyncio
import re
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

LONGEST_HEADER, LONGEST_HEAD = 100 * 1024, 300 * 1024
MAX_HEADERS = 5000
"""The most bytes and lines before the body: curl's bounds."""

MAX_BODY_BYTES = 4 * 1024 * 1024

MAX_BESIDE_BODY = LONGEST_HEAD + 1024 * 1024
"""Head, chunk sizes and trailers."""

LENGTH_TWICE, MORE_FOLLOWS = "its length is said twice", "more bytes follow it"

_FIRST_FINAL = 200
_SWITCHING = 101
_LENGTHS = re.compile(rb"\r\ncontent-length:[ \t]*([\d, \t]*)(?=\r\n|$)", re.IGNORECASE)


class BrokenError(Exception):
    """The data is not HTTP, or exceeds the bounds of a response."""


class ResponseParser:
    """Is fed with bytes; has the head first, then the body in chunks. Implements httptools' callbacks.

    `odd`: a framing error that does not prevent parsing: a repeated length, or more bytes than the length. `whole`:
    whether the body is complete. `keeps_alive`: whether the connection is reusable after it.
    """

    def __init__(self) -> None:
        """Needs the running loop."""
        self.status = 0
        self.headers: dict[str, list[str]] = {}
        self.raw_headers: list[tuple[bytes, bytes]] = []
        self.odd = ""
        self.whole = self.keeps_alive = False
        self.error: Exception | None = None
        self._chunks: list[bytes] = []
        self._head: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._more: asyncio.Future[None] | None = None
        self._fed = self._head_bytes = self._body_bytes = 0
        self._has_head = self._is_repaired = False
        self._parser: Any = _parser(self)  # httptools has no types

    async def head(self) -> None:
        """Wait for the head. Raises BrokenError, OSError, or EOFError for an orderly end of stream."""
        await self._head
        if not self._has_head:
            raise self._trouble()

    async def more(self) -> bool:
        """Wait for more of the body; false at its end. Raises as `head` does."""
        if not self._chunks and not self.whole and self.error is None:
            self._more = asyncio.get_running_loop().create_future()
            await self._more
        if not self._chunks and self.error is not None:
            raise self._trouble()
        return bool(self._chunks)

    def taken(self) -> bytes:
        """The part of the body that arrived since the last call."""
        chunks, self._chunks = self._chunks, []
        return b"".join(chunks)

    def first(self, name: str) -> str | None:
        """The first header of a name in lower case."""
        found = self.headers.get(name)
        return found[0] if found else None

    @property
    def is_over(self) -> bool:
        """Whether the response is complete."""
        return self.whole or self.error is not None

    def feed(self, data: bytes) -> None:
        """Parse received data."""
        is_first, self._fed = self._fed == 0, self._fed + len(data)
        if self._parser is None:
            self._break("")
            return
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self._complete(keeps_alive=False)
        except HttpParserError as error:
            repaired = _with_one_length(data) if is_first and not self._has_head and not self._is_repaired else b""
            if repaired:
                self._restart(repaired)
            else:
                self._break(str(error))
        if not self._has_head and self._fed > LONGEST_HEAD:
            self._break(f"a head of more than {LONGEST_HEAD} bytes")
        if self._fed - self._body_bytes > MAX_BESIDE_BODY:
            self._break(f"more than {MAX_BESIDE_BODY} bytes outside the body")
        self._notify()

    def end(self, error: Exception | None) -> None:
        """The connection has ended, and with it a body without a length."""
        if not self.is_over:
            if error is None and self._has_head and not self.headers.keys() & {"content-length", "transfer-encoding"}:
                self.whole = True
            else:
                self.error = error or EOFError("the API closed the connection")
        self._notify()

    def on_message_begin(self) -> None:
        """Another response starts within the same bytes, or the final one after 1xx responses."""
        if self.whole:
            self.odd = self.odd or MORE_FOLLOWS

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header line; after the body a trailer, which is ignored."""
        if self._has_head:
            return
        self.raw_headers.append((name, value))
        size = len(name) + len(value)
        self._head_bytes += size
        if size > LONGEST_HEADER:
            self._break(f"Got more than {LONGEST_HEADER} bytes in a header")
        if len(self.raw_headers) > MAX_HEADERS or self._head_bytes > LONGEST_HEAD:
            self._break(f"a head of more than {MAX_HEADERS} lines or {LONGEST_HEAD} bytes")

    def on_headers_complete(self) -> None:
        """The head is complete; a 1xx response is dropped."""
        if self._has_head or self.error is not None:
            return
        status = self._parser.get_status_code()
        if status < _FIRST_FINAL and status != _SWITCHING:
            self.raw_headers.clear()
            return
        self._has_head, self.status = True, status
        for name, value in self.raw_headers:
            lines = self.headers.setdefault(name.decode("latin-1").lower(), [])
            lines.append(value.decode("utf-8", "surrogateescape"))

    def on_body(self, chunk: bytes) -> None:
        """A piece of the body."""
        if self.is_over or not self._has_head:
            return
        self._chunks.append(chunk)
        self._body_bytes += len(chunk)
        if self._body_bytes > MAX_BODY_BYTES:
            self._break(f"a body of more than {MAX_BODY_BYTES} bytes")

    def on_message_complete(self) -> None:
        """The response is complete."""
        if self._has_head and not self.is_over:
            self._complete(keeps_alive=self.status != _SWITCHING and self._parser.should_keep_alive())

    def _complete(self, *, keeps_alive: bool) -> None:
        self.whole, self.keeps_alive = True, keeps_alive

    def _trouble(self) -> Exception:
        """A new error each time: a raised one holds its frames, and they hold this response."""
        error = self.error or BrokenError()
        return type(error)(*error.args)

    def _break(self, why: str) -> None:
        """The data cannot be parsed. After a complete response that is only odd."""
        if self.whole:
            self.odd = self.odd or MORE_FOLLOWS
        else:
            self.error = self.error or BrokenError(why)

    def _restart(self, repaired: bytes) -> None:
        self.raw_headers.clear()
        self._fed = self._head_bytes = 0
        self._parser, self.odd, self._is_repaired = _parser(self), LENGTH_TWICE, True
        self.feed(repaired)

    def _notify(self) -> None:
        """Wake the reader. A complete response releases its parser, as the two refer to each other."""
        if self.is_over:
            self._parser = None
        if (self._has_head or self.error is not None) and not self._head.done():
            self._head.set_result(None)
        if self._more is not None and not self._more.done() and (self._chunks or self.is_over):
            self._more.set_result(None)


def _parser(response: ResponseParser) -> HttpResponseParser:
    """As lenient as other clients: odd characters in headers, lines without CR, spaces after chunk sizes."""
    parser = HttpResponseParser(response)
    parser.set_dangerous_leniencies(
        lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
    )
    return parser


def _with_one_length(data: bytes) -> bytes:
    """The head with a repeated length replaced by a single one; empty for any other head."""
    head, end, body = data.partition(b"\r\n\r\n")
    lengths: list[bytes] = [length.strip(b" \t") for lines in _LENGTHS.findall(head) for length in lines.split(b",")]
    if not end or len(lengths) <= 1 or set(lengths) != {lengths[0]} or not lengths[0].isdigit():
        return b""
    return _LENGTHS.sub(b"", head) + b"\r\ncontent-length: " + lengths[0] + end + body
