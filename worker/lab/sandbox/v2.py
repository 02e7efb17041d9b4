"""v2 "shipments": routes requests and builds responses. Synchronous; the server does the waiting."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import ClassVar, assert_never

from worker.lab.sandbox.allocate import Pick, Result, Waiting, WasAllocated, allocate, by_group, by_service, by_virtual
from worker.lab.sandbox.catalogue import OUTBOUND, Exclusion, excluded
from worker.lab.sandbox.effect import AT_ONCE, Special, queued_effect
from worker.lab.sandbox.http_types import ApiError, Detail, Endpoint, Incoming, Reply, json_reply
from worker.lab.sandbox.labels import CONTENT_TYPES, DPI, NO_SUCH_LABEL
from worker.lab.sandbox.shipments import Depot
from worker.lab.sandbox.state import WRONG_STATE
from worker.lab.sandbox.v2_bodies import allocated, error_body, filtered, many, queued
from worker.lab.sandbox.v2_many import PARTLY, Many, Strategy, read_many
from worker.lab.sandbox.v2_resources import document, quote_result, shipment_resource

_PICKERS: dict[str, Callable[[str], Pick]] = {
    "virtual_service": by_virtual,
    "service": by_service,
    "service_group": by_group,
}
_NO_SUCH_ENDPOINT = ApiError(status=404, code="not_found", message="There is no such endpoint.")


class V2:
    """The routes of v2."""

    key_header: ClassVar[str] = "x-api-key"
    version_header: ClassVar[str] = "x-api-version"

    def __init__(self, depot: Depot) -> None:
        """Serve the shipments of the depot."""
        self._depot = depot

    def endpoint(self, request: Incoming) -> Endpoint | Reply:
        """The endpoint of a request, or a 404 or 400."""
        match request.method, *request.segments:
            case "PUT", "shipments", reference, "allocate", "quote", quote:
                act = partial(self._allocate_quoted, request, reference, quote)
                return Endpoint(kind="allocate", references=(reference,), act=act)
            case "PUT", "shipments", reference, "allocate", strategy, argument if strategy in _PICKERS:
                act = partial(self._allocate, request, reference, _PICKERS[strategy](argument))
                return Endpoint(kind="allocate", references=(reference,), act=act)
            case "GET", "shipments", reference:
                return Endpoint(kind="read", references=(reference,), act=partial(self._read, request, reference))
            case "POST", "shipments", reference, "quote":
                return Endpoint(kind="quote", references=(reference,), act=partial(self._quote, request, reference))
            case "PUT", "shipments", "allocate":
                return self._many_endpoint(request, "default")
            case "PUT", "shipments", "allocate", "service" | "service_group" | "filters" as strategy:
                return self._many_endpoint(request, strategy)
            case "GET", "labels", reference, form:
                return self._label_endpoint(request, reference, form, "203")
            case "GET", "labels", reference, form, dpi:
                return self._label_endpoint(request, reference, form, dpi)
            case _:
                return self.error(_NO_SUCH_ENDPOINT)

    def error(self, error: ApiError) -> Reply:
        """The error as an ApiError."""
        tree = error_body(error, self._depot.serial(), self._correlation())
        return json_reply(error.status, tree, retry_after_s=error.retry_after_s)

    def _correlation(self) -> str:
        return f"sandbox-{self._depot.serial():012d}"

    def _allocate(self, request: Incoming, reference: str, pick: Pick, now: float, special: Special) -> Reply:
        effect = special.get(reference, AT_ONCE)
        result = allocate(self._depot, key=request.key, reference=reference, pick=pick, now=now, effect=effect)
        return self._result(result, request.base)

    def _allocate_quoted(self, request: Incoming, reference: str, quote: str, now: float, special: Special) -> Reply:
        pick = self._depot.quoted(request.key, reference, quote, now)
        return self._allocate(request, reference, pick, now, special)

    def _result(self, result: Result, base: str) -> Reply:
        match result:
            case WasAllocated():
                return Reply(status=200, body=allocated(result, base, self._correlation()))
            case Waiting():
                return json_reply(202, queued(result.shipment.reference, base, self._correlation()))
            case ApiError():
                return self.error(result)
            case _:
                assert_never(result)

    def _read(self, request: Incoming, reference: str, now: float, _special: Special) -> Reply:
        found = self._depot.find(request.key, reference, now)
        if isinstance(found, ApiError):
            return self.error(found)
        return json_reply(200, shipment_resource(found, request.base))

    def _quote(self, request: Incoming, reference: str, now: float, _special: Special) -> Reply:
        shipment = self._depot.gate(request.key, reference, now)
        if isinstance(shipment, ApiError):
            return self.error(shipment)
        exclusions = excluded(OUTBOUND, shipment.facts)
        if not self._depot.quote(shipment, OUTBOUND, now):
            return self.error(_no_quotes(exclusions))
        return json_reply(201, quote_result(shipment, exclusions, self._depot.serial(), request.base, now))

    def _label_endpoint(self, request: Incoming, reference: str, form: str, dpi: str) -> Endpoint | Reply:
        if form not in CONTENT_TYPES or not DPI.fullmatch(dpi):
            return self.error(NO_SUCH_LABEL)
        act = partial(self._label, request, reference, form, int(dpi))
        return Endpoint(kind="label", references=(reference,), act=act)

    def _label(self, request: Incoming, reference: str, form: str, dpi: int, now: float, _special: Special) -> Reply:
        shipment = self._depot.find(request.key, reference, now)
        if isinstance(shipment, ApiError):
            return self.error(shipment)
        if shipment.allocation is None:
            return self.error(WRONG_STATE)
        shipment.read_label(now)
        return json_reply(200, document(reference, form, dpi))

    def _many_endpoint(self, request: Incoming, strategy: Strategy) -> Endpoint | Reply:
        wanted = read_many(strategy, request.body)
        if isinstance(wanted, ApiError):
            return self.error(wanted)
        return Endpoint(kind="allocate", references=wanted.references, act=partial(self._many, request, wanted))

    def _many(self, request: Incoming, wanted: Many, now: float, special: Special) -> Reply:
        if isinstance(wanted.pick, ApiError):
            return self.error(wanted.pick)
        accepted: list[str] = []
        rejected: dict[ApiError, list[str]] = {}
        for reference, result in self._was_allocated(request, wanted, now, special):
            if isinstance(result, ApiError):
                rejected.setdefault(result, []).append(reference)
            else:
                accepted.append(reference)
        status = PARTLY[wanted.strategy] if rejected else 202
        if wanted.strategy == "filters":
            return json_reply(status, filtered(accepted, self._depot.serial(), request.base))
        return json_reply(status, many(accepted, rejected, request.base))

    def _was_allocated(
        self, request: Incoming, wanted: Many, now: float, special: Special
    ) -> Iterator[tuple[str, Result]]:
        """Queue every shipment of a call; the results of those that the response lists."""
        for reference in wanted.references:
            effect = queued_effect(special.get(reference, AT_ONCE))
            if effect.kind == "skipped":
                continue
            key, pick = request.key, wanted.pick
            result = allocate(self._depot, key=key, reference=reference, pick=pick, now=now, effect=effect)
            if effect.listed:
                yield reference, result


def _no_quotes(exclusions: tuple[Exclusion, ...]) -> ApiError:
    """Status 531, with each service and why it does not quote."""
    details = tuple(Detail(code=each.code, message=each.reason, concerns=each.service.reference) for each in exclusions)
    message = "No quotes are available for the shipment."
    return ApiError(status=531, code="no_quotes_available", message=message, details=details)
