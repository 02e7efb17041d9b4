"""The sandbox's own endpoints, under `/_sandbox`; docs/sandbox.md documents them. They need no key."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from worker.lab.sandbox.fault import Fault
from worker.lab.sandbox.faults import Faults
from worker.lab.sandbox.http_types import Reply, json_reply
from worker.lab.sandbox.shipment_spec import Described
from worker.lab.sandbox.shipments import Depot
from worker.lab.sandbox.statistics import Page, calls, counts, history

_REFERENCE = "{reference}"
_SHIPMENTS = TypeAdapter(list[Described])
_FAULTS = TypeAdapter(list[Fault])


@dataclass(frozen=True, kw_only=True, slots=True)
class ControlRequest:
    """One request; `segments` start after `_sandbox`, `at` is in Unix seconds."""

    method: str
    segments: Sequence[str]
    query: Mapping[str, str]
    body: bytes
    at: float


class Control:
    """Handles the requests under `/_sandbox`."""

    def __init__(self, depot: Depot, faults: Faults, first_key: str) -> None:
        """`first_key`: the key of shipments and histories for which none is given."""
        self._depot = depot
        self._faults = faults
        self._first_key = first_key
        self.routes: dict[tuple[str, ...], Callable[[ControlRequest], Reply]] = {
            ("GET", "health"): self._health,
            ("POST", "shipments"): self._create,
            ("GET", "shipments", _REFERENCE): self._history,
            ("POST", "faults"): self._add_faults,
            ("DELETE", "faults"): self._remove_faults,
            ("GET", "counts"): self._counts,
            ("GET", "calls"): self._calls,
        }

    def handle(self, request: ControlRequest) -> Reply:
        """The response to one request."""
        self._depot.settle(request.at)
        try:
            return self._routed(request)
        except ValidationError as error:
            # Without the input, which need not be text.
            problems = error.errors(include_url=False, include_context=False, include_input=False)
            return Reply(status=400, body=json.dumps(problems).encode())

    def _routed(self, request: ControlRequest) -> Reply:
        route = self.routes.get((request.method, *request.segments[:1], *[_REFERENCE] * len(request.segments[1:])))
        if route is None:
            return json_reply(404, {"message": "There is no such endpoint."})
        return route(request)

    def _health(self, _: ControlRequest) -> Reply:
        return json_reply(200, {"status": "ok"})

    def _create(self, request: ControlRequest) -> Reply:
        for each in _SHIPMENTS.validate_json(request.body):
            self._depot.describe(each.as_shipment(self._first_key, request.at))
        return Reply(status=204)

    def _history(self, request: ControlRequest) -> Reply:
        key = request.query.get("key", self._first_key)
        shipment = self._depot.shipments.get((key, request.segments[1]))
        if shipment is None:
            return json_reply(404, {"message": "No call has named the shipment."})
        return json_reply(200, history(shipment))

    def _add_faults(self, request: ControlRequest) -> Reply:
        self._faults.add(_FAULTS.validate_json(request.body))
        return Reply(status=204)

    def _remove_faults(self, _: ControlRequest) -> Reply:
        self._faults.clear()
        return Reply(status=204)

    def _counts(self, request: ControlRequest) -> Reply:
        return json_reply(200, counts(self._depot, request.query.get("key")))

    def _calls(self, request: ControlRequest) -> Reply:
        return Reply(status=200, body=calls(self._depot.log, Page.model_validate(dict(request.query))))
