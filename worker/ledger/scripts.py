"""The Lua scripts of the ledger: what each is made of, and the order of its arguments.

A `…Args` tuple comes first in a script's `ARGV`, rows follow. A test reads the scripts and compares the names.
"""

from functools import cached_property
from importlib import resources
from typing import NamedTuple


class LuaScript:
    """A script of `worker/ledger/lua` with the parts that it needs before it."""

    def __init__(self, name: str, *parts: str) -> None:
        """Nothing is read before it is used."""
        self.name = name
        self._parts = ("_prelude", *parts, name)

    @cached_property
    def text(self) -> str:
        """The whole script as the server runs it."""
        folder = resources.files("worker.ledger") / "lua"
        return "".join((folder / f"{part}.lua").read_text() for part in self._parts)


class AcceptArgs(NamedTuple):
    """Counts of the rows that follow; `ignored`: events of other types."""

    group: str
    shipments: int
    rejected: int
    ignored: int


class AcceptedRow(NamedTuple):
    """A shipment of an accepted order."""

    merchant: str
    reference: str
    intake: str
    published: str
    strategy: str
    earliest_at: int


class RejectedRow(NamedTuple):
    """An event for the rejected stream. `event_base64`: its bytes, where `event` cannot hold them; else ''."""

    stream_id: str
    event: str
    reason: str
    error: str
    event_base64: str = ""


class ClaimArgs(NamedTuple):
    """See claim.lua."""

    child: str
    claim_id: str
    lease_ms: int
    batch: int
    limit: int
    farthest_ms: int
    max_call_ms: int
    max_isolated: int
    republished_ms: int
    first_call_strategies: str
    is_empty: int
    is_starting: int
    min_room: int
    is_retry: int
    isolated_merchant: str
    isolated_reference: str


class ClaimedRow(NamedTuple):
    """A claimed shipment in a reply: fields of its record, except the last two.

    `in_doubt_since`: when the server changed, if a call from before may be forgotten; else 0. `is_permitted`: its first
    call may be made at once.
    """

    reference: bytes
    earliest_at: bytes
    intake: bytes
    received: bytes
    published: bytes | None
    progress: bytes | None
    step: bytes
    lost_call_at: bytes | None
    losses: bytes | None
    replays: bytes | None
    in_doubt_since: int
    is_permitted: int


class ClaimLinkArgs(NamedTuple):
    """See claim_link.lua."""

    claim_id: str
    lease_ms: int
    republished_ms: int


class LinkRow(NamedTuple):
    """A shipment of a link, with the lease token of the link's message."""

    merchant: str
    reference: str
    lease_token: str
    step: int


class PermitArgs(NamedTuple):
    """See permit.lua."""

    lease_ms: int
    max_wait_ms: int
    max_call_ms: int
    is_bulk: int


class PermitRow(NamedTuple):
    """A request for a permit."""

    merchant: str
    reference: str
    lease_token: str
    purpose: str
    per_second: float
    in_flight: int
    api: str


class RenewArgs(NamedTuple):
    """See renew.lua."""

    lease_ms: int


class RenewRow(NamedTuple):
    """A shipment whose lease is renewed."""

    merchant: str
    reference: str
    lease_token: str


class ReportArgs(NamedTuple):
    """See report.lua."""

    lease_ms: int
    keep_s: int


class ReportRow(NamedTuple):
    """The result of a shipment."""

    merchant: str
    reference: str
    lease_token: str
    verdict: str
    due_ms: int
    step: int
    progress: str
    strategy: str
    entry_field: str
    entry: bytes
    event: str
    reason: str
    api: str
    signal: str
    purpose: str
    retry_after_ms: int
    slot: int
    asked_again: int


class PauseArgs(NamedTuple):
    """See pause.lua."""

    merchant: str
    why: str
    digest: str
    purpose: str
    retry_after_ms: int
    probe: str
    refused: str
    strategy: str


class ProbeArgs(NamedTuple):
    """See probe.lua."""

    merchant: str
    lease_ms: int


class ResumeArgs(NamedTuple):
    """See resume.lua."""

    merchant: str
    limit: int


class NotifyArgs(NamedTuple):
    """See notify_due.lua."""

    leaving_child: str


class EpochArgs(NamedTuple):
    """See check_epoch.lua."""

    known_epoch: int | str
    until_ms: int


class ReplayArgs(NamedTuple):
    """See replay.lua."""

    max_replays: int


class ReplayRow(NamedTuple):
    """A failed shipment and its new plan."""

    merchant: str
    reference: str
    settled_ms: int
    intake: str
    strategy: str
    progress: str
    entry_field: str
    entry: str
    delay_ms: int


class RecheckArgs(NamedTuple):
    """See due_rechecks.lua."""

    limit: int
    retry_ms: int


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


ACCEPT = LuaScript("accept", "_dispatch")
CLAIM = LuaScript("claim", "_leases", "_record", "_dispatch", "_expiry", "_schedule", "_repeat")
CLAIM_LINK = LuaScript("claim_link", "_leases", "_record", "_dispatch")
PERMIT = LuaScript("permit", "_leases", "_dispatch")
RENEW = LuaScript("renew", "_leases")
REPORT = LuaScript("report", "_leases", "_breakers", "_dispatch")
PAUSE = LuaScript("pause")
PROBE = LuaScript("probe", "_dispatch")
RESUME = LuaScript("resume", "_dispatch")
NOTIFY_DUE = LuaScript("notify_due", "_dispatch")
CHECK_EPOCH = LuaScript("check_epoch")
REPLAY = LuaScript("replay", "_dispatch")
DUE_RECHECKS = LuaScript("due_rechecks")
READ_ORDERS = LuaScript("read_orders", "_entries")
RECLAIM_ORDERS = LuaScript("reclaim_orders", "_entries")
COUNT_LOST_ORDERS = LuaScript("count_lost_orders")
REMOVE_CONSUMERS = LuaScript("remove_consumers")

ARGUMENTS: dict[LuaScript, tuple[type[NamedTuple], ...]] = {
    ACCEPT: (AcceptArgs, AcceptedRow, RejectedRow),
    CLAIM: (ClaimArgs,),
    CLAIM_LINK: (ClaimLinkArgs, LinkRow),
    PERMIT: (PermitArgs, PermitRow),
    RENEW: (RenewArgs, RenewRow),
    REPORT: (ReportArgs, ReportRow),
    PAUSE: (PauseArgs,),
    PROBE: (ProbeArgs,),
    RESUME: (ResumeArgs,),
    NOTIFY_DUE: (NotifyArgs,),
    CHECK_EPOCH: (EpochArgs,),
    REPLAY: (ReplayArgs, ReplayRow),
    DUE_RECHECKS: (RecheckArgs,),
    READ_ORDERS: (ReadArgs,),
    RECLAIM_ORDERS: (ReclaimArgs,),
    COUNT_LOST_ORDERS: (GroupArgs,),
    REMOVE_CONSUMERS: (ConsumersArgs,),
}
"""What each script reads from `ARGV`, in order."""
