"""Whole lives of shipments: the rules from the first move to the end, in a world that does as it likes."""

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
from tests.unit.rules.simulation_log import Called, Looked, Moved

LEASE_S, LONGEST_CALL_S, MARGIN_S = 60.0, 36.0, 1.0
LONGEST = 5_000


@dataclass(kw_only=True)
class Life:
    """One shipment's life. `log`: all that happened, in its order. `replayed_at`: where a new life began in it."""

    world: Scenario
    now: float = NOW
    api: LateApi = field(default_factory=LateApi)
    log: list[Called | Looked | Moved] = field(default_factory=list)
    requests: int = 0
    replayed_at: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        """A record is written, and so is the one before it, which a forgetful server gives back."""
        self.record = new_record(self.world.steps)
        self.before = self.record
        self.paused_until = 0.0
        self.run()

    def run(self) -> None:
        """Visit after visit, until the end of the last replay."""
        for replay in range(self.world.replays + 1):
            while not isinstance(last := self.visit(), Settle | Fail):
                assert len(self.log) < LONGEST, "no end"
            if isinstance(last, Settle) or replay == self.world.replays:
                return
            self.replay(last)

    def replay(self, failed: Fail) -> None:
        """Put it back as `allocation replay` does."""
        start = choose_new_plan(merchant(self.world.steps), self.record["intake"], failed.shipment.progress, self.now)
        self.now += self.turn.wait_s
        begins = {
            "intake": start.intake,
            "received": self.now * 1000,
            "progress": start.progress.as_json(),
            "losses": 0,
        }
        self.note({**self.record, **begins})
        self.before = self.record
        self.replayed_at.append(len(self.log))

    @property
    def turn(self) -> Turn:
        """What the next request meets."""
        return self.world.turn(self.requests)

    def context(self, tries: int, sent: float = 0.0, group_size: int = 1) -> Context:
        """A moment in this world."""
        return Context(
            now=self.now,
            random=self.world.random,
            tries=tries,
            retry=self.world.retry,
            timeout_s=self.world.timeout_s,
            sent=sent,
            group_size=group_size,
        )

    def visit(self) -> Decision | None:
        """From taking the shipment up to its leaving the task; None when the task was lost with it."""
        claim = from_record("acme", "sp_1", self.record)
        context = self.context(0)
        if self.now < self.paused_until:
            decision = paused_decision(claim, context, "no key", has_key=self.turn.group_size % 2 == 0)
            decision = self.decided(decision, hindered=True)
        else:
            decision = self.decided(first_decision(claim, context))
        tries = 0
        while isinstance(decision, Call | ReadBack):
            self.now += decision.pause_s
            turn = self.turn
            if turn.interruption not in ("", "lost", "stopped"):
                return self.interrupted(decision.shipment, turn)
            if (following := self.ask(decision, turn, tries)) is None:
                return None
            decision, tries = following, tries + 1
        return self.leave(decision)

    def decided(self, decision: Decision, about: Any = None, *, hindered: bool = False) -> Decision:
        """Log a decision."""
        booked = self.api.will_be_booked()
        self.log.append(Moved(now=self.now, decision=decision, booked=booked, about=about, hindered=hindered))
        return decision

    def leave(self, decision: Decision) -> Decision:
        """Report how it leaves, and wait as long as that says."""
        self.keep(decision.shipment)
        self.now += decision.wait_s if isinstance(decision, Park) else 0.01
        return decision

    def keep(self, shipment: Shipment) -> None:
        """Report."""
        self.note({**self.record, "progress": shipment.progress.as_json()})

    def note(self, record: dict[str, Any]) -> None:
        """Write, as the ledger does: what was found since the last report is in the progress by now."""
        self.before, self.record = self.record, {**record, "lost_call_at": 0, "in_doubt_since": 0}

    def interrupted(self, shipment: Shipment, turn: Turn) -> Decision | None:
        """What comes in the way before the request goes out."""
        self.requests += 1
        match turn.interruption:
            case "crashed":
                return self.lose(turn)
            case "changed":
                self.record = {**self.record, "in_doubt_since": self.now * 1000}
            case "forgotten":
                self.record = {**self.forgotten(), "in_doubt_since": self.now * 1000}
            case "held":
                return self.leave(self.decided(held_up(shipment, self.context(0), turn.wait_s or 1), hindered=True))
            case "paused":
                self.paused_until = self.now + turn.wait_s
        return None

    def forgotten(self) -> dict[str, Any]:
        """The last report is lost; one of a queued call is not, as a quiet time is all that follows a change."""
        queued = parse_progress(self.record.get("progress")).open_kind == "queued"
        return self.record if queued else self.before

    def lose(self, turn: Turn) -> Decision | None:
        """A worker is lost; every second time that is told to be the shipment's own fault."""
        self.record = {**self.record, "losses": self.record.get("losses", 0) + turn.group_size % 2}
        self.now += LEASE_S
        return None

    def ask(self, decision: Call | ReadBack, turn: Turn, tries: int) -> Decision | None:
        """The request that the move asks for, or what must come before it."""
        shipment = decision.shipment
        if isinstance(decision, ReadBack):
            return self.look(shipment, turn, tries)
        if shipment.progress.must_read and self.now + MARGIN_S > shipment.cleared_until:
            return ReadBack(shipment=shipment)
        if self.world.wants_quotes and turn.quotes is not None:
            self.requests += 1
            self.now += turn.took * self.world.timeout_s
            advance = after_quotes(shipment, turn.quotes, self.context(tries + 1))
            self.keep(advance.shipment)
            return self.decided(advance, turn.quotes)
        if not may_still_call(shipment, self.context(0)):
            return self.decided(held_up(shipment, self.context(0), 0.0))
        return self.call(shipment, turn, tries)

    def look(self, shipment: Shipment, turn: Turn, tries: int) -> Decision | None:
        """Read it back: the state is that of the moment in which the request was sent."""
        self.requests += 1
        sent, finding = self.now, turn.trouble or self.api.read(self.now)
        self.now += turn.took * self.world.timeout_s
        if turn.interruption == "lost":
            return self.lose(turn)
        looked = Looked(sent=sent, finding=finding, shipment=shipment)
        self.log.append(looked)
        return self.judged(after_read_back(shipment, finding, self.context(tries + 1, sent)), looked)

    def call(self, shipment: Shipment, turn: Turn, tries: int) -> Decision | None:
        """Call; the answer may be lost on its way to us."""
        self.requests += 1
        together, group_size = isinstance(turn.answer, BulkRefused), shipment.progress.group_size
        if together and group_size == 1:
            turn = replace(turn, answer=REFUSED)
        start, called = self.now, self.called(shipment, turn)
        self.log.append(called)
        if turn.interruption == "lost":
            self.record = {**self.record, "lost_call_at": called.end * 1000}
            return self.lose(turn)
        self.now = called.end
        if called.outcome is None:
            return Park(shipment=stopped_call(shipment, self.now), wait_s=0)
        context = self.context(tries + 1, start, group_size or turn.group_size if together else 1)
        return self.judged(after_call(shipment, called.outcome, context), called)

    def called(self, shipment: Shipment, turn: Turn) -> Called:
        """What the API makes of a call, and what is heard of that."""
        is_lost, retry = turn.interruption == "lost", self.world.retry
        end = self.now + (LONGEST_CALL_S if is_lost else turn.took * self.world.timeout_s)
        feedback = turn.interruption not in ("lost", "stopped")
        longest_s = retry.queue_s if feedback and turn.answer.reason == "queued" else retry.quiet_s
        outcome = self.api.call(turn, self.now, end, longest_s, was_partly=shipment.progress.refused_partly)
        return Called(
            start=self.now, end=end, shipment=shipment, outcome=outcome if feedback else None, is_lost=is_lost
        )

    def judged(self, decision: Decision, about: Called | Looked) -> Decision:
        """Log and report a decision."""
        self.keep(decision.shipment)
        return self.decided(decision, about)
