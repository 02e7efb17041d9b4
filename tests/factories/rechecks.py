"""Shipments whose carriers are read once more, and an API that says who has them."""

import json
from pathlib import Path
from typing import Any

from tasks.rules.shipment import Shipment
from tests.factories.ledger_harness import Harness
from tests.factories.raw_api import Handler, RawApi, listening, response
from tests.factories.worker_child import FILE
from worker.ledger.records import read_record
from worker.observability.overview import count_all
from worker.processes.rechecks import Rechecks

DUE = "allocation:rechecks"


def response_with_carrier(service: str | None) -> bytes:
    """An API that says who has a shipment."""
    body: dict[str, Any] = {"state": "allocated", "reference": "a"}
    if service:
        body["allocation"] = {"carrier": {"reference": service[0], "service_reference": service}}
    return response(200, json.dumps(body).encode())


def event(service: str | None) -> str:
    """What was told of it when it was settled."""
    carrier = {"reference": service[0], "service_reference": service} if service else None
    return json.dumps({"id": "acme/a/allocated", "data": {"carrier": carrier}})


async def allocated_shipment(harness: Harness, service: str | None = "X1", *, again: bool = True) -> Shipment:
    """A shipment that was allocated, and is to be read once more now."""
    claim = await harness.claim("acme", "a")
    held = claim.shipments[0].with_progress(repeated_calls=1, entries=1)
    due = 1.0 if again else 0.0
    told = {"entry": {"action": "allocate"}, "api": "api", "signal": "good", "repeated_calls": int(again)}
    await harness.report_of([held], claim.lease_token, "allocated", event=event(service), due=due, **told)
    return held


async def run_rechecks(rechecks: Rechecks) -> None:
    """Let the rechecks do what is due."""
    rechecks.start()
    assert rechecks._working is not None
    await rechecks._working


async def is_scheduled(harness: Harness) -> bool:
    """Whether the shipment is to be looked at again."""
    return await harness.raw.zscore(DUE, "acme:a") is not None


async def last_entry(harness: Harness) -> dict[str, Any]:
    """The last entry of its story."""
    record = await read_record(harness.redis, harness.settings, "acme", "a")
    assert record is not None
    return record.history[-1][1]


async def recheck_counts(harness: Harness) -> tuple[int, int]:
    """How many were asked for again, and how many of them have another carrier now."""
    (counts,) = (await count_all(harness.redis, harness.settings)).merchants
    return counts.repeated_calls, counts.carrier_changed


def write_merchant_file(folder: Path, api: RawApi, in_flight: int = 0) -> None:
    """Write the merchant's file."""
    (folder / "acme.toml").write_text(FILE.format(url=api.url, in_flight=in_flight))


async def recheck_with(harness: Harness, rechecks: Rechecks, answer: Handler) -> list[str]:
    """Let the rechecks do what is due with an API that answers so; what came in there."""
    async with listening(answer) as api:
        write_merchant_file(harness.settings.merchants_dir, api)
        rechecks._merchants._looked_at = float("-inf")
        await run_rechecks(rechecks)
        return [f"{request.method} {request.target}" for request in api.requests]
