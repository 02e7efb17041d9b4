"""Ledger records for the tests."""

import json
from functools import lru_cache
from typing import Any

from config.merchant_files.merchant_file import Merchant
from config.strategies.catalogue import AnyStrategy
from config.strategies.cheapest_quote import CheapestQuote
from config.strategies.default_rules import DefaultRules
from config.strategies.filters import Filters, ServiceFilters
from config.strategies.quote import Quote
from tasks.rules.plan import Plan, facts_of
from tasks.rules.progress import Progress
from tasks.rules.shipment import Shipment, from_record, intake_record
from tests.factories.merchant_files import V2_API, file_of
from tests.factories.order_events import order
from tests.factories.shipments import GROUP, NOW, SERVICE, VIRTUAL

FILTERS = Filters(filters=ServiceFilters(direction="inbound", drop_off=False, tags=("Oil",)))
EVERY: tuple[AnyStrategy, ...] = (
    *(VIRTUAL, SERVICE, GROUP, FILTERS),
    *(DefaultRules(default_rules=True), CheapestQuote(cheapest_quote=True), Quote(quote="earliest")),
)


def record(**fields: Any) -> dict[str, Any]:
    """The record of a newly accepted shipment, with these fields."""
    accepted = order()
    facts = intake_record(
        accepted, facts_of(accepted.data, accepted.data.shipments[0]), plan(*EVERY), "shipments-v2", "0123456789ab"
    )
    return {"intake": facts.encode(), "received": str(round(NOW * 1000)).encode(), **fields}


def plan(*steps: AnyStrategy) -> Plan:
    """A plan with these steps."""
    return Plan(rule="heavy", why="weight_kg 25 is over 20", steps=steps)


def loaded_shipment(progress: Progress | str | None = None, **fields: Any) -> Shipment:
    """A shipment as loaded from the ledger by a task."""
    text = progress.as_json() if isinstance(progress, Progress) else progress
    return from_record("acme", "sp_1", record(progress=text and text.encode(), **fields))


PLANS = ('{ virtual_service = "V" }', '{ carrier_service = "S" }', '{ service_group = "G" }')


@lru_cache
def merchant(steps: int) -> Merchant:
    """A merchant whose file has this number of steps."""
    first, *others = PLANS[:steps]
    text = f"{V2_API}[allocation]\nstrategy = {first}\nfallback = [{', '.join(others)}]\n"
    return Merchant(name="acme", file=file_of(text), digest="d")


def new_record(steps: int) -> dict[str, Any]:
    """The record of a newly accepted shipment."""
    strategies = [json.loads(f'{{"{name}": {ref}}}') for name, ref in (plan[2:-2].split(" = ") for plan in PLANS)]
    facts = {"order": "1001", "event": "evt-1", "api": "shipments-v2", "rule": "default", "why": "", "facts": {}}
    return {"intake": json.dumps(facts | {"steps": strategies[:steps]}), "received": NOW * 1000, "reported_epoch": 0.0}
