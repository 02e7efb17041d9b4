"""The sandbox's own endpoints, under `/_sandbox`. They need no key.

| endpoint | purpose |
|---|---|
| `GET /_sandbox/health` | 200 once the sandbox responds |
| `POST /_sandbox/shipments` | create or change shipments; their counts are kept |
| `GET /_sandbox/shipments/{reference}` | the history of a shipment: its last 50 calls |
| `POST /_sandbox/faults` | append faults to the active ones |
| `DELETE /_sandbox/faults` | remove all faults; actions that a fault has delayed still happen |
| `GET /_sandbox/counts` | totals |
| `GET /_sandbox/calls` | the log of all calls |

Shipments of different API keys are different shipments. History, counts and calls accept `?key=`. Without it the
history is that of the first accepted key, and counts and calls cover all keys.

**Shipments** are a JSON list. Only `reference` is required; the defaults are (`key`: the first accepted one):

    [{"reference": "sp_1", "key": "sandbox-key", "weight_kg": 1.0, "country": "GB", "tags": [],
      "state": "unallocated", "exists_after_s": 0}]

`state` is `unallocated`, `allocating` (permanently), `allocated`, `allocation_failed`, `manifested`, `dispatched`,
`delivered`, `cancelling`, `cancelled` or `destroyed`. In `allocated` and the states that follow it the cheapest service
has the shipment; this does not count as an allocation. For `exists_after_s` seconds the API responds with
404 `processing`. Setting a queued shipment again cancels its queued allocation; late actions still happen.

**Faults** are a JSON list. Only `fault` is required; the defaults are:

    [{"fault": "status", "on": "any", "references": null, "share": 1.0, "times": null, "times_each": null,
      "acts": false, "latency_s": 0, "late_s": 0, "acts_share": 1.0, "queue_s": null, "lag_s": 0, "status": null,
      "code": null, "retry_after_s": null, "body": "html", "because_of": null, "partly": false, "conflict": false}]

| key | meaning |
|---|---|
| `fault` | the kind of fault, see below |
| `on` | the endpoints it applies to: `allocate`, `read`, `quote` or `any` |
| `references` | the shipments it applies to; null: all. It applies to a bulk call that names one of them |
| `share` | the share of calls it applies to, 0 to 1. Runs with the same seed repeat, regardless of the order of calls |
| `times` | how often it applies in total; null: no limit |
| `times_each` | how often it applies to any one shipment; null: no limit |
| `acts` | true: the API acts on the call *before* the fault, which the caller cannot know |
| `latency_s` | seconds to wait: before the API acts, or with `acts` between acting and the fault |
| `late_s` | above 0: the API acts this many seconds later, regardless of `acts`; the response is not delayed |
| `acts_share` | with `late_s`: the share of affected shipments that the API acts on at all, 0 to 1 |
| `queue_s` | for `queued`: how long the shipment is `allocating`, in seconds; null: the sandbox's own setting |
| `lag_s` | for `queued`: how long the state stays unchanged before it is `allocating`, in seconds |
| `status` | for `status`, `foreign` and `refused_whole`, see below |
| `code` | for `refused_whole`: the code of the cause; null: none |
| `retry_after_s` | for every fault with an error response: the `Retry-After` header; null: none |
| `body` | for `garbage`: `html`, `shape` (JSON of a wrong shape) or `empty`; for `foreign`: `html`, `empty` or `text` |
| `because_of` | for `refused_whole`, required: the shipments that the API refuses |
| `partly` | for `refused_whole` in v1; true: the shipments named before the first of these are allocated |
| `conflict` | for `repeated`; true: the second pass gets `rule_conflict` instead of an error for its state |

| fault | what the caller gets |
|---|---|
| `slow` | the API's response after `latency_s` |
| `status` | a server error: 500 (the default), 502 (an HTML page), 503 or 504 (no body) |
| `throttled` | 429, with or without `Retry-After` |
| `conflict` | 429 with the cause `rule_conflict` |
| `unauthorised`, `forbidden` | 401, 403 |
| `gone` | 410 with the cause `resource_removed` |
| `foreign` | 401, 403, 404 (the default), 405 or 521 from something in front of the API |
| `refused_whole` | an error (400 by default) for the whole of a call that names one of `because_of` |
| `drop` | the connection closes without a response |
| `cut` | half of the API's response, then the connection closes (the API has acted) |
| `hang` | nothing, ever |
| `garbage` | 200 with an unusable body |
| `repeated` | the response to the second pass of a call that a gateway sent twice |
| `late` | single or bulk: 202 and `allocating`, or listed as queued, but the state stays unchanged for `late_s` |
| `queued` | single or v1 bulk: 202, `allocating`, allocated after the queue time. v2 bulk calls are queued anyway |
| `stuck` | single or bulk: `allocating` permanently |
| `omit` | bulk: no entry for the shipment (which was allocated or queued if `acts`) |

The first fault in the list that matches a call applies to it; `late`, `queued`, `stuck` and `omit` are drawn for each
shipment of a call separately.

**Late.** `late_s` can be combined with every fault but `queued`, `stuck` and `refused_whole`, and affects allocations
only. It counts from when the API would have acted, depending on `acts`. Until then the shipment's state is unchanged,
also in a GET; then the shipment is allocated by that call, or its allocation fails. In a bulk call this applies to each
shipment that is not refused. Another call that arrives meanwhile finds an allocatable state: it acts too, and the
shipment is allocated twice, since a late action does not check the state again. The same holds while a queue lags.
Where the API's own response is sent (`slow`, `cut`), it is the one of `late`.

**Repeated.** The two passes are one call and lead to one allocation: the first acts at once, or after `late_s`, and the
second is refused. v2 responds with 400 `invalid_state_for_operation` or 429 `rule_conflict`, or lists the shipment as
rejected with that code; v1 responds with 400 or 429, or has that as the entry's `StatusCode`.

**Counts**:

    {"allocated": 2, "allocations": {"sp_3": 0}, "allocated_twice": [], "blind_repeats": ["sp_1"],
     "pending_late": 0, "puts": 4, "reads": 1, "shipments": {"allocated": 2, "allocating": 1}}

`allocated` is the number of shipments that were allocated at least once; `allocations` has the number of allocations of
each shipment where it is not one. `blind_repeats` lists a shipment's reference once for every allocation call that
arrived while the shipment was allocated or allocating at the API, or had a pending action. `pending_late` is the number
of pending actions of earlier calls, late or queued. `puts` and `reads` are calls that arrived, with or without a
response; `shipments` is the number of shipments in each state.

**Calls** are a JSON list in order of time. `?since=` is the number `n` of the first entry, `?limit=` the maximum number
of entries. The last 1,000,000 are kept. Times are Unix seconds.

    [{"n": 0, "time": 1795255200.125, "kind": "allocate", "method": "PUT",
      "path": "/pro/shipments/sp_1/allocate/service/EXPRESS", "references": ["sp_1"],
      "state_before": ["unallocated"], "status": 202, "answered_at": 1795255200.126, "fault": "late",
      "struck": {"sp_1": "late"}},
     {"n": 1, "time": 1795255203.126, "kind": "acted", "reference": "sp_1", "state_before": "unallocated",
      "state": "allocated"}]

`kind` is `allocate`, `read`, `quote`, `label`, or `other` for a rejected request (key, version, path or body); `acted`
is not a call, but the time at which the API acted on an earlier call that was late, or in a queue that lagged. `time`
is the arrival, `state_before` the state of each of the `references` at that time, null for one that does not exist.
`status` and `answered_at` are null without a response, and are filled in after the entry is written. `fault` is the
fault of the whole call, else the first one of its shipments; `struck`, if present, has the faults of all its shipments.
"""

import json
from collections.abc import Mapping, Sequence

from pydantic import TypeAdapter, ValidationError

from worker.lab.sandbox.fault import Fault
from worker.lab.sandbox.faults import Faults
from worker.lab.sandbox.http_types import Reply, json_reply
from worker.lab.sandbox.shipment_spec import Described
from worker.lab.sandbox.shipments import Depot
from worker.lab.sandbox.statistics import Page, calls, counts, history

_SHIPMENTS = TypeAdapter(list[Described])
_FAULTS = TypeAdapter(list[Fault])


class Control:
    """Handles the requests under `/_sandbox`."""

    def __init__(self, depot: Depot, faults: Faults, first_key: str) -> None:
        """`first_key`: the key of shipments and histories for which none is given."""
        self._depot = depot
        self._faults = faults
        self._first_key = first_key

    def handle(self, method: str, segments: Sequence[str], query: Mapping[str, str], body: bytes, now: float) -> Reply:
        """The response to one request; `segments` start after `_sandbox`."""
        self._depot.settle(now)
        try:
            return self._routed(method, segments, query, body, now)
        except ValidationError as error:
            # Without the input, which need not be text.
            problems = error.errors(include_url=False, include_context=False, include_input=False)
            return Reply(status=400, body=json.dumps(problems).encode())

    def _routed(self, method: str, segments: Sequence[str], query: Mapping[str, str], body: bytes, now: float) -> Reply:
        match method, *segments:
            case "GET", "health":
                return json_reply(200, {"status": "ok"})
            case "POST", "shipments":
                return self._create(_SHIPMENTS.validate_json(body), now)
            case "GET", "shipments", reference:
                return self._history(query.get("key", self._first_key), reference)
            case "POST", "faults":
                self._faults.add(_FAULTS.validate_json(body))
                return Reply(status=204)
            case "DELETE", "faults":
                self._faults.clear()
                return Reply(status=204)
            case "GET", "counts":
                return json_reply(200, counts(self._depot, query.get("key")))
            case "GET", "calls":
                return Reply(status=200, body=calls(self._depot.log, Page.model_validate(dict(query))))
            case _:
                return json_reply(404, {"message": "There is no such endpoint."})

    def _create(self, described: list[Described], now: float) -> Reply:
        for each in described:
            self._depot.describe(each.as_shipment(self._first_key, now))
        return Reply(status=204)

    def _history(self, key: str, reference: str) -> Reply:
        shipment = self._depot.shipments.get((key, reference))
        if shipment is None:
            return json_reply(404, {"message": "No call has named the shipment."})
        return json_reply(200, history(shipment))
