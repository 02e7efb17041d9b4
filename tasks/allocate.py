"""The Celery tasks: shells that turn a message into a value, let the runtime work, and pass on what fell back."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, Protocol, cast

import structlog
from celery import Celery, Task, chain, shared_task
from celery.canvas import Signature
from kombu.exceptions import OperationalError

from config.celery_options import BATCHES, SWEEP_TASK
from config.strategies.catalogue import STRATEGIES, AnyStrategy
from tasks.chains import by_way, handover
from tasks.ports import Handover
from tasks.shipment import Shipment

log = structlog.get_logger(__name__)

ALLOCATE_TASK = "allocation.allocate"


@dataclass(frozen=True, kw_only=True, slots=True)
class Worked:
    """What a task's work came to in time: shipments that stand at their next step, and the token that holds them."""

    token: str
    fell_back: list[Shipment]


class Runtime(Protocol):
    """What a worker process can do; it is put on the Celery app when the process starts."""

    def work(self, message: Handover) -> Worked:
        """Work on a message, for as long as a task may take."""

    def sweep(self) -> dict[str, Any]:
        """Hand out what is due and keep house."""


def _runtime(task: "Task[..., Any]") -> Runtime:
    return cast(Runtime, cast(Any, task.app).runtime)


def read_message(message: dict[str, Any]) -> Handover:
    """A message as a value; fields of a newer version are kept as they are."""
    unknown = {name: value for name, value in message.items() if name not in Handover.__slots__}
    known = {name: value for name, value in message.items() if name in Handover.__slots__}
    return Handover(**{**known, "references": tuple(known["references"])}, unknown_fields=unknown)


@shared_task(name=ALLOCATE_TASK, bind=True)
def allocate(self: "Task[..., Any]", **message: Any) -> dict[str, Any]:  # the fields of Handover
    """Work on a micro-batch; what falls back in time starts its chain."""
    handed = read_message(message)
    worked = _runtime(self).work(handed)
    for shipments in by_way(worked.fell_back):
        start_fallback(self.app, shipments, worked.token, handed.unknown_fields)
    return {"merchant": handed.merchant, "shipments": handed.shipments, "fell_back": len(worked.fell_back)}


def _fallback(self: "Task[..., Any]", handed: dict[str, Any], **_shown: Any) -> dict[str, Any]:
    """One link: work on what the link before handed on, and hand on what this step was refused.

    A refusal is a value, so the next link always runs; it takes only shipments that stand at its own step.
    """
    if not handed["references"]:
        return handed
    worked = _runtime(self).work(read_message(handed))
    if not worked.fell_back:
        return {**handed, "shipments": 0, "references": []}
    unknown = read_message(handed).unknown_fields
    return {**unknown, **handover(worked.fell_back, worked.token).as_message()}


class Link(Task):  # type: ignore[type-arg]  # celery-types knows one, Celery none
    """A task of a fallback chain. The link before it sends it; should the broker be away, that has done its part.

    The leases of its shipments then run out, and the sweep hands them out at the step they stand at.
    """

    abstract = True

    def apply_async(self, *args: Any, **options: Any) -> Any:  # as Celery has it
        """Send it, if the broker is there."""
        try:
            return super().apply_async(*args, **options)
        except OperationalError as error:
            log.warning("link_not_sent", task=self.name, error=str(error), next="the sweep hands its shipments out")
            return None


@shared_task(name=SWEEP_TASK, bind=True)
def sweep(self: "Task[..., Any]") -> dict[str, Any]:
    """Bring back what is due."""
    return _runtime(self).sweep()


_link_task: Any = partial(shared_task, bind=True, base=Link)

FALLBACK_TASKS = {
    strategy.name: _link_task(name=f"allocation.fallback.{strategy.name}")(_fallback) for strategy in STRATEGIES
}


def start_fallback(
    app: Celery, shipments: list[Shipment], token: str, unknown_fields: Mapping[str, Any] = MappingProxyType({})
) -> None:
    """Send the whole chain for shipments at the same step: one task per remaining step, named by its strategy.

    `unknown_fields`: what a newer version wrote into the message that they came with.
    """
    first = shipments[0]
    links = [_link(app, first, step) for step in range(first.progress.step, len(first.steps))]
    chain(*links)({**unknown_fields, **handover(shipments, token).as_message()})


def _link(app: Celery, shipment: Shipment, step: int) -> "Signature[Any]":
    strategy: AnyStrategy = shipment.steps[step]
    link = app.tasks[f"allocation.fallback.{strategy.name}"].s(merchant=shipment.merchant, strategy=str(strategy))
    return link.set(queue=BATCHES)
