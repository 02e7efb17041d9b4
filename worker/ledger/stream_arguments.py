"""Arguments and rows of the scripts that read and write streams; see `worker.ledger.arguments`."""

from typing import NamedTuple


class AcceptArgs(NamedTuple):
    """Counts of the rows that follow; `ignored`: events of other types. `index_s`: how long orders are indexed."""

    group: str
    shipments: int
    rejected: int
    ignored: int
    index_s: int


class AcceptedRow(NamedTuple):
    """A shipment of an accepted order."""

    merchant: str
    reference: str
    intake: str
    published: str
    strategy: str
    earliest_at: int
    order: str
    event_id: str


class RejectedRow(NamedTuple):
    """An event for the rejected stream. `event_base64`: its bytes, where `event` cannot hold them; else ''.

    `merchant`: as the event names it, of an event that names a valid one; else ''.
    """

    stream_id: str
    event: str
    reason: str
    error: str
    event_base64: str = ""
    merchant: str = ""


class RequeueRejectedRow(NamedTuple):
    """A rejected event to publish again. `member`: of the sorted set `rejected`."""

    member: str
    event: bytes


class NoArgs(NamedTuple):
    """A script with rows only."""


class ReadArgs(NamedTuple):
    """See read_orders.lua."""

    group: str
    consumer: str
    max_entries: int
    max_bytes: int
    max_value_bytes: int


class ReclaimArgs(NamedTuple):
    """See reclaim_orders.lua."""

    group: str
    consumer: str
    idle_ms: int
    start: str | bytes
    limit: int
    max_value_bytes: int


class ConsumersArgs(NamedTuple):
    """See remove_consumers.lua."""

    group: str
    idle_ms: int


class GroupArgs(NamedTuple):
    """See count_lost_orders.lua."""

    group_name: str
