"""Building and parsing API responses."""

import json
from datetime import UTC, datetime
from typing import Any

from config.strategies.carrier_service import CarrierService
from config.strategies.cheapest_quote import CheapestQuote
from config.strategies.default_rules import DefaultRules
from config.strategies.filters import Filters, ServiceFilters
from config.strategies.quote import Quote
from config.strategies.service_group import ServiceGroup
from config.strategies.strategy import Strategy
from config.strategies.virtual_service import VirtualService
from tasks.rules.outcome import Outcome
from worker.carrier_api.response import ApiResponse
from worker.carrier_api.v1.dialect import ConsignmentsV1
from worker.carrier_api.v2.dialect import ShipmentsV2

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
REF = "sp_00802615769404976542730318118912"
OTHER = "sp_00794355402411366010308868571136"
EC = "EC-000-05A-Z6S"
V2, V1 = ShipmentsV2(), ConsignmentsV1()

VIRTUAL = VirtualService(virtual_service="FF_LINET-00001")
SERVICE = CarrierService(carrier_service="FF_LINET-00001")
GROUP = ServiceGroup(service_group="freight")
DEFAULT = DefaultRules(default_rules=True)
CHEAPEST = CheapestQuote(cheapest_quote=True)
FILTERS = Filters(filters=ServiceFilters(direction="outbound", pickup=False, drop_off=True))
QUOTE = Quote(quote="earliest")
ALL: tuple[Strategy, ...] = (VIRTUAL, SERVICE, GROUP, DEFAULT, CHEAPEST, FILTERS, QUOTE)


def api_response(status: int, body: Any = b"", **more: Any) -> ApiResponse:
    """A response; a body that is not bytes is encoded as JSON."""
    return ApiResponse(status=status, body=body if isinstance(body, bytes) else json.dumps(body).encode(), **more)


def api_error(status: int, *children: str, parent: str | None = None, **headers: str) -> ApiResponse:
    """A v2 error with these child codes."""
    details = [{"code": child, "message": f"about {child}"} for child in children]
    return api_response(
        status, {"code": parent, "message": "no", "correlation_id": "c-1", "details": details}, **headers
    )


def v2(response: ApiResponse, strategy: Strategy = VIRTUAL) -> Outcome:
    """The v2 outcome of one shipment."""
    return V2.read(strategy, [REF], response, NOW)[REF]


def v1(response: ApiResponse) -> Outcome:
    """The v1 outcome of one consignment."""
    return V1.read(DEFAULT, [EC], response, NOW)[EC]
