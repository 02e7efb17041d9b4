"""The chain of a plan: each link works at its own step, and hands on what it was refused."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from celery import Celery

from tasks.allocate import ALLOCATE_TASK, Worked
from tasks.chains import by_way
from tasks.ports import Handover
from tests.rules.made import GROUP, SERVICE, VIRTUAL
from tests.tasks.trial import several

PLAN = (VIRTUAL, SERVICE, GROUP)
MESSAGE = {"merchant": "acme", "shipments": 2, "strategy": "virtual_service V", "token": "t0", "references": ["a", "b"]}


@dataclass(kw_only=True)
class MemoryRuntime:
    """Refuses every shipment of a message its step, as far as the test says."""

    refuses: Callable[[int, str], bool]
    worked: list[Handover] = field(default_factory=list)

    def work(self, message: Handover) -> Worked:
        """Who is refused stands at the next step then."""
        self.worked.append(message)
        step = message.step or 0
        refused = [name for name in message.references if self.refuses(step, name) and step + 1 < len(PLAN)]
        return Worked(token=f"t{step + 1}", fell_back=several(" ".join(refused), *PLAN, step=step + 1))

    def sweep(self) -> dict[str, Any]:
        """Not asked for."""
        raise NotImplementedError


@pytest.fixture
def app() -> Celery:
    """Works on every message at once, in this process."""
    app = Celery("trial", set_as_current=False)
    app.conf.task_always_eager = True
    app.conf.task_eager_propagates = True
    return app


def played(app: Celery, refuses: Callable[[int, str], bool], **message: Any) -> list[Handover]:
    """What was worked on, message by message."""
    runtime = MemoryRuntime(refuses=refuses)
    app.__dict__["runtime"] = runtime
    app.tasks[ALLOCATE_TASK].apply(kwargs=MESSAGE | message)
    return runtime.worked


def test_a_refused_step_starts_the_chain(app: Celery) -> None:
    """Each link takes the step it was made for, and the token of the task before."""
    worked = played(app, lambda _, name: name == "a")
    assert [(each.step, each.token, each.references) for each in worked] == [
        (None, "t0", ("a", "b")),
        (1, "t1", ("a",)),
        (2, "t2", ("a",)),
    ]
    assert [each.strategy for each in worked] == ["virtual_service V", "carrier_service S", "service_group G"]


def test_a_chain_ends_when_nobody_is_left(app: Celery) -> None:
    """A link with nothing to do touches nothing."""
    assert [each.step for each in played(app, lambda step, _: step == 0)] == [None, 1]
    assert [each.step for each in played(app, lambda _, __: False)] == [None]


def test_what_a_newer_version_says_goes_with_it(app: Celery) -> None:
    """Unknown fields of the first message reach every link of the chain."""
    worked = played(app, lambda _, __: True, mood={"good": 1})
    assert [each.unknown_fields for each in worked] == [{"mood": {"good": 1}}] * 3


def test_shipments_that_share_a_chain() -> None:
    """Those with the same steps before them go together, whatever lies behind them."""
    one, two, three = several("a b c", VIRTUAL, SERVICE, GROUP, step=1)
    (other,) = several("d", GROUP, SERVICE, GROUP, step=1)
    (later,) = several("e", VIRTUAL, SERVICE, GROUP, step=2)
    (longer,) = several("f", VIRTUAL, SERVICE, GROUP, VIRTUAL, step=1)
    ways = by_way([one, later, two, other, longer, three])
    assert [[shipment.reference for shipment in way] for way in ways] == [["a", "b", "d", "c"], ["e"], ["f"]]
