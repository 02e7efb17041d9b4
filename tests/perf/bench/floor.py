"""The floor: a process that only does the work itself. Run with `python -m tests.perf.bench.floor`.

The standard library's HTTP client on one connection, one order after the other, and events in pipelines. No queue, no
ledger, no limits, no retry: what an order cannot cost less than, in this language and against this API.
"""

import http.client
import json
import os
from typing import Any
from urllib.parse import urlsplit

import redis

from tests.perf.bench.peer_work import API, ORDERS, REDIS, STREAM, event_of

_AT_ONCE = 100
_WAIT_MS = 1000


def main() -> None:
    """Work until killed."""
    stream = redis.Redis.from_url(os.environ[REDIS])
    api = http.client.HTTPConnection(urlsplit(os.environ[API]).netloc)
    last = b"0-0"
    while True:
        for _, entries in _read(stream, last):
            pipe = stream.pipeline(transaction=False)
            for last, fields in entries:  # noqa: B007  # the last one read is where to go on
                reference = fields[b"event"].decode()
                pipe.xadd(STREAM, {"event": json.dumps(event_of(reference, _allocate(api, reference)))})
            pipe.execute()


def _read(stream: "redis.Redis", last: bytes) -> Any:  # redis-py's lists
    return stream.xread({ORDERS: last}, count=_AT_ONCE, block=_WAIT_MS)


def _allocate(api: http.client.HTTPConnection, reference: str) -> dict[str, Any]:
    path = f"/pro/shipments/{reference}/allocate/virtual_service/FF_LINET-00001"
    api.request("PUT", path, headers={"x-api-key": "bench", "x-api-version": "1.1", "content-length": "0"})
    result: dict[str, Any] = json.loads(api.getresponse().read())
    return result


if __name__ == "__main__":
    main()
