"""The limit of the stub itself, so that it is not mistaken for a worker's limit."""

import asyncio
import json
import socket
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import uvloop

from tests.perf.bench.meters import cpu_s
from tests.perf.bench.processes import running_stub

_CONNECTIONS = 32
_MANY = 100
_SINGLE = (
    b"PUT /pro/shipments/sp_000000000/allocate/virtual_service/FF HTTP/1.1\r\nHost: stub\r\nContent-Length: 0\r\n\r\n"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class StubLimit:
    """The stub's responses per second to a bare client, which uses the other core."""

    endpoint: str
    shipments_per_s: float
    cpu_ms_per_shipment: float


class _Client(asyncio.Protocol):
    """Sends the next request as soon as the response is complete; all responses have the same length."""

    def __init__(self, request: bytes, answer_bytes: int) -> None:
        self._request = request
        self._answer_bytes = answer_bytes
        self._received = 0
        self._write: Callable[[bytes], None]
        self.answers = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._write = cast(asyncio.WriteTransport, transport).write
        self._write(self._request)

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        if self._received == self._answer_bytes:
            self._received = 0
            self.answers += 1
            self._write(self._request)


def stub_limits(seconds: float) -> list[StubLimit]:
    """Both endpoints, each for the same time."""
    return [_limit("v2, one shipment a call", _SINGLE, 1, seconds), _limit("v1, many", _many(), _MANY, seconds)]


def _many() -> bytes:
    body = json.dumps({"ConsignmentReferences": [f"sp_{n:09d}" for n in range(_MANY)]}).encode()
    return b"PUT /allocation/allocatewithcarrierservice HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def _limit(endpoint: str, request: bytes, shipments: int, seconds: float) -> StubLimit:
    with tempfile.TemporaryDirectory() as folder, running_stub(0, Path(folder) / "log") as (pid, url):
        port = urlsplit(url).port or 0
        length = _answer_bytes(port, request)
        before = cpu_s(pid)
        began = time.monotonic()
        call_record = uvloop.run(_load(port, request, length, seconds)) * shipments
        return StubLimit(
            endpoint=endpoint,
            shipments_per_s=round(call_record / (time.monotonic() - began)),
            cpu_ms_per_shipment=round((cpu_s(pid) - before) / call_record * 1000, 4),
        )


def _answer_bytes(port: int, request: bytes) -> int:
    """The length of a response, determined with one request."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(request)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += connection.recv(65536)
    head, _, _ = answer.partition(b"\r\n\r\n")
    return len(head) + 4 + int(head.rpartition(b": ")[2])


async def _load(port: int, request: bytes, answer_bytes: int, seconds: float) -> int:
    loop = asyncio.get_running_loop()
    construct = [
        await loop.create_connection(lambda: _Client(request, answer_bytes), "127.0.0.1", port)
        for _ in range(_CONNECTIONS)
    ]
    await asyncio.sleep(seconds)
    for transport, _ in construct:
        transport.close()
    return sum(client.answers for _, client in construct)
