"""What the sandbox reports about calls and shipments; docs/sandbox.md documents every key."""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from worker.lab.sandbox.faults import CallFaults
from worker.lab.sandbox.http_types import Tree, timestamp
from worker.lab.sandbox.log import Log
from worker.lab.sandbox.shipments import Depot
from worker.lab.sandbox.state import Acted, ReceivedCall, SimulatedShipment

Number = Annotated[int, Field(ge=0, le=sys.maxsize)]
"""Of an entry, or of entries."""


class Page(BaseModel):
    """The requested part of the log."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    key: str | None = None
    since: Number = 0
    limit: Number | None = None


def history(shipment: SimulatedShipment) -> Tree:
    """One shipment's history."""
    return {
        "reference": shipment.reference,
        "state": shipment.state,
        "allocations": shipment.allocations,
        "blind_repeats": shipment.blind_repeats,
        "calls": [
            {
                "time": timestamp(call.at),
                "method": call.method,
                "path": call.path,
                "status": call.status,
                "fault": call.struck.name_for(shipment.reference),
            }
            for call in shipment.calls
        ],
    }


def counts(depot: Depot, key: str | None) -> Tree:
    """Totals, for one key or for all; of constant size unless something went wrong."""
    shipments = [each for each in depot.shipments.values() if key in {None, each.key}]
    unusual = sorted((each for each in shipments if each.allocations != 1), key=lambda each: each.allocations)
    return {
        "allocated": sum(each.allocations > 0 for each in shipments),
        # Two merchants may have the same reference: the greater count is reported.
        "allocations": {each.reference: each.allocations for each in unusual},
        "allocated_twice": [each.reference for each in unusual if each.allocations > 1],
        "blind_repeats": [each.reference for each in shipments for _ in range(each.blind_repeats)],
        "pending_late": depot.pending_actions.pending(key),
        "puts": depot.puts,
        "reads": depot.reads,
        "shipments": Counter(each.state for each in shipments),
    }


def calls(log: Log, page: Page) -> bytes:
    """The entries of a page as a JSON list."""
    return json.dumps(list(islice(_entries(log, page), page.limit)), separators=(",", ":")).encode()


def _entries(log: Log, page: Page) -> Iterator[dict[str, Any]]:
    for number, entry in log.since(page.since):
        if page.key in {None, entry.key}:
            yield {"n": number, "time": entry.at, **(_acted(entry) if isinstance(entry, Acted) else _call(entry))}


def _acted(acted: Acted) -> dict[str, Any]:
    return {
        "kind": "acted",
        "reference": acted.reference,
        "state_before": acted.before,
        "state": acted.after,
    }


def _call(call: ReceivedCall) -> dict[str, Any]:
    return {
        "kind": call.kind,
        "method": call.method,
        "path": call.path,
        "references": call.references,
        "state_before": call.before,
        "status": call.status,
        "answered_at": call.answered_at,
        **_went_wrong(call.struck),
    }


def _went_wrong(struck: CallFaults) -> dict[str, Any]:
    """The fault of the whole call, or the first one of a shipment in it; then all of the latter."""
    if not struck.single:
        return {"fault": struck.whole.fault if struck.whole else None}
    names = {reference: hit.fault.fault for reference, hit in struck.single.items()}
    return {"fault": struck.whole.fault if struck.whole else next(iter(names.values())), "struck": names}
