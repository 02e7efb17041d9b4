"""A settled shipment leaves nothing for the garbage collector, which runs rarely: a child would keep thousands."""

import gc

from tasks.rules.shipment import Shipment
from tests.factories.ledger_harness import Harness
from tests.factories.raw_api import listening
from tests.factories.worker_child import none_in_flight, serve, write_merchant_file
from worker.processes.child import ChildRuntime


async def test_settled_shipments_are_freed(child: ChildRuntime, harness: Harness) -> None:
    """After their events are written, shipments are freed without a collection."""
    async with listening() as api:
        write_merchant_file(harness.settings, api.url)
        await harness.accept("acme", *(f"freed_{number}" for number in range(50)))
        gc.collect()
        gc.disable()
        try:
            await serve(child)
            await none_in_flight(child)
            left = [each.reference for each in gc.get_objects() if isinstance(each, Shipment)]
            assert [reference for reference in left if reference.startswith("freed_")] == []
        finally:
            gc.enable()
