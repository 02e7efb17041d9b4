"""Who shares a fallback chain, and what its next link is told."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from tasks.ports import Handover
from tasks.shipment import Shipment


def by_way(shipments: Sequence[Shipment]) -> list[list[Shipment]]:
    """Shipments grouped by the steps that lie before them: each group can share a chain."""
    ways: dict[Any, list[Shipment]] = defaultdict(list)
    for shipment in shipments:
        ways[shipment.progress.step, shipment.steps[shipment.progress.step :]].append(shipment)
    return list(ways.values())


def handover(shipments: Sequence[Shipment], token: str) -> Handover:
    """What the next link of a chain is told about shipments that stand at the same step."""
    first = shipments[0]
    return Handover(
        merchant=first.merchant,
        shipments=len(shipments),
        strategy=str(first.strategy),
        step=first.progress.step,
        token=token,
        references=tuple(shipment.reference for shipment in shipments),
    )
