"""The search for shipments: by reference, order number or event id."""

import tornado.web

from worker.ledger.records import Settled
from worker.observability.find_shipments import advice, find_shipments
from worker.observability.shipment_text import state
from worker.processes.flower.page import Page
from worker.streams.rejected import open_rejections


class ShipmentsPage(Page):
    """One shipment: its page. Several: a list. None: what to check."""

    async def get(self) -> None:
        """Arguments: `key`; `merchant`: only its shipments."""
        key, merchant = self.query("key"), self.query("merchant")
        if key is None:
            raise tornado.web.HTTPError(400, "key is needed: a reference, an order number or an event id")
        store, settings = self.sources.store, self.sources.settings
        found = await find_shipments(store, settings, key, merchant)
        if len(found.records) == 1:
            (record,) = found.records
            self.redirect(self.link("allocation_shipment", record.shipment.merchant, record.shipment.reference))
            return
        rejections = await open_rejections(store, settings) if found.rejected else []
        if not found.records:
            self.set_status(404)
        self.show(
            "shipments.html",
            key=key,
            found=found,
            rows=[
                (each, state(each), each.where.reason if isinstance(each.where, Settled) else "")
                for each in found.records
            ],
            with_page={each.rejected.stream_id for each in rejections},
            advice=[*advice(found)],
        )
