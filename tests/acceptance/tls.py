"""TLS for tests: a self-signed certificate, and a TLS proxy for a server without TLS."""

import contextlib
import select
import shutil
import socket
import socketserver
import ssl
import subprocess
import threading
from pathlib import Path
from typing import Any, NamedTuple, Self, cast

import pytest

_EXTENSIONS = ("subjectAltName=DNS:localhost", "keyUsage=critical,digitalSignature,keyCertSign")


class Certificate(NamedTuple):
    """The files of a certificate and its key."""

    path: Path
    key: Path


def certificate(folder: Path) -> Certificate:
    """A new self-signed certificate for `localhost` (not for 127.0.0.1); without `openssl` the test is skipped."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the program openssl, which makes the test's certificate")
    construct = Certificate(path=folder / "certificate.pem", key=folder / "key.pem")
    words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    words += ["-subj", "/CN=localhost", "-keyout", str(construct.key), "-out", str(construct.path)]
    for extension in _EXTENSIONS:
        words += ["-addext", extension]
    subprocess.run([openssl, *words], check=True, capture_output=True)
    return construct


class TlsProxy:
    """A TLS proxy on a free port, for the length of a `with`.

    `accepted` counts the connections whose handshake succeeded: their clients accepted the certificate.
    """

    def __init__(self, certificate: Certificate, backend: int) -> None:
        """`backend`: the port on this machine to forward to."""
        self.accepted = 0
        self._backend = backend
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*certificate)
        self._ending = threading.Event()
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), cast(Any, self._serve))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def port(self) -> int:
        """Its port."""
        return int(self._server.server_address[1])

    def __enter__(self) -> Self:
        """Start to listen."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Close everything."""
        self._ending.set()
        self._server.shutdown()
        self._thread.join()
        # Waits for the threads of all connections.
        self._server.server_close()

    def _serve(self, connection: socket.socket, *_: object) -> None:
        with contextlib.suppress(OSError), self._context.wrap_socket(connection, server_side=True) as front:
            self.accepted += 1
            with socket.create_connection(("127.0.0.1", self._backend)) as back:
                while not self._ending.is_set() and _pass_on(front, back):
                    pass


def _pass_on(front: ssl.SSLSocket, back: socket.socket) -> bool:
    """Forward pending data in both directions; False when one side has ended."""
    ready = [front] if front.pending() else select.select([front, back], [], [], 0.1)[0]
    for source, target in ((front, back), (back, front)):
        if source in ready:
            chunk = source.recv(65536)
            target.sendall(chunk)
            if not chunk:
                return False
    return True
