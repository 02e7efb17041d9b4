"""One answer as it comes in over a connection: its head, then as much of its body as there is."""

import asyncio
import re
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

LONGEST_HEADER, LONGEST_HEAD = 100 * 1024, 300 * 1024
MAX_HEADERS = 5000
"""What an answer may have before its body, in bytes and lines: curl's bounds."""

MAX_BODY_BYTES = 4 * 1024 * 1024

MAX_BESIDE_BODY = LONGEST_HEAD + 1024 * 1024
"""Head, sizes of chunks, and trailers."""

LENGTH_TWICE, MORE_FOLLOWS = "its length is said twice", "more bytes follow it"

_FIRST_FINAL = 200
_SWITCHING = 101
_LENGTHS = re.compile(rb"\r\ncontent-length:[ \t]*([\d, \t]*)(?=\r\n|$)", re.IGNORECASE)


class BrokenError(Exception):
    """What came is no HTTP, or more of it than an answer may have."""


class ResponseParser:
    """Fed with bytes, it has the head first, and then the body in chunks. Also the callbacks of its parser.

    `odd`: what is wrong with its frame, which does not keep it from being read: one length that is said more than once,
    or more bytes than the length. `whole`: whether all of the body came. `keeps_alive`: whether the connection is good
    for another request after it.
    """

    def __init__(self) -> None:
        """Nothing has come; needs the running loop."""
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
        self._has_head = self._is_mended = False
        self._parser: Any = _parser(self)  # httptools has no types

    async def head(self) -> None:
        """Wait for the head. Raises what came in its place: BrokenError, OSError, or EOFError for an orderly end."""
        await self._head
        if not self._has_head:
            raise self._trouble()

    async def more(self) -> bool:
        """Wait for more of the body; false when there is no more. Raises as `head` does."""
        if not self._chunks and not self.whole and self.error is None:
            self._more = asyncio.get_running_loop().create_future()
            await self._more
        if not self._chunks and self.error is not None:
            raise self._trouble()
        return bool(self._chunks)

    def taken(self) -> bytes:
        """What has come of the body since it was taken last."""
        chunks, self._chunks = self._chunks, []
        return b"".join(chunks)

    def first(self, name: str) -> str | None:
        """The first header of a name in lower case."""
        found = self.headers.get(name)
        return found[0] if found else None

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to come."""
        return self.whole or self.error is not None

    def feed(self, data: bytes) -> None:
        """Take in what came."""
        is_first, self._fed = self._fed == 0, self._fed + len(data)
        if self._parser is None:
            self._break("")
            return
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self._complete(keeps_alive=False)
        except HttpParserError as error:
            mended = _with_one_length(data) if is_first and not self._has_head and not self._is_mended else b""
            if mended:
                self._begin_again(mended)
            else:
                self._break(str(error))
        if not self._has_head and self._fed > LONGEST_HEAD:
            self._break(f"a head of more than {LONGEST_HEAD} bytes")
        if self._fed - self._body_bytes > MAX_BESIDE_BODY:
            self._break(f"more than {MAX_BESIDE_BODY} bytes that are no body")
        self._tell()

    def end(self, error: Exception | None) -> None:
        """The connection has ended. A body without a length ends with it."""
        if not self.is_over:
            if error is None and self._has_head and not self.headers.keys() & {"content-length", "transfer-encoding"}:
                self.whole = True
            else:
                self.error = error or EOFError("the API closed the connection")
        self._tell()

    def on_message_begin(self) -> None:
        """Another answer begins within the same bytes, or the final one after those that only promise one."""
        if self.whole:
            self.odd = self.odd or MORE_FOLLOWS

    def on_header(self, name: bytes, value: bytes) -> None:
        """One line of the head; after the body a trailer, which nobody needs."""
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
        """The head is there; one that only promises another is forgotten."""
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
        """All of it is there."""
        if self._has_head and not self.is_over:
            self._complete(keeps_alive=self.status != _SWITCHING and self._parser.should_keep_alive())

    def _complete(self, *, keeps_alive: bool) -> None:
        self.whole, self.keeps_alive = True, keeps_alive

    def _trouble(self) -> Exception:
        """An error of its own each time: one that was raised holds its frames, and they this answer."""
        error = self.error or BrokenError()
        return type(error)(*error.args)

    def _break(self, why: str) -> None:
        """What comes cannot be read on. Behind a whole answer that is odd, and no more."""
        if self.whole:
            self.odd = self.odd or MORE_FOLLOWS
        else:
            self.error = self.error or BrokenError(why)

    def _begin_again(self, mended: bytes) -> None:
        self.raw_headers.clear()
        self._fed = self._head_bytes = 0
        self._parser, self.odd, self._is_mended = _parser(self), LENGTH_TWICE, True
        self.feed(mended)

    def _tell(self) -> None:
        """Wake who waits. What is over lets its parser go: the two hold each other."""
        if self.is_over:
            self._parser = None
        if (self._has_head or self.error is not None) and not self._head.done():
            self._head.set_result(None)
        if self._more is not None and not self._more.done() and (self._chunks or self.is_over):
            self._more.set_result(None)


def _parser(answer: ResponseParser) -> HttpResponseParser:
    """As lenient as other clients are: with odd letters in headers, lines that end without a CR, blanks after sizes."""
    parser = HttpResponseParser(answer)
    parser.set_dangerous_leniencies(
        lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
    )
    return parser


def _with_one_length(data: bytes) -> bytes:
    """An answer that says one length more than once as one that says it once; empty for any other."""
    head, end, body = data.partition(b"\r\n\r\n")
    said: list[bytes] = [length.strip(b" \t") for lines in _LENGTHS.findall(head) for length in lines.split(b",")]
    if not end or len(said) <= 1 or set(said) != {said[0]} or not said[0].isdigit():
        return b""
    return _LENGTHS.sub(b"", head) + b"\r\ncontent-length: " + said[0] + end + body
