"""The Lua scripts of the ledger: the parts of each, and its arguments."""

from functools import cached_property
from importlib import resources
from typing import NamedTuple

from worker.ledger.arguments import (
    ClaimArgs,
    ClaimLinkArgs,
    EpochArgs,
    LinkRow,
    NotifyArgs,
    PauseArgs,
    PermitArgs,
    PermitRow,
    ProbeArgs,
    RecheckArgs,
    RenewArgs,
    RenewRow,
    ReplayArgs,
    ReplayRow,
    ReportArgs,
    ReportRow,
    ResumeArgs,
)
from worker.ledger.operator_arguments import (
    CancelArgs,
    CausesArgs,
    CountArgs,
    CountRow,
    DismissArgs,
    DismissRow,
    ReleaseHoldArgs,
)
from worker.ledger.stream_arguments import (
    AcceptArgs,
    AcceptedRow,
    ConsumersArgs,
    GroupArgs,
    NoArgs,
    ReadArgs,
    ReclaimArgs,
    RejectedRow,
    RequeueRejectedRow,
)


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


ACCEPT = LuaScript("accept", "_dispatch")
CLAIM = LuaScript("claim", "_operator", "_leases", "_record", "_dispatch", "_expiry", "_schedule", "_repeat")
CLAIM_LINK = LuaScript("claim_link", "_operator", "_leases", "_record", "_dispatch")
PERMIT = LuaScript("permit", "_operator", "_leases", "_dispatch")
RENEW = LuaScript("renew", "_leases")
REPORT = LuaScript("report", "_operator", "_leases", "_breakers", "_dispatch", "_failures")
PAUSE = LuaScript("pause")
PROBE = LuaScript("probe", "_dispatch")
RESUME = LuaScript("resume", "_dispatch")
RELEASE_HOLD = LuaScript("release_hold", "_dispatch")
CANCEL = LuaScript("cancel", "_dispatch")
DISMISS = LuaScript("dismiss", "_failures")
COUNT_MERCHANTS = LuaScript("count_merchants", "_failures")
COUNT_CAUSES = LuaScript("count_causes", "_failures")
REQUEUE_REJECTED = LuaScript("requeue_rejected")
NOTIFY_DUE = LuaScript("notify_due", "_dispatch")
CHECK_EPOCH = LuaScript("check_epoch")
REPLAY = LuaScript("replay", "_dispatch", "_failures")
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
    RELEASE_HOLD: (ReleaseHoldArgs,),
    CANCEL: (CancelArgs,),
    DISMISS: (DismissArgs, DismissRow),
    COUNT_MERCHANTS: (CountArgs, CountRow),
    COUNT_CAUSES: (CausesArgs, CountRow),
    REQUEUE_REJECTED: (NoArgs, RequeueRejectedRow),
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
