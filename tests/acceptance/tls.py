"""TLS for tests: a certificate that nobody has signed, and a front that speaks TLS for a server that does not."""

import asyncio
import contextlib
import shutil
import ssl
import subprocess
import threading
from collections.abc import Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import pytest

_EXTENSIONS = ("subjectAltName=DNS:localhost", "keyUsage=critical,digitalSignature,keyCertSign")


class Certificate(NamedTuple):
    """The files of a certificate and its key."""

    path: Path
    key: Path


def certificate(folder: Path) -> Certificate:
    """A new self-signed certificate of `localhost` (not of 127.0.0.1); without `openssl` the test is skipped."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("the program openssl is not installed; it makes the test's certificate")
    made = Certificate(path=folder / "certificate.pem", key=folder / "key.pem")
    words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    words += ["-subj", "/CN=localhost", "-keyout", str(made.key), "-out", str(made.path)]
    for extension in _EXTENSIONS:
        words += ["-addext", extension]
    subprocess.run([openssl, *words], check=True, capture_output=True)
    return made


class TlsFront:
    """Ends TLS on a port of its own and passes on what it carries, from `with` to its end.

    `accepted` counts the connections whose TLS stood: those that have seen our certificate and stayed.
    """

    def __init__(self, certificate: Certificate, backend: int) -> None:
        """`backend`: the port on this machine to pass on to."""
        self.accepted = 0
        self.port = 0
        self._backend = backend
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*certificate)
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(lambda *_: None)
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> "TlsFront":
        """Begin to listen."""
        self._thread.start()
        self._do(self._listen())
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        """Close everything."""
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        back_reader, back_writer = await asyncio.open_connection("127.0.0.1", self._backend)
        await asyncio.gather(_pass_on(reader, back_writer), _pass_on(back_reader, writer))

    async def _close(self) -> None:
        self._server.close()
        serving = asyncio.all_tasks() - {asyncio.current_task()}
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, ssl.SSLError):
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    writer.close()
