"""A shipment: state, plan, why it was chosen, and its history as a drawing and as a table."""

from urllib.parse import urlsplit

import tornado.web

from worker.ledger.records import Record, read_record
from worker.observability.files_of_records import read_files
from worker.observability.history import history_rows
from worker.observability.shipment_lines import shipment_lines
from worker.observability.shipment_text import state
from worker.processes.flower.page import Page
from worker.processes.flower.timeline import LANE, WIDTH, timeline


class ShipmentPage(Page):
    """Everything that `allocation explain` prints."""

    async def get(self, merchant: str, reference: str) -> None:
        """`merchant`, `reference`: which one."""
        store, settings = self.sources.store, self.sources.settings
        record = await read_record(store.redis, settings, merchant, reference)
        if record is None:
            raise tornado.web.HTTPError(404, "The ledger has no such shipment.")
        files = await read_files(store.redis, settings, [record])
        lines = [*shipment_lines(record, files)]
        self.show(
            "shipment.html",
            shipment=record.shipment,
            state=state(record),
            now=next(line.text for line in lines if line.name == "now"),
            lines=[line for line in lines if line.name != "now"],
            is_link=is_link,
            rows=[*history_rows(record)],
            drawing=timeline(record, files.retry(record)),
            width=WIDTH,
            lane=LANE,
            can_replay=self.can_act and is_failed(record),
        )


def is_failed(record: Record) -> bool:
    """Whether the shipment has failed, and its failure is not dismissed."""
    return state(record) == "failed" and record.dismissed is None


def is_link(href: object) -> bool:
    """Whether an address of the API may be a link: http or https, no other scheme."""
    try:
        parts = urlsplit(str(href))
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.netloc)
