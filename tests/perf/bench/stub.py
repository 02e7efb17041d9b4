"""A stub of the API with minimal cost: `python -m tests.perf.bench.stub --delay-ms N`.

It allocates whatever it is asked for, but by virtual service no shipment whose reference begins with `fb_`, and
remembers nothing but three counts, so that what is measured beside it is the worker and not the sandbox.
"""

import argparse
import asyncio
import json
import re
import sys
from collections.abc import Callable
from typing import cast

import uvloop

from tests.perf.bench.stub_bodies import CONSIGNMENT_V1, REFUSED_V2, RESULT_V2, SHIPMENT_V2, SUMMARY_V1

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_COUNTS = b"/_counts"
_BACKLOG = 2048

FALLS_BACK = "fb_"
"""The prefix of references that a virtual service refuses."""

_REFUSED = FALLS_BACK.encode()
_OK, _NOT_FOUND, _NO_CARRIER = b"200 OK", b"404 Not Found", b"521 Allocation Failed"


class Stub:
    """Counts requests, and builds the response to each."""

    def __init__(self, delay_s: float) -> None:
        """`delay_s`: the delay of every response."""
        self.delay_s = delay_s
        self.counts = {"puts": 0, "gets": 0, "shipments": 0}

    def answer(self, method: bytes, path: bytes, body: bytes) -> tuple[bytes, bytes]:
        """Status and body of the response."""
        if path == _COUNTS:
            return _OK, json.dumps(self.counts).encode()
        self.counts["puts" if method == b"PUT" else "gets"] += 1
        match method, path.split(b"/")[1:]:
            case b"PUT", [b"pro", b"shipments", reference, b"allocate", b"virtual_service", _] if reference.startswith(
                _REFUSED
            ):
                return _NO_CARRIER, REFUSED_V2.fill(reference)
            case b"PUT", [b"pro", b"shipments", reference, b"allocate", *_]:
                self.counts["shipments"] += 1
                return _OK, RESULT_V2.fill(reference)
            case b"PUT", [b"allocation", b"allocatewithcarrierservice"]:
                return _OK, self._many(json.loads(body)["ConsignmentReferences"])
            case b"GET", [b"pro", b"shipments", reference]:
                return _OK, SHIPMENT_V2.fill(reference)
            case b"GET", [b"consignments", reference]:
                return _OK, CONSIGNMENT_V1.fill(reference)
            case _:
                return _NOT_FOUND, b"{}"

    def _many(self, references: list[str]) -> bytes:
        self.counts["shipments"] += len(references)
        return b"[" + b",".join(SUMMARY_V1.fill(reference.encode()) for reference in references) + b"]"


class Connection(asyncio.Protocol):
    """One kept-alive connection: reads whole requests and responds to each after the delay."""

    def __init__(self, stub: Stub) -> None:
        """One for each client that connects."""
        self._stub = stub
        self._loop = asyncio.get_running_loop()
        self._unread = b""
        self._write: Callable[[bytes], None]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport for responses."""
        self._write = cast(asyncio.WriteTransport, transport).write

    def data_received(self, data: bytes) -> None:
        """Respond to every complete request."""
        self._unread += data
        while request := self._next():
            self._reply(*request)

    def _next(self) -> tuple[bytes, bytes, bytes] | None:
        """Method, path and body of the next whole request."""
        head, end, rest = self._unread.partition(b"\r\n\r\n")
        found = _LENGTH.search(head)
        length = int(found[1]) if found else 0
        if not end or len(rest) < length:
            return None
        method, path, _ = head.split(b" ", 2)
        self._unread = rest[length:]
        return method, path, rest[:length]

    def _reply(self, method: bytes, path: bytes, body: bytes) -> None:
        status, content = self._stub.answer(method, path, body)
        whole = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
        reply = whole % (status, len(content), content)
        if self._stub.delay_s and path != _COUNTS:
            self._loop.call_later(self._stub.delay_s, self._write, reply)
        else:
            self._write(reply)


async def _serve(delay_s: float) -> None:
    stub = Stub(delay_s)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(stub), "127.0.0.1", 0, backlog=_BACKLOG)
    sys.stdout.write(f"stub listening on http://127.0.0.1:{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


def main() -> None:
    """Serve until killed; prints the address."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--delay-ms", type=float, default=0.0, help="delay of every response in ms")
    uvloop.run(_serve(parser.parse_args().delay_ms / 1000))


if __name__ == "__main__":
    main()
