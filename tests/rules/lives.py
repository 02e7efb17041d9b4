"""Whole lives of shipments: the rules from the first move to the end, in a world that answers what it likes."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

from config.merchants import Retry
from tasks.move import Call, Fail, FallBack, Moment, Move, Park, Read, Settle, after_call, after_read, first_move
from tasks.outcome import Finding, Outcome
from tasks.shipment import Progress, Shipment, lost_call
from tests.rules.made import FINDINGS, GROUP, NOW, OUTCOMES, SERVICE, VIRTUAL, shipment

CALL_S, LEASE_S = 0.2, 60.0
LONGEST = 20_000


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the next request comes to, whichever it is; `lost`: its worker does not live to hear it."""

    outcome: Outcome
    finding: Finding
    lost: bool


@dataclass(frozen=True, kw_only=True)
class Moved:
    """A move, when it was made, and what was heard right before it (nothing at the beginning of a visit)."""

    move: Move
    now: float
    called: Outcome | None = None
    read: Finding | None = None


@dataclass(frozen=True, kw_only=True)
class World:
    """The answers in their order; the last one is repeated for ever."""

    begins: Shipment
    answers: list[Answer]
    retry: Retry
    random: float

    @property
    def deadline(self) -> float:
        """Seconds since the epoch."""
        return self.begins.received + self.retry.deadline_hours * 3600

    def moment(self, now: float, tries: int) -> Moment:
        """A moment in this world."""
        return Moment(now=now, random=self.random, tries=tries, retry=self.retry)

    def answer(self, request: int) -> Answer:
        """The answer to the nth request, from 0."""
        return self.answers[min(request, len(self.answers) - 1)]


def life(world: World) -> Iterator[Moved]:
    """Every move until the end."""
    now, tries, requests = NOW, 0, 0
    moved = Moved(move=first_move(world.begins, world.moment(now, 0)), now=now)
    for _ in range(LONGEST):
        yield moved
        match moved.move:
            case Settle() | Fail():
                return
            case FallBack(shipment=of):
                tries = 0
                moved = Moved(move=first_move(kept(of), world.moment(now, 0)), now=now)
            case Park(shipment=of, wait_s=wait_s):
                now, tries = now + wait_s, 0
                moved = Moved(move=first_move(replace(kept(of), losses=0), world.moment(now, 0)), now=now)
            case Call() | Read():
                answer, requests = world.answer(requests), requests + 1
                now += moved.move.pause_s + (LEASE_S if answer.lost else CALL_S)
                tries = 0 if answer.lost else tries + 1
                moved = heard(moved.move, answer, now, world.moment(now, tries))
    raise AssertionError(f"no end after {LONGEST} moves")


def heard(move: Call | Read, answer: Answer, now: float, moment: Moment) -> Moved:
    """The move after a request, or, when its worker was lost, the first one of whoever takes over."""
    of = move.shipment
    if answer.lost:
        left = lost_call(of) if isinstance(move, Call) else of
        return Moved(move=first_move(replace(left, losses=of.losses + 1), moment), now=now)
    if isinstance(move, Call):
        return Moved(move=after_call(of, answer.outcome, moment), now=now, called=answer.outcome)
    return Moved(move=after_read(of, answer.finding, moment), now=now, read=answer.finding)


def kept(of: Shipment) -> Shipment:
    """The shipment as the ledger gives it back."""
    progress: dict[str, Any] = json.loads(of.progress.as_json())
    return replace(of, progress=Progress(**progress))


ANSWERS = st.builds(
    Answer,
    outcome=st.sampled_from(OUTCOMES),
    finding=st.sampled_from(FINDINGS),
    lost=st.integers(0, 5).map(lambda n: n == 0),
)
WORLDS = st.builds(
    World,
    begins=st.integers(1, 3).map(lambda steps: shipment(*(VIRTUAL, SERVICE, GROUP)[:steps])),
    answers=st.lists(ANSWERS, min_size=1, max_size=25),
    retry=st.builds(Retry, attempts=st.integers(1, 4), deadline_hours=st.sampled_from([0.01, 0.3, 3.0])),
    random=st.floats(0, 1, exclude_max=True),
)
