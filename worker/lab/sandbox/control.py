"""The sandbox's own endpoints, under `/_sandbox`. They need no key.

| endpoint | does |
|---|---|
| `GET /_sandbox/health` | 200 as soon as the sandbox answers |
| `POST /_sandbox/shipments` | creates shipments, or changes those that there are; what was counted stays |
| `GET /_sandbox/shipments/{reference}` | one shipment's history: the last 50 calls |
| `POST /_sandbox/faults` | adds faults behind those in force |
| `DELETE /_sandbox/faults` | removes all faults; what a fault has put off still happens |
| `GET /_sandbox/counts` | what the API did altogether |
| `GET /_sandbox/calls` | every call since the start |

Shipments of different API keys are different shipments. A history, the counts and the calls take `?key=`; without it
the history is the first accepted key's, and the others are everybody's.

**Shipments** are a JSON list. Only `reference` is required; shown are the defaults (`key`: the first accepted one):

    [{"reference": "sp_1", "key": "sandbox-key", "weight_kg": 1.0, "country": "GB", "tags": [],
      "state": "unallocated", "exists_after_s": 0}]

`state` is `unallocated`, `allocating` (for ever), `allocated`, `allocation_failed`, `manifested`, `dispatched`,
`delivered`, `cancelling`, `cancelled` or `destroyed`. With `allocated` and what follows from it the cheapest service
has the shipment, which does not count as an allocation. Until `exists_after_s` seconds have passed the API answers
404 `processing`. A shipment that was queued is not decided once it is described anew; what is late still comes.

**Faults** are a JSON list. Only `fault` is required; shown are the defaults:

    [{"fault": "status", "on": "any", "references": null, "share": 1.0, "times": null, "times_each": null,
      "acts": false, "latency_s": 0, "late_s": 0, "acts_share": 1.0, "queue_s": null, "lag_s": 0, "status": null,
      "code": null, "retry_after_s": null, "body": "html", "because_of": null, "partly": false, "conflict": false}]

| key | means |
|---|---|
| `fault` | what goes wrong, see below |
| `on` | the endpoints it concerns: `allocate`, `read`, `quote` or `any` |
| `references` | the shipments it concerns; null: all. A call for many shipments is struck if one of them is named |
| `share` | the share of calls it strikes, 0 to 1. Runs with the same seed repeat, whatever the order of calls |
| `times` | how often it strikes altogether; null: without end |
| `times_each` | how often it strikes any one shipment; null: without end |
| `acts` | true: the API does what was asked *before* the fault strikes, which the caller cannot know |
| `latency_s` | seconds to wait: before the API acts, or between acting and the fault if `acts` |
| `late_s` | above 0: the API acts, whatever `acts` says, so many seconds later; the answer does not wait, see below |
| `acts_share` | with `late_s`: the share of struck shipments that the API acts on at all, 0 to 1 |
| `queue_s` | for `queued`: seconds that the shipment is `allocating`; null: the sandbox's own time |
| `lag_s` | for `queued`: seconds for which the state stays as it was, before it is `allocating` |
| `status` | for `status`, `foreign` and `refused_whole`, see below |
| `code` | for `refused_whole`: the cause; null: none is given |
| `retry_after_s` | for every fault that answers an error: the `Retry-After` header; null: none |
| `body` | for `garbage`: `html`, `shape` (JSON of a wrong shape) or `empty`; for `foreign`: `html`, `empty` or `text` |
| `because_of` | for `refused_whole`, required: the shipments that the API does not want |
| `partly` | for `refused_whole` in v1; true: the shipments named before the first of these are allocated |
| `conflict` | for `repeated`; true: the second pass is told `rule_conflict`, and not that the state is wrong |

| fault | the caller meets |
|---|---|
| `slow` | the right answer, late by `latency_s` |
| `status` | a server error: 500 (the default), 502 (an HTML page), 503 or 504 (no body) |
| `throttled` | 429, with or without `Retry-After` |
| `conflict` | 429 with the cause `rule_conflict` |
| `unauthorised`, `forbidden` | 401, 403 |
| `gone` | 410 with the cause `resource_removed` |
| `foreign` | 401, 403, 404 (the default), 405 or 521, as said by something in front of the API |
| `refused_whole` | an error (400 if not said otherwise) for a whole allocation that names one of `because_of` |
| `drop` | the connection closed without an answer |
| `cut` | half of the right answer, then the connection closed (the API has acted) |
| `hang` | nothing, ever |
| `garbage` | 200 with a body that makes no sense |
| `repeated` | the answer to the second pass of a call that a gateway sent twice |
| `late` | single or many: 202 and `allocating`, or listed as queued, but the state stays as it was for `late_s` |
| `queued` | single or v1 many: 202, `allocating`, decided after the queue's time. v2 many are queued anyway |
| `stuck` | single or many: `allocating` for ever |
| `omit` | many: no entry for the shipment (which was allocated or queued if `acts`) |

A call meets the first fault in the list that strikes it; `late`, `queued`, `stuck` and `omit` are drawn for every
shipment of a call by itself.

**Late.** `late_s` goes with every fault but `queued`, `stuck` and `refused_whole`, and matters to allocations alone. It
counts from when the API would have acted with `acts` as it is. Until then the shipment's state is what it was, and a
GET says so; then the shipment is allocated by that call, or its allocation fails. Of a call for many each shipment
that is not refused is late by itself. Another call that comes meanwhile finds a state that lets it pass: it acts too,
and the shipment is allocated twice, since a late action does not ask what the state has become. The same holds while
a queue lags. Where the API's own answer is given (`slow`, `cut`) it is the one of `late`.

**Repeated.** The two passes are one call and lead to one allocation: the first acts at once, or after `late_s`, and the
second is refused what the first was granted. v2 answers 400 `invalid_state_for_operation` or 429 `rule_conflict`, or
lists the shipment as rejected with that code; v1 answers 400 or 429, or has that as the entry's `StatusCode`.

**Counts**:

    {"allocated": 2, "allocations": {"sp_3": 0}, "allocated_twice": [], "blind_repeats": ["sp_1"],
     "pending_late": 0, "puts": 4, "reads": 1, "shipments": {"allocated": 2, "allocating": 1}}

`allocated` is the number of shipments that became allocated at least once; `allocations` tells how often, for
shipments where that is not once. `blind_repeats` has a shipment's reference once for every allocate call that came
when the API already had it as allocated or allocating, or was still to act on it. `pending_late` is how often the API
will yet act on an earlier call, late or queued. `puts` and `reads` are calls that arrived, answered or not;
`shipments` is how many are in each state.

**Calls** are a JSON list in order of time. `?since=` is the number `n` of the first entry, `?limit=` how many there
may be. The last 1,000,000 are kept. Times are Unix seconds.

    [{"n": 0, "time": 1795255200.125, "kind": "allocate", "method": "PUT",
      "path": "/pro/shipments/sp_1/allocate/service/EXPRESS", "references": ["sp_1"],
      "state_before": ["unallocated"], "status": 202, "answered_at": 1795255200.126, "fault": "late",
      "struck": {"sp_1": "late"}},
     {"n": 1, "time": 1795255203.126, "kind": "acted", "reference": "sp_1", "state_before": "unallocated",
      "state": "allocated"}]

`kind` is `allocate`, `read`, `quote`, `label`, or `other` for a request that was turned away (key, version, path or
body); `acted` is no call, but the moment at which the API acted on an earlier one that was late, or in a queue that
lagged. `time` is the arrival, `state_before` the state of each of the `references` then, null for one that does not
exist. `status` and `answered_at` stay null without an answer, and are filled in later than the entry is written.
`fault` is the fault of the whole call, else the first that struck one of its shipments; `struck`, present if there
are any, has all of the latter.
"""

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
    """Sets the scene and tells what happened."""

    def __init__(self, depot: Depot, faults: Faults, first_key: str) -> None:
        """Look after this depot and these faults; `first_key` is the merchant meant when none is named."""
        self._depot = depot
        self._faults = faults
        self._first_key = first_key

    def answer(self, method: str, segments: Sequence[str], query: Mapping[str, str], body: bytes, now: float) -> Reply:
        """The answer to one request; `segments` start after `_sandbox`."""
        self._depot.settle(now)
        try:
            return self._routed(method, segments, query, body, now)
        except ValidationError as error:
            return Reply(status=400, body=error.json(include_url=False, include_context=False).encode())

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
