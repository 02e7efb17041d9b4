"""Servers of a test's own that remember all they are sent: in front of the API, or in place of Sentry or a proxy."""

import contextlib
import gzip
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

import httpx


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """A request as it came; names of headers in lower case, the body decompressed."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What to answer; with status 0 the connection is closed instead."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class Spy:
    """An HTTP server on loopback, from `with` to its end."""

    def __init__(self, answer: Callable[[Seen], Answer] = lambda _: Answer()) -> None:
        """`answer`: what to say to a request."""
        self.seen: list[Seen] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self.seen, answer))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.server_port

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        """Begin to listen."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()


def _handler(seen: list[Seen], answer: Callable[[Seen], Answer]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Stay silent."""

        def _any(self) -> None:
            request = _read(self)
            seen.append(request)
            # Whoever asked may have gone by now.
            with contextlib.suppress(OSError):
                _say(self, answer(request))

        do_GET = do_PUT = do_POST = do_CONNECT = _any  # noqa: N815  # the names that http.server calls

    return Handler


def _read(handler: BaseHTTPRequestHandler) -> Seen:
    headers = {name.lower(): value for name, value in handler.headers.items()}
    body = handler.rfile.read(int(headers.get("content-length", 0)))
    if headers.get("content-encoding") == "gzip":
        body = gzip.decompress(body)
    return Seen(method=handler.command, path=handler.path, headers=headers, body=body)


def _say(handler: BaseHTTPRequestHandler, answer: Answer) -> None:
    if not answer.status:
        handler.close_connection = True
        return
    handler.send_response(answer.status)
    for name, value in {**answer.headers, "Content-Length": str(len(answer.body))}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(answer.body)


_OF_THE_CONNECTION = ("connection", "content-length", "content-encoding", "accept-encoding", "transfer-encoding")
_PASSED_BACK = ("content-type", "retry-after")


def forward(url: str, request: Seen) -> Answer:
    """Pass a request on to the API and its answer back; a connection that the API drops is dropped here too."""
    headers = {name: value for name, value in request.headers.items() if name not in _OF_THE_CONNECTION}
    try:
        answer = httpx.request(request.method, url + request.path, headers=headers, content=request.body, timeout=30)
    except httpx.TransportError:
        return Answer(status=0)
    back = {name: value for name, value in answer.headers.items() if name in _PASSED_BACK}
    return Answer(status=answer.status_code, headers=back, body=answer.content)
