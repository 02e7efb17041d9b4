"""A simulated API that may act after its response, and random scenarios for one shipment."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

from hypothesis import strategies as st

from config.merchant_files.retry import Retry
from tasks.rules.outcome import Allocated, BulkRefused, Finding, Outcome, Queued, Refused, Unallocated, Unknown
from tests.factories.shipments import (
    ALLOCATED,
    BULK_REFUSED,
    CONFLICT,
    FOREIGN,
    GONE,
    INVALID,
    INVALID_STATE,
    NO_ACCESS,
    NOT_FOUND,
    NOT_SENT,
    NOT_YET,
    PARTLY_REFUSED,
    QUEUED,
    REFUSED,
    THROTTLED,
    UNCERTAIN,
    UNKNOWN,
)

LATEST = 0.95
"""How late an API may act, as a share of the quiet (queue) time."""

Interruption = Literal["", "lost", "stopped", "crashed", "changed", "forgotten", "redelivered", "held", "paused"]
Acts = Literal["nothing", "books", "fails"]


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What happens to the next request.

    `interruption`: an event before the request. A worker that is `lost` or `stopped` has a call in flight; one that
    `crashed` has not. The server has `changed`, or has also `forgotten` the last report. `acts`: the effect of a call
    whose response leaves it open, `late`: after which share of the longest time, `shows`: from which share of that
    time on the shipment is `allocating`. `duration_share`: the share of the timeout until the response.
    """

    response: Outcome = ALLOCATED
    quotes: Outcome | None = None
    read_back_error: Finding | None = None
    interruption: Interruption = ""
    acts: Acts = "nothing"
    late: float = 0.0
    shows: float | None = None
    duration_share: float = 0.0
    wait_s: float = 0.0
    group_size: int = 2


class Effect(NamedTuple):
    """The final effect of a call, and when it becomes visible."""

    at: float
    acts: Acts
    shows_at: float


@dataclass(kw_only=True)
class LateApi:
    """The actual state of one shipment at the API."""

    was: Literal["unallocated", "allocation_failed"] = "unallocated"
    bookings: int = 0
    pending: list[Effect] = field(default_factory=list)

    def read(self, now: float) -> Allocated | Queued | Unallocated:
        """The state at this time."""
        for effect in sorted(effect for effect in self.pending if effect.at <= now):
            self.pending.remove(effect)
            self.act(effect.acts)
        if self.bookings:
            return ALLOCATED
        if any(effect.shows_at <= now for effect in self.pending):
            return QUEUED
        return Unallocated(state=self.was)

    def act(self, acts: Acts) -> None:
        """Book the shipment, or fail to allocate it."""
        if acts == "books":
            self.bookings += 1
        elif acts == "fails" and not self.bookings:
            self.was = "allocation_failed"

    def call(self, turn: Turn, now: float, end: float, longest_s: float, *, was_partly: bool) -> Outcome:
        """The response to a call that arrives now and ends at `end`; its effect may follow up to `longest_s` later."""
        if not isinstance(turn.response, Allocated | Queued | Refused | BulkRefused | Unknown):
            return turn.response
        if not isinstance(self.read(now), Unallocated):
            return UNKNOWN if turn.response is UNKNOWN else INVALID_STATE
        match turn.response:
            case Allocated():
                self.act("books")
            case Refused(reason="conflict") | Unknown() | Queued():
                self._later(turn, end, longest_s)
            case BulkRefused(partly=True) if not was_partly:
                self._later(turn, end, longest_s)
            case BulkRefused(partly=True) | Refused(certain=False):
                self.act(turn.acts)
            case _:
                self.act("fails" if turn.acts == "fails" else "nothing")
        return turn.response

    def _later(self, turn: Turn, end: float, longest_s: float) -> None:
        after_s = turn.late * longest_s
        shows_at = float("inf") if turn.shows is None else end + turn.shows * after_s
        self.pending.append(Effect(end + after_s, turn.acts, shows_at))

    def will_be_booked(self) -> bool:
        """Whether it is booked once all pending effects have happened."""
        return self.bookings > 0 or any(effect.acts == "books" for effect in self.pending)

    def final_bookings(self) -> int:
        """Number of bookings once all pending effects have happened."""
        self.read(float("inf"))
        return self.bookings


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A sequence of turns; the last one repeats forever, without an interruption.

    `cancelled_after`: an operator cancels the shipment, in its first plan, after this number of requests.
    """

    steps: int
    turns: list[Turn]
    retry: Retry
    timeout_s: float
    random: float
    replays: int
    wants_quotes: bool
    cancelled_after: int | None

    def turn(self, number: int) -> Turn:
        """The nth turn, from 0."""
        return self.turns[number] if number < len(self.turns) else replace(self.turns[-1], interruption="")


RESPONSES: tuple[Outcome, ...] = (
    *(
        ALLOCATED,
        QUEUED,
        UNKNOWN,
        REFUSED,
        UNCERTAIN,
        CONFLICT,
        INVALID_STATE,
        NOT_SENT,
        THROTTLED,
        BULK_REFUSED,
        PARTLY_REFUSED,
    ),
    *(FOREIGN, NOT_YET, INVALID, NO_ACCESS, NOT_FOUND, GONE),
)
READ_BACK_ERRORS: tuple[Finding, ...] = (UNKNOWN, NOT_SENT, THROTTLED, NOT_YET, INVALID, NO_ACCESS)
QUOTE_ERRORS: tuple[Any, ...] = (None, UNKNOWN, REFUSED, UNCERTAIN, THROTTLED, NOT_SENT, INVALID_STATE)
INTERRUPTIONS: tuple[Interruption, ...] = (
    *("", "", "", "", "", "", "", ""),
    *("lost", "stopped", "crashed", "changed", "forgotten", "redelivered", "held", "paused"),
)
SHARES = st.sampled_from([0.0, 0.01, 0.3, 0.6, 0.9, LATEST])
TURNS = st.builds(
    Turn,
    response=st.sampled_from(RESPONSES),
    quotes=st.sampled_from(QUOTE_ERRORS),
    read_back_error=st.sampled_from([None, None, None, *READ_BACK_ERRORS]),
    interruption=st.sampled_from(INTERRUPTIONS),
    acts=st.sampled_from(["nothing", "books", "fails"]),
    late=SHARES,
    shows=st.none() | SHARES,
    duration_share=st.sampled_from([0.0, 0.01, 0.5, 1.0]),
    wait_s=st.sampled_from([0.0, 0.5, 5.0, 100.0, 600.0]),
    group_size=st.integers(2, 5),
)


def _retry(attempts: int, quiet_s: float, queue: float | None, more: float) -> Retry:
    queue_s = None if queue is None else quiet_s * queue
    deadline_s = 25 + quiet_s * 1.1 + more
    return Retry(attempts=attempts, quiet_seconds=quiet_s, queue_seconds=queue_s, deadline_hours=deadline_s / 3600)


SCENARIOS = st.builds(
    Scenario,
    steps=st.integers(1, 3),
    turns=st.lists(TURNS, min_size=1, max_size=25),
    retry=st.builds(
        _retry,
        attempts=st.integers(1, 4),
        quiet_s=st.sampled_from([1.0, 5.0, 60.0, 600.0, 3600.0]),
        queue=st.sampled_from([None, 1.0, 3.0]),
        more=st.sampled_from([0.0, 100.0, 2000.0, 8000.0]),
    ),
    timeout_s=st.sampled_from([0.5, 20.0]),
    random=st.floats(0, 1, exclude_max=True),
    replays=st.integers(0, 2),
    wants_quotes=st.booleans(),
    cancelled_after=st.none() | st.none() | st.integers(0, 8),
)
