"""v1 "consignments": routes requests and builds responses in JSON or XML."""

from collections.abc import Callable
from functools import partial
from typing import ClassVar, Literal

from worker.lab.sandbox.allocate import Pick, Result, allocate, by_group
from worker.lab.sandbox.catalogue import OUTBOUND
from worker.lab.sandbox.effect import AT_ONCE, Effect, Special
from worker.lab.sandbox.http_types import ApiError, Endpoint, Incoming, Reply, Tree, json_reply
from worker.lab.sandbox.labels import CONTENT_TYPES, NO_SUCH_LABEL
from worker.lab.sandbox.options import Options
from worker.lab.sandbox.shipments import Depot
from worker.lab.sandbox.state import WRONG_STATE, SimulatedShipment
from worker.lab.sandbox.v1_bodies import JSON_STYLE, XML_STYLE, Style, outcome_summary, status_of, summary
from worker.lab.sandbox.v1_many import STRATEGIES, Many, read_many
from worker.lab.sandbox.v1_resources import consignment, consignment_status, labels, quotes
from worker.lab.sandbox.xml import xml_text

ROOTS = frozenset({"allocation", "consignments", "quotes"})
"""The first path segments that only v1 has."""

_NAMESPACE = "http://electioapp.com/schemas/v1.1/MPD.Electio.SDK.DataTypes"
_NO_SUCH_ENDPOINT = ApiError(status=404, code="not_found", message="There is no such endpoint.")

Show = Callable[[SimulatedShipment, float], Reply]
"""Builds the response that shows the present state of a shipment."""


class V1:
    """The routes of v1."""

    key_header: ClassVar[str] = "ocp-apim-subscription-key"
    version_header: ClassVar[str] = "electio-api-version"

    def __init__(self, depot: Depot, options: Options) -> None:
        """Serve the shipments of the depot as consignments."""
        self._depot = depot
        self._form = outcome_summary if options.v1_form == "is_success" else summary
        self._explains = options.v1_refusal_body

    def endpoint(self, request: Incoming) -> Endpoint | Reply:
        """The endpoint of a request, or a 404 or 400."""
        match request.method, *request.segments:
            case "PUT", "allocation", strategy if strategy in STRATEGIES:
                return self._many_endpoint(request, strategy)
            case "PUT", "allocation", reference, "allocatewithcheapestquote":
                return self._one_endpoint(request, reference, OUTBOUND)
            case "PUT", "allocation", reference, "allocatewithservicegroup", group:
                return self._one_endpoint(request, reference, by_group(group))
            case "PUT", "allocation", reference, "allocatewithquote", quote:
                act = partial(self._allocate_quoted, request, reference, quote)
                return Endpoint(kind="allocate", references=(reference,), act=act)
            case "GET", "quotes", "consignment", reference:
                return self._shown("quote", request, reference, partial(self._quotes, request))
            case "GET", "consignments", reference:
                return self._shown("read", request, reference, partial(self._consignment, request))
            case "GET", "consignments", reference, "status":
                return self._shown("read", request, reference, partial(self._status, request))
            case "GET", "labels", reference:
                return self._label_endpoint(request, reference, "pdf")
            case "GET", "labels", reference, form:
                return self._label_endpoint(request, reference, form)
            case _:
                return self.error(_NO_SUCH_ENDPOINT)

    def error(self, error: ApiError) -> Reply:
        """The error as the gateway in front of v1 sends it; v1 itself documents no error body."""
        tree: Tree = {"statusCode": error.status, "message": error.message}
        return json_reply(error.status, tree, retry_after_s=error.retry_after_s)

    def _one_endpoint(self, request: Incoming, reference: str, pick: Pick) -> Endpoint:
        act = partial(self._allocate, request, reference, pick)
        return Endpoint(kind="allocate", references=(reference,), act=act)

    def _allocate(self, request: Incoming, reference: str, pick: Pick, now: float, special: Special) -> Reply:
        result = self._result(request, reference, pick, now, special.get(reference, AT_ONCE))
        status = status_of(result)
        if isinstance(result, ApiError) and not self._explains:
            return Reply(status=status)
        return _written(status, request, "Consignments", "AllocationSummary", self._summary(request, reference, result))

    def _allocate_quoted(self, request: Incoming, reference: str, quote: str, now: float, special: Special) -> Reply:
        pick = self._depot.quoted(request.key, reference, quote, now)
        return self._allocate(request, reference, pick, now, special)

    def _result(self, request: Incoming, reference: str, pick: Pick, now: float, effect: Effect) -> Result:
        return allocate(self._depot, key=request.key, reference=reference, pick=pick, now=now, effect=effect)

    def _summary(self, request: Incoming, reference: str, result: Result) -> Tree:
        if request.xml_out:
            return summary(reference, result, request.base, XML_STYLE)
        return self._form(reference, result, request.base, JSON_STYLE)

    def _many_endpoint(self, request: Incoming, strategy: str) -> Endpoint | Reply:
        wanted = read_many(strategy, request)
        if isinstance(wanted, ApiError):
            return self.error(wanted)
        act = partial(self._many, request, wanted)
        return Endpoint(kind="allocate", references=wanted.references, act=act, in_order=True)

    def _many(self, request: Incoming, wanted: Many, now: float, special: Special) -> Reply:
        entries: list[Tree] = []
        for reference in wanted.references:
            effect = special.get(reference, AT_ONCE)
            if effect.kind == "skipped":
                continue
            result = self._result(request, reference, wanted.pick, now, effect)
            if effect.listed:
                entries.append(self._summary(request, reference, result))
        return _written(200, request, "Consignments", "ArrayOfAllocationSummary", entries)

    def _shown(
        self, kind: Literal["read", "quote", "label"], request: Incoming, reference: str, show: Show
    ) -> Endpoint:
        return Endpoint(kind=kind, references=(reference,), act=partial(self._show, request, reference, show))

    def _show(self, request: Incoming, reference: str, show: Show, now: float, _special: Special) -> Reply:
        found = self._depot.find(request.key, reference, now)
        return self.error(found) if isinstance(found, ApiError) else show(found, now)

    def _quotes(self, request: Incoming, shipment: SimulatedShipment, now: float) -> Reply:
        self._depot.quote(shipment, OUTBOUND, now)
        return _written(200, request, "Quotes", "QuotesResponse", quotes(shipment, self._depot.serial(), now))

    def _consignment(self, request: Incoming, shipment: SimulatedShipment, _now: float) -> Reply:
        return _written(200, request, "Consignments", "Consignment", consignment(shipment, _style(request)))

    def _status(self, request: Incoming, shipment: SimulatedShipment, _now: float) -> Reply:
        return _written(200, request, "Consignments", "ConsignmentStatus", consignment_status(shipment, request.base))

    def _label_endpoint(self, request: Incoming, reference: str, form: str) -> Endpoint | Reply:
        if form not in CONTENT_TYPES:
            return self.error(NO_SUCH_LABEL)
        return self._shown("label", request, reference, partial(self._label, request, form))

    def _label(self, request: Incoming, form: str, shipment: SimulatedShipment, now: float) -> Reply:
        if shipment.allocation is None:
            return self.error(WRONG_STATE)
        shipment.read_label(now)
        return _written(200, request, "LabelGeneration", "GetLabelsResponse", labels(shipment.reference, form))


def _style(request: Incoming) -> Style:
    return XML_STYLE if request.xml_out else JSON_STYLE


def _written(status: int, request: Incoming, space: str, root: str, tree: Tree) -> Reply:
    """The tree in the format that was requested."""
    if not request.xml_out:
        return json_reply(status, tree)
    text = xml_text(root, f"{_NAMESPACE}.{space}", tree)
    return Reply(status=status, body=text.encode(), content_type="application/xml")
