"""Flower's formatter, with tasks as Celery's events describe them."""

from typing import Any

import pytest
from celery.events.state import State
from celery.utils.saferepr import saferepr

from tasks.allocate import ALLOCATE_TASK, FALLBACK_TASK
from tasks.work.messages import CLAIMING, IN_PROGRESS, MERCHANTS, NOT_OWNED, FellBack, StartMessage, make_link
from tests.factories.batch_run import make_shipments
from tests.factories.shipments import SERVICE, VIRTUAL
from worker.processes.flower.task_lines import MAX_LENGTH, format_task

LINK = f"{FALLBACK_TASK}carrier_service"
SHOWN = 1024
"""Celery's own limit for what it shows of arguments and results."""


def shown(name: str, *args: Any, result: Any = None, **kwargs: Any) -> Any:
    """A task as Flower has it after its events, formatted."""
    events: Any = State()
    common = {"uuid": "u1", "hostname": "celery@one", "pid": 1, "clock": 1}
    texts = {"args": saferepr(args, SHOWN), "kwargs": saferepr(kwargs, SHOWN)}
    events.event({"type": "task-received", "name": name, "timestamp": 1, "local_received": 1, **texts, **common})
    if result is not None:
        text = saferepr(result, SHOWN)
        events.event(
            {"type": "task-succeeded", "result": text, "runtime": 1, "timestamp": 2, "local_received": 2, **common}
        )
    return format_task(events.tasks["u1"])


def link(references: str, **unknown: Any) -> dict[str, Any]:
    """The message of a link."""
    fallen_back = [FellBack(each, "t1") for each in make_shipments(references, VIRTUAL, SERVICE, step=1)]
    return make_link(fallen_back, unknown).as_message()


@pytest.mark.parametrize(
    ("start", "line"),
    [
        (
            StartMessage(4, "acme", 10, "filters"),
            "acme and 3 more, 10 shipments, filters",
        ),
        (StartMessage(1, "acme", 1, "default_rules"), "acme, 1 shipment, default_rules"),
        (StartMessage(0, "", 0, ""), "nothing due"),
    ],
)
def test_a_start_message(start: StartMessage, line: str) -> None:
    """It reads as one line."""
    task = shown(ALLOCATE_TASK, **start.as_message())
    assert (task.args, task.kwargs, task.result) == (line, "", "")


def test_a_link() -> None:
    """It reads as one line too, with its shipments beside it, also after the counts of the link before."""
    before = {"fell_back": 2, IN_PROGRESS: 0, MERCHANTS: 7}
    for message in (link("a b"), {**before, **link("a b")}):
        task = shown(LINK, message)
        assert (task.args, task.kwargs) == ("acme, 2 shipments, carrier_service", "acme: a b")


def test_a_link_that_celery_cuts() -> None:
    """The line is complete however many shipments a link has."""
    references = " ".join(f"sp_{n:060}" for n in range(100))
    task = shown(LINK, link(references), result={"fell_back": 100, IN_PROGRESS: 0, MERCHANTS: 1, **link(references)})
    assert (task.args, task.result) == ("acme, 100 shipments, carrier_service", "100 fell back; 1 merchant")


def test_a_link_of_an_earlier_version() -> None:
    """Its merchants are in the keyword arguments."""
    task = shown(LINK, {"shipments": 2, "claims": ["t1 acme 1 a", "t1 other 1 b"]}, merchant="acme and 1 more")
    assert (task.args, task.kwargs) == ("acme and 1 more, 2 shipments, carrier_service", "acme: a\nother: b")


@pytest.mark.parametrize(
    ("result", "line"),
    [
        (
            {"allocated": 1, "fell_back": 2, "parked": 3, "failed": 4, IN_PROGRESS: 5, NOT_OWNED: 6, MERCHANTS: 7},
            "1 allocated, 2 fell back, 3 parked, 4 failed, 5 in progress, 6 not owned; 7 merchants",
        ),
        ({"failed": 1, IN_PROGRESS: 0, MERCHANTS: 1}, "1 failed; 1 merchant"),
        ({IN_PROGRESS: 0, MERCHANTS: 0, CLAIMING: True}, "still claiming"),
        ({IN_PROGRESS: 0, MERCHANTS: 0}, "no shipments"),
        ({"allocated": 4, IN_PROGRESS: 0}, "4 allocated"),
        ("other text", "'other text'"),
    ],
)
def test_a_result(result: Any, line: str) -> None:
    """It says what came of the shipments; results of other origin are shown as they are."""
    assert shown(LINK, link("a"), result=result).result == line


@pytest.mark.parametrize("name", ["', 'merchant': 'evil", "\\", "{" * 40, "x" * 500, "\n<b>"])
def test_hostile_text(name: str) -> None:
    """A reference from a merchant file changes no other part of the line, which is cut."""
    line = shown(ALLOCATE_TASK, **StartMessage(2, "acme", 3, f"carrier_service {name}").as_message()).args
    assert line.startswith("acme and 1 more, 3 shipments")
    assert len(line) <= MAX_LENGTH


def test_other_tasks() -> None:
    """Tasks of other programs on the same broker are shown as they are, and those without arguments too."""
    assert shown("other.task", 1, merchant="acme").kwargs == "{'merchant': 'acme'}"
    assert shown(ALLOCATE_TASK).args == ""
