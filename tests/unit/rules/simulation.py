"""Simulates the rules for one shipment, from its first decision to its end, in a random scenario."""

from dataclasses import dataclass, field, replace
from typing import Any

from tasks.rules.after_call import after_call, after_quotes
from tasks.rules.after_read_back import after_read_back
from tasks.rules.before_call import first_decision, held_up, paused_decision
from tasks.rules.decision import Call, Context, Decision, Fail, Park, ReadBack, Settle
from tasks.rules.next_decision import may_still_call
from tasks.rules.outcome import BulkRefused
from tasks.rules.progress import parse_progress
from tasks.rules.replay import choose_new_plan
from tasks.rules.shipment import Shipment, from_record, stopped_call
from tests.factories.records import merchant, new_record
from tests.factories.scenarios import LateApi, Scenario, Turn
from tests.factories.shipments import NOW, REFUSED
from tests.unit.rules.simulation_log import CallEntry, DecisionEntry, ReadBackEntry

LEASE_S, LONGEST_CALL_S, MARGIN_S = 60.0, 36.0, 1.0
LONGEST = 5_000


@dataclass(kw_only=True)
class Simulation:
    """One simulated shipment. `log`: all entries in order. `replayed_at`: index of the first entry of each replay.

    `cancelled_at`: index of the first entry after it was cancelled.
    """

    scenario: Scenario
    now: float = NOW
    api: LateApi = field(default_factory=LateApi)
    log: list[CallEntry | ReadBackEntry | DecisionEntry] = field(default_factory=list)
    requests: int = 0
    replayed_at: list[int] = field(default_factory=list)
    cancelled_at: int | None = None

    def __post_init__(self) -> None:
        """Keeps the record and its previous version, which the server restores when it forgets a report."""
        self.record = new_record(self.scenario.steps)
        self.previous_record = self.record
        self.paused_until = 0.0
        self.run()

    def run(self) -> None:
        """Run visits until the end of the last replay."""
        for replay in range(self.scenario.replays + 1):
            while not isinstance(last := self.visit(), Settle | Fail):
                assert len(self.log) < LONGEST, "too many log entries"
            if isinstance(last, Settle) or replay == self.scenario.replays:
                return
            self.replay(last)

    def replay(self, failed: Fail) -> None:
        """Requeue the shipment as `allocation replay` does."""
        start = choose_new_plan(
            merchant(self.scenario.steps), self.record["intake"], failed.shipment.progress, self.now
        )
        self.now += self.turn.wait_s
        begins = {
            "intake": start.intake,
            "received": self.now * 1000,
            "progress": start.progress.as_json(),
            "losses": 0,
        }
        self.write({**self.record, **begins})
        self.previous_record = self.record
        self.replayed_at.append(len(self.log))

    @property
    def turn(self) -> Turn:
        """What happens to the next request."""
        return self.scenario.turn(self.requests)

    def context(self, tries: int, sent: float = 0.0, group_size: int = 1) -> Context:
        """The context at this time."""
        return Context(
            now=self.now,
            random=self.scenario.random,
            tries=tries,
            retry=self.scenario.retry,
            timeout_s=self.scenario.timeout_s,
            sent=sent,
            group_size=group_size,
        )

    def visit(self) -> Decision | None:
        """One visit, from claim to release; None when the worker was lost."""
        cancelled = b'{"by": "ops", "why": "sold twice"}' if self.cancel_if_due() else b""
        shipment = from_record("acme", "sp_1", {**self.record, "cancelled": cancelled})
        context = self.context(0)
        if self.now < self.paused_until:
            decision = paused_decision(shipment, context, "no key", has_key=self.turn.group_size % 2 == 0)
            decision = self.log_decision(decision, blocked=True)
        else:
            decision = self.log_decision(first_decision(shipment, context))
        tries = 0
        while isinstance(decision, Call | ReadBack):
            self.now += decision.pause_s
            turn = self.turn
            if turn.interruption not in ("", "lost", "stopped"):
                return self.interrupt(decision.shipment, turn)
            if (following := self.send_request(decision, turn, tries)) is None:
                return None
            decision, tries = following, tries + 1
        return self.leave(decision)

    def cancel_if_due(self) -> bool:
        """Cancel the shipment when its time has come; whether it is cancelled."""
        after = self.scenario.cancelled_after
        if self.cancelled_at is None and after is not None and self.requests >= after and not self.replayed_at:
            self.cancelled_at = len(self.log)
        return self.cancelled_at is not None and not self.replayed_at

    def log_decision(self, decision: Decision, subject: Any = None, *, blocked: bool = False) -> Decision:
        """Log a decision."""
        booked = self.api.will_be_booked()
        self.log.append(DecisionEntry(now=self.now, decision=decision, booked=booked, subject=subject, blocked=blocked))
        return decision

    def leave(self, decision: Decision) -> Decision:
        """Report the last decision of a visit, and wait as long as it states."""
        self.report(decision.shipment)
        self.now += decision.wait_s if isinstance(decision, Park) else 0.01
        return decision

    def report(self, shipment: Shipment) -> None:
        """Report the progress."""
        self.write({**self.record, "progress": shipment.progress.as_json()})

    def write(self, record: dict[str, Any]) -> None:
        """Write like the ledger: the progress now contains everything found since the last report."""
        self.previous_record, self.record = self.record, {**record, "lost_call_at": 0, "in_doubt_since": 0}

    def interrupt(self, shipment: Shipment, turn: Turn) -> Decision | None:
        """Simulate an interruption before the request is sent."""
        self.requests += 1
        match turn.interruption:
            case "crashed":
                return self.lose_worker(turn)
            case "changed":
                self.record = {**self.record, "in_doubt_since": self.now * 1000}
            case "forgotten":
                self.record = {**self.forgotten(), "in_doubt_since": self.now * 1000}
            case "held":
                return self.leave(self.log_decision(held_up(shipment, self.context(0), turn.wait_s or 1), blocked=True))
            case "paused":
                self.paused_until = self.now + turn.wait_s
        return None

    def forgotten(self) -> dict[str, Any]:
        """The record without the last report; a queued call's is kept, as a change opens only a quiet time."""
        queued = parse_progress(self.record.get("progress")).open_kind == "queued"
        return self.record if queued else self.previous_record

    def lose_worker(self, turn: Turn) -> Decision | None:
        """Lose the worker; every second loss counts against the shipment."""
        self.record = {**self.record, "losses": self.record.get("losses", 0) + turn.group_size % 2}
        self.now += LEASE_S
        return None

    def send_request(self, decision: Call | ReadBack, turn: Turn, tries: int) -> Decision | None:
        """Send the request of the decision, or the request that must precede it."""
        shipment = decision.shipment
        if isinstance(decision, ReadBack):
            return self.read_back(shipment, turn, tries)
        if shipment.progress.must_read and self.now + MARGIN_S > shipment.cleared_until:
            return ReadBack(shipment=shipment)
        if self.scenario.wants_quotes and turn.quotes is not None:
            self.requests += 1
            self.now += turn.duration_share * self.scenario.timeout_s
            advance = after_quotes(shipment, turn.quotes, self.context(tries + 1))
            self.report(advance.shipment)
            return self.log_decision(advance, turn.quotes)
        if not may_still_call(shipment, self.context(0)):
            return self.log_decision(held_up(shipment, self.context(0), 0.0))
        if self.cancel_if_due():
            return self.leave(self.log_decision(held_up(shipment, self.context(0), 1.0), blocked=True))
        return self.call(shipment, turn, tries)

    def read_back(self, shipment: Shipment, turn: Turn, tries: int) -> Decision | None:
        """Read back the state at the time at which the request was sent."""
        self.requests += 1
        sent, finding = self.now, turn.read_back_error or self.api.read(self.now)
        self.now += turn.duration_share * self.scenario.timeout_s
        if turn.interruption == "lost":
            return self.lose_worker(turn)
        entry = ReadBackEntry(sent=sent, finding=finding, shipment=shipment)
        self.log.append(entry)
        return self.decide_after(after_read_back(shipment, finding, self.context(tries + 1, sent)), entry)

    def call(self, shipment: Shipment, turn: Turn, tries: int) -> Decision | None:
        """Call; the response may be lost."""
        self.requests += 1
        is_bulk_refused, group_size = isinstance(turn.response, BulkRefused), shipment.progress.group_size
        if is_bulk_refused and group_size == 1:
            turn = replace(turn, response=REFUSED)
        start, called = self.now, self.called(shipment, turn)
        self.log.append(called)
        if turn.interruption == "lost":
            self.record = {**self.record, "lost_call_at": called.end * 1000}
            return self.lose_worker(turn)
        self.now = called.end
        if called.outcome is None:
            return Park(shipment=stopped_call(shipment, self.now), wait_s=0)
        context = self.context(tries + 1, start, group_size or turn.group_size if is_bulk_refused else 1)
        return self.decide_after(after_call(shipment, called.outcome, context), called)

    def called(self, shipment: Shipment, turn: Turn) -> CallEntry:
        """The API's action on a call, and the outcome received."""
        is_lost, retry = turn.interruption == "lost", self.scenario.retry
        end = self.now + (LONGEST_CALL_S if is_lost else turn.duration_share * self.scenario.timeout_s)
        received = turn.interruption not in ("lost", "stopped")
        longest_s = retry.queue_s if received and turn.response.reason == "queued" else retry.quiet_s
        outcome = self.api.call(turn, self.now, end, longest_s, was_partly=shipment.progress.refused_partly)
        return CallEntry(
            start=self.now, end=end, shipment=shipment, outcome=outcome if received else None, is_lost=is_lost
        )

    def decide_after(self, decision: Decision, subject: CallEntry | ReadBackEntry) -> Decision:
        """Report and log a decision."""
        self.report(decision.shipment)
        return self.log_decision(decision, subject)
