"""HTTP servers that record all requests: in front of the API, or in place of Sentry or a proxy."""

import contextlib
import gzip
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

import httpx


@dataclass(frozen=True, kw_only=True, slots=True)
class ReceivedRequest:
    """A received request; header names in lower case, the body decompressed."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Response:
    """A response; with status 0 the connection is closed instead."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class RecordingServer:
    """An HTTP server on loopback, for the length of a `with`."""

    def __init__(self, respond: Callable[[ReceivedRequest], Response] = lambda _: Response()) -> None:
        """`respond`: returns the response to a request."""
        self.requests: list[ReceivedRequest] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self.requests, respond))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def port(self) -> int:
        """Its port."""
        return self._server.server_port

    @property
    def url(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        """Start to listen."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


def _handler(
    requests: list[ReceivedRequest], respond: Callable[[ReceivedRequest], Response]
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Log nothing."""

        def _any(self) -> None:
            request = _read(self)
            requests.append(request)
            # The client may have disconnected.
            with contextlib.suppress(OSError):
                _send(self, respond(request))

        do_GET = do_PUT = do_POST = do_CONNECT = _any  # noqa: N815  # the names that http.server calls

    return Handler


def _read(handler: BaseHTTPRequestHandler) -> ReceivedRequest:
    headers = {name.lower(): value for name, value in handler.headers.items()}
    body = handler.rfile.read(int(headers.get("content-length", 0)))
    if headers.get("content-encoding") == "gzip":
        body = gzip.decompress(body)
    return ReceivedRequest(method=handler.command, path=handler.path, headers=headers, body=body)


def _send(handler: BaseHTTPRequestHandler, respond: Response) -> None:
    if not respond.status:
        handler.close_connection = True
        return
    handler.send_response(respond.status)
    for name, value in {**respond.headers, "Content-Length": str(len(respond.body))}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(respond.body)


_OF_THE_CONNECTION = ("connection", "content-length", "content-encoding", "accept-encoding", "transfer-encoding")
_PASSED_BACK = ("content-type", "retry-after")


def forward(url: str, request: ReceivedRequest) -> Response:
    """Forward a request to the API and its response back; a connection that the API drops is dropped here too."""
    headers = {name: value for name, value in request.headers.items() if name not in _OF_THE_CONNECTION}
    try:
        respond = httpx.request(request.method, url + request.path, headers=headers, content=request.body, timeout=30)
    except httpx.TransportError:
        return Response(status=0)
    back = {name: value for name, value in respond.headers.items() if name in _PASSED_BACK}
    return Response(status=respond.status_code, headers=back, body=respond.content)
