"""The sandbox as an HTTP server: it takes requests, lets time pass and faults strike, and answers."""

import asyncio
import signal
import sys
import time
from dataclasses import dataclass
from urllib.parse import unquote

import uvloop
from aiohttp import hdrs, web

from worker.lab.sandbox import connection
from worker.lab.sandbox.control import Control
from worker.lab.sandbox.effect import courses
from worker.lab.sandbox.fault import Fault
from worker.lab.sandbox.fault_effects import carried_out
from worker.lab.sandbox.fault_responses import damaged, inadmissible
from worker.lab.sandbox.faults import Faults, Struck
from worker.lab.sandbox.http_types import Endpoint, Flavour, Reply, Trouble
from worker.lab.sandbox.listening import EagerSite
from worker.lab.sandbox.options import Options
from worker.lab.sandbox.shipments import Depot
from worker.lab.sandbox.state import ReceivedCall
from worker.lab.sandbox.v1 import ROOTS, V1
from worker.lab.sandbox.v2 import V2

_PREFIXES = frozenset({"pro", "prosandbox"})
_CONTROL = "_sandbox"
_LARGEST_BODY = 64 * 1024 * 1024
_LAST_WORDS_S = 0.1
"""How long an answer that is under way may take when the sandbox stops."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Visit:
    """One admitted request for an endpoint."""

    request: web.Request
    flavour: Flavour
    key: str
    endpoint: Endpoint


class Sandbox:
    """The simulated API behind one handler. It finds its way by itself: a router costs more than the allocation."""

    def __init__(self, options: Options) -> None:
        """Start with no shipments and no faults."""
        self._keys = frozenset(options.keys)
        self._latency_s = options.latency_s
        self._depot = Depot(options)
        self._faults = Faults(options.seed)
        self._control = Control(self._depot, self._faults, options.keys[0])
        self._v1 = V1(self._depot, options)
        self._v2 = V2(self._depot)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer any request."""
        path = request.raw_path.partition("?")[0]
        segments = path[1:].split("/")
        if "%" in path:
            segments = [unquote(each) for each in segments]
        if segments[0] == _CONTROL:
            return await self._ask_control(request, segments[1:])
        if request.method == hdrs.METH_PUT:
            self._depot.puts += 1
        visit = await self._admit(request, segments)
        return connection.whole(visit) if isinstance(visit, Reply) else await self._serve(visit)

    async def _ask_control(self, request: web.Request, segments: list[str]) -> web.Response:
        asked = request.method, segments, request.query, await request.read()
        return connection.whole(self._control.answer(*asked, time.time()))

    async def _admit(self, request: web.Request, segments: list[str]) -> Visit | Reply:
        prefix = ""
        if segments[0] in _PREFIXES:
            prefix, segments = f"/{segments[0]}", segments[1:]
        flavour = self._v2 if prefix else self._unprefixed(request, segments[0])
        key = request.headers.get(flavour.key_header, "")
        trouble = inadmissible(key, request.headers.get(flavour.version_header), self._keys)
        if trouble is not None:
            return self._turn_away(request, key, flavour.error(trouble))
        endpoint = flavour.endpoint(
            await connection.read(request, segments, key, f"{request.scheme}://{request.host}{prefix}")
        )
        if isinstance(endpoint, Reply):
            return self._turn_away(request, key, endpoint)
        return Visit(request=request, flavour=flavour, key=key, endpoint=endpoint)

    def _turn_away(self, request: web.Request, key: str, reply: Reply) -> Reply:
        """Note a request that reaches no shipment."""
        now = time.time()
        self._depot.settle(now)
        call = ReceivedCall(at=now, key=key, kind="other", method=request.method, path=request.raw_path)
        call.status, call.answered_at = reply.status, now
        self._depot.note(call)
        return reply

    def _unprefixed(self, request: web.Request, first: str) -> Flavour:
        """Both generations have labels: the header with the key tells which is meant."""
        if first in ROOTS or (first == "labels" and V1.key_header in request.headers):
            return self._v1
        return self._v2

    async def _serve(self, visit: Visit) -> web.StreamResponse:
        """Note the call, let time pass, act, answer; unless a fault comes between."""
        struck = self._faults.strike(visit.endpoint.kind, visit.endpoint.references)
        call = self._note(visit, struck)
        if self._latency_s:
            await asyncio.sleep(self._latency_s)
        if struck.whole is not None:
            return await self._suffer(visit, struck.whole, call)
        return _answered(visit.endpoint.act(self._arrive(visit), courses(struck)), call)

    def _note(self, visit: Visit, struck: Struck) -> ReceivedCall:
        """Write the call down, with the states that it finds, before anything can go wrong."""
        now, request, endpoint = time.time(), visit.request, visit.endpoint
        self._depot.settle(now)
        if endpoint.kind == "read":
            self._depot.reads += 1
        call = ReceivedCall(
            at=now,
            key=visit.key,
            kind=endpoint.kind,
            method=request.method,
            path=request.raw_path,
            references=endpoint.references,
            struck=struck,
        )
        self._depot.note(call)
        return call

    def _arrive(self, visit: Visit) -> float:
        """The call reaches the API: what is due by now is decided, and a repeated allocation is counted."""
        now = time.time()
        self._depot.settle(now)
        if visit.endpoint.kind == "allocate":
            self._depot.count_repeats(visit.key, visit.endpoint.references)
        return now

    async def _suffer(self, visit: Visit, fault: Fault, call: ReceivedCall) -> web.StreamResponse:
        """Let the fault strike, before or after the API takes the call."""
        if not fault.acts:
            await asyncio.sleep(fault.latency_s)
        reply = carried_out(visit.endpoint, fault, call.struck, self._arrive(visit))
        if fault.acts:
            await asyncio.sleep(fault.latency_s)
        match fault.fault:
            case "drop":
                return connection.none(visit.request)
            case "hang":
                return await connection.never(visit.request)
            case "cut":
                return await connection.half(visit.request, reply)
            case _:
                return _answered(_instead(visit.flavour, fault) or reply, call)


def _instead(flavour: Flavour, fault: Fault) -> Reply | None:
    answer = damaged(fault)
    return flavour.error(answer) if isinstance(answer, Trouble) else answer


def _answered(reply: Reply, call: ReceivedCall) -> web.Response:
    call.status, call.answered_at = reply.status, time.time()
    return connection.whole(reply)


def build(options: Options) -> web.Application:
    """The sandbox as an application with one catch-all route."""
    application = web.Application(client_max_size=_LARGEST_BODY)
    application.router.add_route(hdrs.METH_ANY, "/{path:.*}", Sandbox(options).handle)
    return application


def runner(options: Options) -> web.AppRunner:
    """The application and the limits of its connections, not listening yet."""
    return web.AppRunner(
        build(options), access_log=None, keepalive_timeout=options.keepalive_s, shutdown_timeout=_LAST_WORDS_S
    )


def serve(*, host: str = "127.0.0.1", port: int = 0, options: Options | None = None) -> None:
    """Serve until SIGTERM or SIGINT; port 0 is any free one. One line on stdout says where, once it can be called."""
    uvloop.run(_serve(host, port, options or Options()))


async def _serve(host: str, port: int, options: Options) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    running = runner(options)
    await running.setup()
    site = EagerSite(running, host, port)
    await site.start()
    sys.stdout.write(f"sandbox listening on http://{host}:{site.port}\n")
    sys.stdout.flush()
    await stop.wait()
    await running.cleanup()
