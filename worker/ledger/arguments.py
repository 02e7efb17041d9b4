"""Arguments and rows of the Lua scripts, in the order in which the scripts unpack them.

A `…Args` tuple comes first in a script's `ARGV`, rows follow. A test reads the scripts and compares the names.
"""

from typing import NamedTuple


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
    """A claimed shipment in a reply: fields of its record, except the last three.

    `in_doubt_since`: when the server changed, if a call from before may be forgotten; else 0. `is_permitted`: its first
    call may be made at once. `cancelled`: who cancelled it, when and why, as JSON; else empty.
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
    cancelled: bytes


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
    repeated_calls: int
    quiet_until_ms: int
    near_deadline_ms: int
    counted: str


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
