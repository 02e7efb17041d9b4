"""The sandbox's own endpoints, under `/_sandbox`. They need no key.

| endpoint | does |
|---|---|
| `GET /_sandbox/health` | 200 as soon as the sandbox answers |
| `POST /_sandbox/shipments` | creates shipments, or changes those that there are; what was counted stays |
| `GET /_sandbox/shipments/{reference}` | one shipment's history: the last 50 calls |
| `POST /_sandbox/faults` | adds faults behind those in force |
| `DELETE /_sandbox/faults` | removes all faults |
| `GET /_sandbox/counts` | what the API did altogether |

Shipments of different API keys are different shipments. A history and the counts take `?key=`; without it the
history is the first accepted key's, and the counts are everybody's.

**Shipments** are a JSON list. Only `reference` is required; shown are the defaults (`key`: the first accepted one):

    [{"reference": "sp_1", "key": "sandbox-key", "weight_kg": 1.0, "country": "GB", "tags": [],
      "state": "unallocated", "exists_after_s": 0}]

`state` is `unallocated`, `allocating` (for ever), `allocated`, `allocation_failed`, `manifested`, `dispatched`,
`delivered`, `cancelling`, `cancelled` or `destroyed`. With `allocated` and what follows from it the cheapest service
has the shipment, which does not count as an allocation. Until `exists_after_s` seconds have passed the API answers
404 `processing`.

**Faults** are a JSON list. Only `fault` is required; shown are the defaults:

    [{"fault": "status", "on": "any", "references": null, "share": 1.0, "times": null, "times_each": null,
      "acts": false, "latency_s": 0, "status": 500, "retry_after_s": null, "body": "html"}]

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
| `status` | for `status`: 500, 502 (an HTML page), 503 or 504 (no body) |
| `retry_after_s` | for `throttled`: the `Retry-After` header; null: none |
| `body` | for `garbage`: `html`, `shape` (JSON of a wrong shape) or `empty` |

| fault | the caller meets |
|---|---|
| `slow` | the right answer, late by `latency_s` |
| `status` | a server error |
| `throttled` | 429, with or without `Retry-After` |
| `conflict` | 429 with the cause `rule_conflict` |
| `unauthorised`, `forbidden` | 401, 403 |
| `gone` | 410 with the cause `resource_removed` |
| `drop` | the connection closed without an answer |
| `cut` | half of the right answer, then the connection closed (the API has acted) |
| `hang` | nothing, ever |
| `garbage` | 200 with a body that makes no sense |
| `queued` | single allocation: 202, `allocating`, decided after the queue's time |
| `stuck` | single or many: `allocating` for ever |
| `omit` | v1 many: no entry for the shipment (which was allocated if `acts`) |

A call meets the first fault in the list that strikes it; `queued`, `stuck` and `omit` are drawn for every shipment
of a call by itself.

**Counts**:

    {"allocated": 2, "allocations": {"sp_3": 0}, "allocated_twice": [], "blind_repeats": ["sp_1"],
     "puts": 4, "reads": 1, "shipments": {"allocated": 2, "allocating": 1}}

`allocated` is the number of shipments that became allocated at least once; `allocations` tells how often, for
shipments where that is not once. `blind_repeats` has a shipment's reference once for every allocate call that came
when the API already had it as allocated or allocating. `puts` and `reads` are calls that arrived, answered or not;
`shipments` is how many are in each state.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from worker.sandbox.catalogue import OUTBOUND, Facts, eligible
from worker.sandbox.faults import Fault, Faults
from worker.sandbox.state import Allocation, Depot, Shipment, State
from worker.sandbox.wire import Reply, Tree, json_reply, moment

_HAVE_A_SERVICE = frozenset[State]({"allocated", "manifested", "dispatched", "delivered"})


class Described(BaseModel):
    """A shipment as `POST /_sandbox/shipments` takes it."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    reference: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    key: str | None = None
    weight_kg: Annotated[float, Field(ge=0)] = 1.0
    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$")] = "GB"
    tags: frozenset[str] = frozenset()
    state: State = "unallocated"
    exists_after_s: Annotated[float, Field(ge=0)] = 0.0


_SHIPMENTS = TypeAdapter(list[Described])
_FAULTS = TypeAdapter(list[Fault])


class Control:
    """Sets the scene and tells what happened."""

    def __init__(self, depot: Depot, faults: Faults, first_key: str) -> None:
        """Look after this depot and these faults; `first_key` is the merchant meant when none is named."""
        self._depot = depot
        self._faults = faults
        self._first_key = first_key

    def answer(self, method: str, segments: Sequence[str], key: str | None, body: bytes, now: float) -> Reply:
        """The answer to one request; `segments` start after `_sandbox`."""
        self._depot.settle(now)
        try:
            return self._routed(method, segments, key, body, now)
        except ValidationError as error:
            return Reply(status=400, body=error.json(include_url=False, include_context=False).encode())

    def _routed(self, method: str, segments: Sequence[str], key: str | None, body: bytes, now: float) -> Reply:
        match method, *segments:
            case "GET", "health":
                return json_reply(200, {"status": "ok"})
            case "POST", "shipments":
                return self._create(_SHIPMENTS.validate_json(body), now)
            case "GET", "shipments", reference:
                return self._history(key or self._first_key, reference)
            case "POST", "faults":
                self._faults.add(_FAULTS.validate_json(body))
                return Reply(status=204)
            case "DELETE", "faults":
                self._faults.clear()
                return Reply(status=204)
            case "GET", "counts":
                return json_reply(200, counts(self._depot, key))
            case _:
                return json_reply(404, {"message": "There is no such endpoint."})

    def _create(self, described: list[Described], now: float) -> Reply:
        for each in described:
            self._depot.describe(_shipment(each, self._first_key, now))
        return Reply(status=204)

    def _history(self, key: str, reference: str) -> Reply:
        shipment = self._depot.shipments.get((key, reference))
        if shipment is None:
            return json_reply(404, {"message": "No call has named the shipment."})
        return json_reply(200, _told(shipment))


def _shipment(described: Described, first_key: str, now: float) -> Shipment:
    facts = Facts(weight_kg=described.weight_kg, country=described.country, tags=described.tags)
    shipment = Shipment(
        key=described.key or first_key,
        reference=described.reference,
        created=now,
        facts=facts,
        state=described.state,
        exists_at=now + described.exists_after_s,
    )
    takers = eligible(OUTBOUND, facts)
    if described.state in _HAVE_A_SERVICE and takers:
        shipment.allocation = Allocation(service=takers[0], at=now, tracking=f"TRK-{described.reference}")
    return shipment


def _told(shipment: Shipment) -> Tree:
    """One shipment's history."""
    return {
        "reference": shipment.reference,
        "state": shipment.state,
        "allocations": shipment.allocations,
        "blind_repeats": shipment.blind_repeats,
        "calls": [
            {
                "time": moment(call.at),
                "method": call.method,
                "path": call.path,
                "status": call.status,
                "fault": call.fault,
            }
            for call in shipment.calls
        ],
    }


def counts(depot: Depot, key: str | None) -> Tree:
    """What the API did, for one key or for all; short when everything went well, however many shipments there are."""
    shipments = [each for each in depot.shipments.values() if key in {None, each.key}]
    unusual = sorted((each for each in shipments if each.allocations != 1), key=lambda each: each.allocations)
    return {
        "allocated": sum(each.allocations > 0 for each in shipments),
        # Two merchants may have the same reference: the greater count, being later, is the one that is told.
        "allocations": {each.reference: each.allocations for each in unusual},
        "allocated_twice": [each.reference for each in unusual if each.allocations > 1],
        "blind_repeats": [each.reference for each in shipments for _ in range(each.blind_repeats)],
        "puts": depot.puts,
        "reads": depot.reads,
        "shipments": Counter(each.state for each in shipments),
    }
