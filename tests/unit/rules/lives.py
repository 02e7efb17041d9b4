"""Whole lives of shipments: the rules from the first move to the end, in a world that does as it likes."""

from dataclasses import dataclass, field, replace
from typing import Any

from tasks.rules.after_call import after_call, after_quotes
from tasks.rules.after_read_back import after_read
from tasks.rules.before_call import first_move, held_up, paused_move
from tasks.rules.decision import Call, Fail, Moment, Move, Park, Read, Settle
from tasks.rules.next_decision import may_still_call
from tasks.rules.outcome import RefusedTogether
from tasks.rules.progress import read_progress
from tasks.rules.replay import start_afresh
from tasks.rules.shipment import Shipment, from_ledger, stopped_call
from tests.factories.records import fresh_record, merchant
from tests.factories.shipments import NOW, REFUSED
from tests.factories.world import LateApi, Turn, World
from tests.unit.rules.diary import Called, Looked, Moved

LEASE_S, LONGEST_CALL_S, MARGIN_S = 60.0, 36.0, 1.0
LONGEST = 5_000


@dataclass(kw_only=True)
class Life:
    """One shipment's life. `log`: all that happened, in its order. `replayed_at`: where a new life began in it."""

    world: World
    now: float = NOW
    api: LateApi = field(default_factory=LateApi)
    log: list[Called | Looked | Moved] = field(default_factory=list)
    requests: int = 0
    replayed_at: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        """A record is written, and so is the one before it, which a forgetful server gives back."""
        self.record = fresh_record(self.world.steps)
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
        start = start_afresh(merchant(self.world.steps), self.record["facts"], failed.shipment.progress, self.now)
        self.now += self.turn.wait_s
        begins = {"facts": start.facts, "received": self.now * 1000, "progress": start.progress.as_json(), "lost": 0}
        self.note({**self.record, **begins})
        self.before = self.record
        self.replayed_at.append(len(self.log))

    @property
    def turn(self) -> Turn:
        """What the next request meets."""
        return self.world.turn(self.requests)

    def moment(self, tries: int, sent: float = 0.0, company: int = 1) -> Moment:
        """A moment in this world."""
        return Moment(
            now=self.now,
            random=self.world.random,
            tries=tries,
            retry=self.world.retry,
            timeout_s=self.world.timeout_s,
            sent=sent,
            company=company,
        )

    def visit(self) -> Move | None:
        """From taking the shipment up to its leaving the task; None when the task was lost with it."""
        taken = from_ledger("acme", "sp_1", self.record)
        moment = self.moment(0)
        if self.now < self.paused_until:
            move = paused_move(taken, moment, "no key", has_key=self.turn.company % 2 == 0)
            move = self.decided(move, hindered=True)
        else:
            move = self.decided(first_move(taken, moment))
        tries = 0
        while isinstance(move, Call | Read):
            self.now += move.pause_s
            turn = self.turn
            if turn.happens not in ("", "lost", "stopped"):
                return self.interrupted(move.shipment, turn)
            if (following := self.ask(move, turn, tries)) is None:
                return None
            move, tries = following, tries + 1
        return self.leave(move)

    def decided(self, move: Move, about: Any = None, *, hindered: bool = False) -> Move:
        """Log a decision."""
        booked = self.api.will_be_booked()
        self.log.append(Moved(now=self.now, move=move, booked=booked, about=about, hindered=hindered))
        return move

    def leave(self, move: Move) -> Move:
        """Report how it leaves, and wait as long as that says."""
        self.keep(move.shipment)
        self.now += move.wait_s if isinstance(move, Park) else 0.01
        return move

    def keep(self, shipment: Shipment) -> None:
        """Report."""
        self.note({**self.record, "progress": shipment.progress.as_json()})

    def note(self, record: dict[str, Any]) -> None:
        """Write, as the ledger does: what was found since the last report is in the progress by now."""
        self.before, self.record = self.record, {**record, "lost_call": 0, "changed": 0}

    def interrupted(self, shipment: Shipment, turn: Turn) -> Move | None:
        """What comes in the way before the request goes out."""
        self.requests += 1
        match turn.happens:
            case "crashed":
                return self.lose(turn)
            case "changed":
                self.record = {**self.record, "changed": self.now * 1000}
            case "forgotten":
                self.record = {**self.forgotten(), "changed": self.now * 1000}
            case "held":
                return self.leave(self.decided(held_up(shipment, self.moment(0), turn.wait_s or 1), hindered=True))
            case "paused":
                self.paused_until = self.now + turn.wait_s
        return None

    def forgotten(self) -> dict[str, Any]:
        """The last report is lost; one of a queued call is not, as a quiet time is all that follows a change."""
        queued = read_progress(self.record.get("progress")).open_kind == "queued"
        return self.record if queued else self.before

    def lose(self, turn: Turn) -> Move | None:
        """A worker is lost; every second time that is told to be the shipment's own fault."""
        self.record = {**self.record, "lost": self.record.get("lost", 0) + turn.company % 2}
        self.now += LEASE_S
        return None

    def ask(self, move: Call | Read, turn: Turn, tries: int) -> Move | None:
        """The request that the move asks for, or what must come before it."""
        shipment = move.shipment
        if isinstance(move, Read):
            return self.look(shipment, turn, tries)
        if shipment.progress.must_read and self.now + MARGIN_S > shipment.cleared_until:
            return Read(shipment=shipment)
        if self.world.wants_quotes and turn.quotes is not None:
            self.requests += 1
            self.now += turn.took * self.world.timeout_s
            move_on = after_quotes(shipment, turn.quotes, self.moment(tries + 1))
            self.keep(move_on.shipment)
            return self.decided(move_on, turn.quotes)
        if not may_still_call(shipment, self.moment(0)):
            return self.decided(held_up(shipment, self.moment(0), 0.0))
        return self.call(shipment, turn, tries)

    def look(self, shipment: Shipment, turn: Turn, tries: int) -> Move | None:
        """Read it back: the state is that of the moment in which the request was sent."""
        self.requests += 1
        sent, finding = self.now, turn.trouble or self.api.read(self.now)
        self.now += turn.took * self.world.timeout_s
        if turn.happens == "lost":
            return self.lose(turn)
        looked = Looked(sent=sent, finding=finding, shipment=shipment)
        self.log.append(looked)
        return self.judged(after_read(shipment, finding, self.moment(tries + 1, sent)), looked)

    def call(self, shipment: Shipment, turn: Turn, tries: int) -> Move | None:
        """Call; the answer may be lost on its way to us."""
        self.requests += 1
        together, company = isinstance(turn.answer, RefusedTogether), shipment.progress.company
        if together and company == 1:
            turn = replace(turn, answer=REFUSED)
        start, called = self.now, self.called(shipment, turn)
        self.log.append(called)
        if turn.happens == "lost":
            self.record = {**self.record, "lost_call": called.end * 1000}
            return self.lose(turn)
        self.now = called.end
        if called.outcome is None:
            return Park(shipment=stopped_call(shipment, self.now), wait_s=0)
        moment = self.moment(tries + 1, start, company or turn.company if together else 1)
        return self.judged(after_call(shipment, called.outcome, moment), called)

    def called(self, shipment: Shipment, turn: Turn) -> Called:
        """What the API makes of a call, and what is heard of that."""
        is_lost, retry = turn.happens == "lost", self.world.retry
        end = self.now + (LONGEST_CALL_S if is_lost else turn.took * self.world.timeout_s)
        heard = turn.happens not in ("lost", "stopped")
        longest_s = retry.queue_s if heard and turn.answer.reason == "queued" else retry.quiet_s
        outcome = self.api.call(turn, self.now, end, longest_s, was_partly=shipment.progress.refused_partly)
        return Called(start=self.now, end=end, shipment=shipment, outcome=outcome if heard else None, is_lost=is_lost)

    def judged(self, move: Move, about: Called | Looked) -> Move:
        """Log and report a decision."""
        self.keep(move.shipment)
        return self.decided(move, about)
