"""Input for a run with many errors: secrets, foreign text, merchants, orders and messages."""

import base64
import json
import pickle
from pathlib import Path
from typing import Any

from celery import Celery
from kombu import Connection

from config.celery_options import BATCHES
from tasks.allocate import ALLOCATE_TASK
from tests.acceptance.recording_servers import ReceivedRequest, Response, forward
from tests.acceptance.system import System, order_event, v1_file, v2_file

KEY_IN_ENV, KEY_IN_FILE, KEY_REFUSED = "KeyInEnv7f3aQ1zz", "KeyInFileB92xLmz", "KeyRefused55TzRw"
KEY_TYPED = "KeyTyped0cVnWq8z"
REDIS_PASSWORD, FLOWER_PASSWORD, SENTRY_KEY = "RedisPw81kLs/#z", "FlowerPw3mXezz", "5e117c0de5e117c0de"
SECRETS = {
    "the key in the environment": KEY_IN_ENV,
    "the key in a file": KEY_IN_FILE,
    "the key that the API refuses": KEY_REFUSED,
    "the key that was typed into a merchant file": KEY_TYPED,
    # As far as a URL may contain it unescaped.
    "the password of Redis": REDIS_PASSWORD.partition("/")[0],
    "the password of Flower": FLOWER_PASSWORD,
    "the login of Flower": base64.b64encode(f"shop:{FLOWER_PASSWORD}".encode()).decode(),
    "the key of Sentry": SENTRY_KEY,
}
EVIL = "\x1b]0;owned\x07\x9b2J\u202e\u2028\r\nevil\x00"
"""Sets a terminal's title, clears it, changes the writing direction, forges a line, ends a C string."""

LINET = '{ virtual_service = "FF_LINET-00001" }'
FAULTS: list[dict[str, Any]] = [
    {"fault": "status", "references": ["sp_500"]},
    {"fault": "status", "references": ["sp_500acted"], "acts": True},
    {"fault": "drop", "references": ["sp_reset"]},
    {"fault": "drop", "references": ["sp_resetacted"], "acts": True},
    {"fault": "slow", "references": ["sp_slow"], "latency_s": 1.5, "acts": True},
    {"fault": "garbage", "references": ["sp_garbage"], "acts": True},
    {"fault": "throttled", "references": ["sp_throttled"], "retry_after_s": 1},
]
"""Faults of the API, each once."""

TWISTED = ("sp_redirect", "sp_echo", "sp_label")


class FaultyProxy:
    """A proxy in front of the API with its own responses for some shipments: the first two once, the third always."""

    def __init__(self, other_server: str) -> None:
        """`other_server`: the target of a redirect; `api` must be set before the first request."""
        self.api = ""
        self._elsewhere = other_server
        self._left = {"sp_redirect", "sp_echo"}

    def __call__(self, request: ReceivedRequest) -> Response:
        """The response to a request for the API."""
        for reference in [r for r in self._left if r in request.path]:
            self._left.discard(reference)
            if reference == "sp_redirect":
                return Response(status=307, headers={"Location": self._elsewhere + request.path})
            echo = {"code": "validation_error", "message": f"{KEY_IN_ENV} may not do this {EVIL}", "details": []}
            return Response(status=400, headers={"Content-Type": "application/json"}, body=json.dumps(echo).encode())
        respond = forward(self.api, request)
        return _with_bad_links(respond) if "sp_label" in request.path else respond


def _with_bad_links(respond: Response) -> Response:
    body = json.loads(respond.body)
    bad = ("javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "//evil.test/label", "ftp://evil.test/pdf")
    body["_links"] += [{"href": href, "rel": "label", "type": "pdf"} for href in bad]
    return Response(status=respond.status, headers=respond.headers, body=json.dumps(body).encode())


def write_merchants(system: System, url: str) -> None:
    """Merchants with a key from the environment and from files, and invalid files."""
    in_env = v2_file(url, LINET, key="PLANTED_KEY").replace("[alloc", "timeout_s = 1\n[alloc", 1)
    system.merchant("env", in_env)
    system.merchant("none", v2_file(url, '{ carrier_service = "NONE" }', '[{ service_group = "NONE" }]'))
    system.merchant("plain", in_env.replace("127.0.0.1", "0.0.0.0"))  # noqa: S104  # reached, yet not called loopback
    _write_with_key(system, "file", v1_file(url, '{ carrier_service = "FF_LINET-00001" }'), KEY_IN_FILE)
    _write_with_key(system, "refused", v2_file(url, LINET), KEY_REFUSED)
    typed = [f'{{ {place} = "{KEY_TYPED}" }}' for place in ("file", "env", "key")]
    for number, mistake in enumerate([*typed, f'"{KEY_TYPED}"', KEY_TYPED]):
        system.merchant(f"typed{number}", in_env.replace('{ env = "PLANTED_KEY" }', mistake))


def _write_with_key(system: System, name: str, text: str, key: str) -> None:
    path = system.folder / f"{name}.key"
    path.write_text(key)
    system.merchant(name, text.replace('{ env = "SANDBOX_KEY" }', f'{{ file = "{path}" }}'))


def valid_orders() -> list[dict[str, Any]]:
    """One order full of foreign text whose shipments meet every fault, and one for each other ending."""
    references = [*(reference for fault in FAULTS for reference in fault["references"]), *TWISTED]
    foreign = {"order": EVIL, "event_id": EVIL, "shipping_method": EVIL, "facts": {"tags": [EVIL]}}
    others = [order_event(name, [f"sp_{name}"]) for name in ("file", "none", "refused", "typed0")]
    return [order_event("env", references, **foreign), *others]


PAUSED = ("refused", "typed0")
"""The merchants whose shipments wait for a key."""

SETTLED = sum(len(event["data"]["shipments"]) for event in valid_orders()) - len(PAUSED)
"""Number of settled shipments of the good orders."""


def invalid_events() -> list[Any]:
    """Events that are rejected, for every reason that can contain foreign text."""
    bad = order_event("env", ["sp_x"])
    return [
        EVIL,
        {**bad, "id": ""},
        order_event("env", [EVIL]),
        order_event(EVIL, ["sp_x"]),
        {**bad, "data": {**bad["data"], EVIL: EVIL, "order": 5}},
        *(order_event(name, ["sp_x"]) for name in ("unknown", "plain", "typed1", "typed2", "typed3", "typed4")),
    ]


class _PickleBomb:
    """Touches a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._marker,)


def put_foreign_messages(broker: str, marker: Path) -> None:
    """Put a pickle, and a chain link with invalid arguments, on the queue of batches."""
    with Connection(broker) as connection, Celery(broker=broker, set_as_current=False) as app:
        connection.Producer().publish(
            pickle.dumps(((), {"bomb": _PickleBomb(marker)}, {})),
            routing_key=BATCHES,
            headers={"task": ALLOCATE_TASK, "id": "bomb"},
            content_type="application/x-python-serialize",
            content_encoding="binary",
        )
        app.send_task(
            "allocation.fallback.carrier_service",
            args=[{"merchant": "env", "odd": EVIL}],
            kwargs={"merchant": "env", "odd": EVIL},
            queue=BATCHES,
            connection=connection,
        )
