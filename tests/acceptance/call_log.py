"""Checks the simulated API's call log: was a call repeated too early or too late?"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from config.merchant_files.retry import Retry

Entry = Mapping[str, Any]
"""An entry of `GET /_sandbox/calls`; see docs/sandbox.md."""

CLOCK_SLACK_S = 0.05
"""API and ledger use the clock of one machine, rounded to milliseconds."""

_MAY_BE_CALLED = ("unallocated", "allocation_failed")
AMBIGUOUS = "/virtual_service/EXPRESS"
"""Refused by the simulated API whatever the shipment's state: both a service and a group."""

_NO_CARRIER = (521, 531)
_QUEUED = (202, 207, 407)
_CONFLICTS = ("conflict", "repeated")
_OPENING_FAULTS = ("conflict", "repeated", "garbage", "omit", "cut", "drop", "hang", "late", "status")


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """A call for one shipment; `end`: the time of its response, or of its arrival without one."""

    at: float
    end: float
    kind: str
    status: int | None
    fault: str | None
    state_before: str | None
    path: str

    @property
    def opens(self) -> str | None:
        """How it may still take effect: `queued`, `unknown`, or None."""
        if self.status in _QUEUED:
            return "queued"
        is_throttled = self.status == 429 and self.fault not in _CONFLICTS
        if is_throttled or (self.status == 400 and self.path.endswith(AMBIGUOUS)):
            return None
        if self.fault in _OPENING_FAULTS or self.status is None:
            return "unknown"
        if self.state_before not in _MAY_BE_CALLED and self.status in (400, *_NO_CARRIER):
            return "unknown"
        return "unknown" if self.status >= 500 and self.status not in _NO_CARRIER else None


def calls_by_shipment(log: Iterable[Entry]) -> dict[str, list[Call]]:
    """The calls and read-backs of each shipment, in order."""
    found: dict[str, list[Call]] = defaultdict(list)
    for entry in log:
        if entry["kind"] not in ("allocate", "read"):
            continue
        for reference, state in zip(entry["references"], entry["state_before"], strict=True):
            struck = entry.get("struck", {}).get(reference)
            found[reference].append(
                Call(
                    at=entry["time"],
                    end=entry["answered_at"] or entry["time"],
                    kind=entry["kind"],
                    status=entry["status"],
                    fault=struck or (None if "struck" in entry else entry["fault"]),
                    state_before=state,
                    path=entry["path"],
                )
            )
    return found


def called_too_early(calls: Iterable[Call], retry: Retry) -> Iterator[str]:
    """Calls after an open one without a complete quiet (queue) time and a read-back after it."""
    for first, between, second, quiet_until in _is_repeated(calls, retry):
        quiet_end = quiet_until - CLOCK_SLACK_S
        allowing = [call for call in between if call.at >= quiet_end and call.state_before in _MAY_BE_CALLED]
        if second.at < quiet_end or not allowing:
            yield f"{first.opens} call at {first.at:.3f}, next one {second.at - first.end:.3f} s after its end"


def called_too_late(calls: Iterable[Call], retry: Retry, within_s: float) -> Iterator[str]:
    """Calls without effect that were repeated only this long after the quiet time."""
    for first, _, second, quiet_until in _is_repeated(calls, retry):
        # The log of a truncated response does not contain whether its status was that of a queued call.
        longer_s = retry.queue_s - retry.quiet_s if first.fault == "cut" else 0
        if second.at > quiet_until + longer_s + within_s:
            yield f"{first.opens} call at {first.at:.3f}, next one {second.at - quiet_until:.3f} s after its quiet time"


def _is_repeated(calls: Iterable[Call], retry: Retry) -> Iterator[tuple[Call, list[Call], Call, float]]:
    """Each open call, the read-backs after it, the next call, and the end of the quiet (queue) time between them."""
    history = list(calls)
    allocating = [call for call in history if call.kind == "allocate"]
    for first, second in pairwise(allocating):
        if (kind := first.opens) is None:
            continue
        quiet_s = retry.queue_s if kind == "queued" else retry.quiet_s
        between = [call for call in history if call.kind == "read" and first.end < call.at < second.at]
        seen = [call for call in between if call.state_before == "allocating" and call.status == 200]
        if kind == "queued" and _was_decided(first, between, bool(seen)):
            continue
        yield first, between, second, max([first.end, *(call.at for call in seen)]) + quiet_s


def _was_decided(first: Call, between: Iterable[Call], seen: bool) -> bool:  # noqa: FBT001  # read as a sentence
    """Whether a queued call was decided early: the API returned its state after it had been allocating."""
    failed = any(call.state_before == "allocation_failed" and call.status == 200 for call in between)
    return failed and (seen or first.state_before == "unallocated")
