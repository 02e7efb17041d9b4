"""Shipments with a scheduled recheck, and an API that names their carrier."""

import json
from pathlib import Path
from typing import Any

from tasks.rules.shipment import Shipment
from tests.factories.ledger_harness import Harness
from tests.factories.raw_api import Handler, RawApi, listening, response
from tests.factories.worker_child import FILE
from worker.ledger.records import read_record
from worker.observability.overview import read_overview
from worker.processes.rechecks import Rechecks

DUE = "allocation:rechecks"


def response_with_carrier(service: str | None) -> bytes:
    """A response that names the carrier of a shipment."""
    body: dict[str, Any] = {"state": "allocated", "reference": "a"}
    if service:
        body["allocation"] = {"carrier": {"reference": service[0], "service_reference": service}}
    return response(200, json.dumps(body).encode())


def event(service: str | None) -> str:
    """The event that was published when the shipment was settled."""
    carrier = {"reference": service[0], "service_reference": service} if service else None
    return json.dumps({"id": "acme/a/allocated", "data": {"carrier": carrier}})


async def allocated_shipment(harness: Harness, service: str | None = "X1", *, again: bool = True) -> Shipment:
    """An allocated shipment whose recheck is due."""
    claim = await harness.claim("acme", "a")
    held = claim.shipments[0].with_progress(repeated_calls=1, entries=1)
    due = 1.0 if again else 0.0
    published = {"entry": {"action": "allocate"}, "api": "api", "signal": "good", "repeated_calls": int(again)}
    await harness.report_of([held], claim.lease_token, "allocated", event=event(service), due=due, **published)
    return held


async def run_rechecks(rechecks: Rechecks) -> None:
    """Run the due rechecks."""
    rechecks.start()
    assert rechecks._working is not None
    await rechecks._working


async def is_scheduled(harness: Harness) -> bool:
    """Whether a recheck of the shipment is scheduled."""
    return await harness.raw.zscore(DUE, "acme:a") is not None


async def last_entry(harness: Harness) -> dict[str, Any]:
    """The last entry of its history."""
    record = await read_record(harness.redis, harness.settings, "acme", "a")
    assert record is not None
    return record.history[-1][1]


async def recheck_counts(harness: Harness) -> tuple[int, int]:
    """Number of repeated calls, and of changed carriers."""
    (counts,) = (await read_overview(harness.store, harness.settings)).merchants
    return counts.repeated_calls, counts.carrier_changed


def write_merchant_file(folder: Path, api: RawApi, in_flight: int = 0) -> None:
    """Write the merchant file."""
    (folder / "acme.toml").write_text(FILE.format(url=api.url, in_flight=in_flight))


async def recheck_with(harness: Harness, rechecks: Rechecks, handler: Handler) -> list[str]:
    """Run the due rechecks with an API that responds so; returns its requests."""
    async with listening(handler) as api:
        write_merchant_file(harness.settings.merchants_dir, api)
        rechecks._merchants._looked_at = float("-inf")
        await run_rechecks(rechecks)
        return [f"{request.method} {request.target}" for request in api.requests]
