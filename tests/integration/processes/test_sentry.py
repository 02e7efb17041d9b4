"""Events sent to Sentry, received by a test server: each failure once, grouped by its reason, without secrets."""

import gzip
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from sentry_sdk.envelope import Envelope

from tests.factories.raw_api import KEY, allocated

ROOT = Path(__file__).parents[3]


@dataclass(kw_only=True)
class Received:
    """The received envelopes, and the headers of calls to the API."""

    envelopes: list[bytes] = field(default_factory=list)
    api_headers: list[set[str]] = field(default_factory=list)

    def items(self, kind: str) -> list[dict[str, Any]]:
        """The payloads of one kind: `event`, `check_in`, ..."""
        found = [item for envelope in self.envelopes for item in Envelope.deserialize(envelope).items]
        return [json.loads(item.get_bytes()) for item in found if item.type == kind]


@contextmanager
def collecting(received: Received) -> Iterator[str]:
    """The address of a server that acts as Sentry and as the API."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            received.envelopes.append(gzip.decompress(body) if self.headers["content-encoding"] == "gzip" else body)
            self._respond(b"{}")

        def do_PUT(self) -> None:
            received.api_headers.append({name.lower() for name in self.headers})
            self._respond(allocated())

        def _respond(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def received() -> Received:
    """Everything that one process sent."""
    received = Received()
    # Two of them, as Sentry adds no header to calls to its own host.
    with collecting(received) as sentry, collecting(received) as api:
        subprocess.run(
            [sys.executable, "-m", "tests.factories.sentry_process", f"http://{api}"],
            cwd=ROOT,
            env={
                **os.environ,
                "SENTRY_DSN": f"http://public@{sentry}/1",
                "ALLOCATION_REDIS_URL": "redis://127.0.0.1:1/0",
            },
            check=True,
            capture_output=True,
            timeout=60,
        )
    return received


def test_a_failure_is_one_report(received: Received) -> None:
    """Each failed shipment is one event, and events with the same reason are one group."""
    fingerprints = [event["fingerprint"] for event in received.items("event") if "fingerprint" in event]
    assert fingerprints == [
        ["shipment_failed", "conflict"],
        ["shipment_failed", "conflict"],
        ["shipment_failed", "worker_lost"],
        ["merchant_paused", "acme"],
    ]


def test_a_report_names_the_shipment(received: Received) -> None:
    """An event names merchant, shipment and rule, and contains nothing of the order's event."""
    report = received.items("event")[0]
    assert report["message"] == "shipment failed: conflict"
    assert (report["tags"]["merchant"], report["tags"]["reason"]) == ("acme", "conflict")
    assert report["contexts"]["shipment"] == {"reference": "sp_1", "rule": "default"}


def test_a_bug_is_one_report(received: Received) -> None:
    """A bug is sent once, with its traceback and without the values of its variables."""
    (bug,) = [event for event in received.items("event") if "exception" in event]
    (raised,) = bug["exception"]["values"]
    assert raised["type"] == "RuntimeError"
    assert not any("vars" in frame for frame in raised["stacktrace"]["frames"])


def test_no_key_leaves(received: Received) -> None:
    """Neither a call, a variable nor a field named like a key sends a key to Sentry."""
    assert received.envelopes != []
    assert not any(KEY.encode() in envelope for envelope in received.envelopes)


def test_calls_carry_no_sentry_header(received: Received) -> None:
    """With Sentry on, calls carry none of its headers."""
    (headers,) = received.api_headers
    assert not {"sentry-trace", "baggage", "traceparent"} & headers
    assert "x-api-key" in headers


def test_a_sweep_checks_in(received: Received) -> None:
    """A sweep checks in with the monitor at its start and at its successful end."""
    assert [check["status"] for check in received.items("check_in")] == ["in_progress", "ok"]
