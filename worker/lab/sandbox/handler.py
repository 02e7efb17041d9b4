"""Receives requests, applies latency and faults, and responds."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from aiohttp import hdrs, web

from worker.lab.sandbox import connection
from worker.lab.sandbox.control import Control, ControlRequest
from worker.lab.sandbox.effect import effects
from worker.lab.sandbox.fault import Fault
from worker.lab.sandbox.fault_effects import carry_out
from worker.lab.sandbox.fault_responses import damaged, reason_to_reject
from worker.lab.sandbox.faults import CallFaults, Faults
from worker.lab.sandbox.followed_orders import FollowedOrders
from worker.lab.sandbox.http_types import ApiError, Endpoint, Flavour, Reply
from worker.lab.sandbox.open_labels import OpenLabels
from worker.lab.sandbox.options import Options
from worker.lab.sandbox.orders import KnownOrders
from worker.lab.sandbox.shipments import Depot
from worker.lab.sandbox.state import PROCESSING, ReceivedCall
from worker.lab.sandbox.v1 import ROOTS, V1
from worker.lab.sandbox.v2 import V2

_PREFIXES = frozenset({"pro", "prosandbox"})
_CONTROL = "_sandbox"
_KEY_HEADERS = V1.key_header, V2.key_header


@dataclass(frozen=True, kw_only=True, slots=True)
class AcceptedCall:
    """One admitted request for an endpoint."""

    request: web.Request
    flavour: Flavour
    key: str
    endpoint: Endpoint


class Sandbox:
    """The simulated API behind one handler. It routes requests itself: a router costs more than the allocation."""

    def __init__(self, options: Options, orders: KnownOrders, followed: FollowedOrders | None) -> None:
        """Start with no shipments and no faults. `followed` reads further orders, if there is a stream to follow."""
        self._keys = frozenset(options.keys)
        self._latency_s = options.latency_s
        self._depot = Depot(options, orders)
        self._followed = followed
        self._faults = Faults(options.seed)
        self._control = Control(self._depot, self._faults, options.keys[0])
        self._v1 = V1(self._depot, options)
        self._v2 = V2(self._depot)
        self._open_labels = OpenLabels(self._depot, options.keys, self._v2.error)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Respond to any request."""
        path = request.raw_path.partition("?")[0]
        segments = path[1:].split("/")
        if "%" in path:
            segments = [unquote(each) for each in segments]
        if segments[0] == _CONTROL:
            return await self._serve_control(request, segments[1:])
        if request.method == hdrs.METH_PUT:
            self._depot.puts += 1
        accepted = await self._accept(request, segments)
        return connection.whole(accepted) if isinstance(accepted, Reply) else await self._serve(accepted)

    async def _serve_control(self, request: web.Request, segments: list[str]) -> web.Response:
        body = await connection.body_of(request)
        called = ControlRequest(
            method=request.method, segments=segments, query=request.query, body=body, at=time.time()
        )
        return connection.whole(self._control.handle(called))

    async def _accept(self, request: web.Request, segments: list[str]) -> AcceptedCall | Reply:
        prefix = ""
        if segments[0] in _PREFIXES:
            prefix, segments = f"/{segments[0]}", segments[1:]
        if _is_open_label(request, segments):
            return self._accept_open_label(request, segments)
        flavour = self._v2 if prefix else self._unprefixed(request, segments[0])
        key = request.headers.get(flavour.key_header, "")
        error = reason_to_reject(key, request.headers.get(flavour.version_header), self._keys)
        if error is not None:
            return self._reject(request, key, flavour.error(error))
        endpoint = flavour.endpoint(
            await connection.read(request, segments, key, f"{request.scheme}://{request.host}{prefix}")
        )
        if isinstance(endpoint, Reply):
            return self._reject(request, key, endpoint)
        if not await self._are_orders_read(key, endpoint.references):
            return self._reject(request, key, flavour.error(PROCESSING))
        return AcceptedCall(request=request, flavour=flavour, key=key, endpoint=endpoint)

    def _accept_open_label(self, request: web.Request, segments: list[str]) -> AcceptedCall | Reply:
        """A link to a label that a browser follows, without key and version."""
        found = self._open_labels.find(segments)
        if isinstance(found, ApiError):
            return self._reject(request, "", self._v2.error(found))
        return AcceptedCall(request=request, flavour=self._v2, key=found.key, endpoint=found.endpoint)

    async def _are_orders_read(self, key: str, references: Sequence[str]) -> bool:
        """Whether a shipment that the call creates gets the facts of its order, if that is in the stream."""
        if self._followed is None or all(self._depot.has_facts(key, each) for each in references):
            return True
        return await self._followed.read_to_end()

    def _reject(self, request: web.Request, key: str, reply: Reply) -> Reply:
        """Log a request that reaches no shipment."""
        now = time.time()
        self._depot.settle(now)
        call = ReceivedCall(at=now, key=key, kind="other", method=request.method, path=request.raw_path)
        call.status, call.answered_at = reply.status, now
        self._depot.note(call)
        return reply

    def _unprefixed(self, request: web.Request, first: str) -> Flavour:
        """Both generations have labels: the name of the key's header shows which one is meant."""
        if first in ROOTS or (first == "labels" and V1.key_header in request.headers):
            return self._v1
        return self._v2

    async def _serve(self, accepted: AcceptedCall) -> web.StreamResponse:
        """Log the call, wait, act and respond, unless a fault applies."""
        struck = self._faults.draw_for(accepted.endpoint.kind, accepted.endpoint.references)
        call = self._note(accepted, struck)
        if self._latency_s:
            await asyncio.sleep(self._latency_s)
        if struck.whole is not None:
            return await self._serve_with_fault(accepted, struck.whole, call)
        return _sent(accepted.endpoint.act(self._arrive(accepted), effects(struck)), call)

    def _note(self, accepted: AcceptedCall, struck: CallFaults) -> ReceivedCall:
        """Log the call with the present states before a fault can apply."""
        now, request, endpoint = time.time(), accepted.request, accepted.endpoint
        self._depot.settle(now)
        if endpoint.kind == "read":
            self._depot.reads += 1
        call = ReceivedCall(
            at=now,
            key=accepted.key,
            kind=endpoint.kind,
            method=request.method,
            path=request.raw_path,
            references=endpoint.references,
            struck=struck,
        )
        self._depot.note(call)
        return call

    def _arrive(self, accepted: AcceptedCall) -> float:
        """The call reaches the API: due actions are carried out, and a repeated allocation is counted."""
        now = time.time()
        self._depot.settle(now)
        if accepted.endpoint.kind == "allocate":
            self._depot.count_repeats(accepted.key, accepted.endpoint.references)
        return now

    async def _serve_with_fault(self, accepted: AcceptedCall, fault: Fault, call: ReceivedCall) -> web.StreamResponse:
        """Apply the fault, before or after the API acts on the call."""
        if not fault.acts:
            await asyncio.sleep(fault.latency_s)
        reply = carry_out(accepted.endpoint, fault, call.struck, self._arrive(accepted))
        if fault.acts:
            await asyncio.sleep(fault.latency_s)
        match fault.fault:
            case "drop":
                return connection.none(accepted.request)
            case "hang":
                return await connection.never(accepted.request)
            case "cut":
                return await connection.half(accepted.request, reply)
            case _:
                return _sent(_replacement(accepted.flavour, fault) or reply, call)


def _is_open_label(request: web.Request, segments: list[str]) -> bool:
    is_label = request.method == hdrs.METH_GET and segments[:1] == ["labels"]
    return is_label and not any(header in request.headers for header in _KEY_HEADERS)


def _replacement(flavour: Flavour, fault: Fault) -> Reply | None:
    replacement = damaged(fault)
    return flavour.error(replacement) if isinstance(replacement, ApiError) else replacement


def _sent(reply: Reply, call: ReceivedCall) -> web.Response:
    call.status, call.answered_at = reply.status, time.time()
    return connection.whole(reply)
