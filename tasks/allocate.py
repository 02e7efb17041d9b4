"""The Celery tasks: shells that let the runtime of their process work, and pass on what fell back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, Protocol, cast

import structlog
from celery import Celery, Task, chain, shared_task
from celery.canvas import Signature
from kombu.exceptions import OperationalError

from config.celery_options import BATCHES, SWEEP_TASK
from config.strategies.catalogue import STRATEGIES
from tasks.work.messages import FellBack, Link, by_route, make_link, parse_link, summarize

log = structlog.get_logger(__name__)

ALLOCATE_TASK = "allocation.allocate"


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkResult:
    """What a task's work came to while it ran: what it was, by counts, and the shipments that fell back."""

    counts: Mapping[str, int]
    fell_back: Sequence[FellBack] = ()


class Runtime(Protocol):
    """What a worker process can do; it is put on the Celery app when the process starts."""

    def serve(self) -> WorkResult | None:
        """Take what is due, and what comes due, for a while; None if another process must."""

    def follow(self, link: Link) -> WorkResult | None:
        """Work on the shipments of a link, for as long as a task may take; None if another process must."""

    def sweep(self) -> dict[str, Any]:
        """Have what is due taken, and do the housekeeping."""


def _runtime(task: "Task[..., Any]") -> Runtime:
    return cast(Runtime, cast(Any, task.app).runtime)


@shared_task(name=ALLOCATE_TASK, bind=True, default_retry_delay=0, max_retries=None)
def allocate(
    self: "Task[..., Any]", **_message: Any
) -> dict[str, Any]:  # nothing is read of it: it says that work is due
    """Take what is due, and what comes due, for a while."""
    return {**_worked(self, _runtime(self).serve()).counts}


def _worked(task: "Task[..., Any]", worked: WorkResult | None) -> WorkResult:
    """What a task came to. If another process must do it: the same message, and the rest of a chain, once more."""
    if worked is None:
        raise task.retry()
    return worked


def _fallback(self: "Task[..., Any]", message: dict[str, Any], **_shown: Any) -> dict[str, Any]:
    """One link: work on what the link before handed on, and hand on what this step was refused.

    A refusal is a value, so the next link runs if there is something for it; it takes only shipments that stand at its
    own step.
    """
    link = parse_link(message)
    worked = _worked(self, _runtime(self).follow(link))
    if not worked.fell_back:
        # Celery would send the next link all the same.
        self.request.chain = None
        return {**worked.counts}
    return {**make_link(worked.fell_back, link.unknown_fields).as_message(), **worked.counts}


class ChainLink(Task):  # type: ignore[type-arg]  # celery-types knows one, Celery none
    """A task of a fallback chain. The link before it sends it; should the broker be away, that has done its part.

    The leases of its shipments then run out, and they are taken at the step they stand at.
    """

    abstract = True
    default_retry_delay = 0
    max_retries = None

    def apply_async(self, *args: Any, **options: Any) -> Any:  # as Celery has it
        """Send it, if the broker is there."""
        try:
            return super().apply_async(*args, **options)
        except OperationalError as error:
            log.warning(
                "link_not_sent", task=self.name, error=str(error), next="its shipments are due with their leases"
            )
            return None


@shared_task(name=SWEEP_TASK, bind=True)
def sweep(self: "Task[..., Any]") -> dict[str, Any]:
    """Bring back what is due."""
    return _runtime(self).sweep()


_link_task: Any = partial(shared_task, bind=True, base=ChainLink)

FALLBACK_TASKS = {
    strategy.name: _link_task(name=f"allocation.fallback.{strategy.name}")(_fallback) for strategy in STRATEGIES
}


def start_fallback(
    app: Celery, fallen_back: Sequence[FellBack], unknown_fields: Mapping[str, Any] = MappingProxyType({})
) -> None:
    """Send a whole chain for each kind of way: one task per step, named by its strategy."""
    for steps, same_way in by_route(fallen_back).items():
        whose = summarize(each.shipment.merchant for each in same_way)
        links = [_link(app, step, merchant=whose) for step in steps]
        chain(*links)(make_link(same_way, unknown_fields).as_message())


def _link(app: Celery, strategy: str, **shown: str) -> "Signature[Any]":
    link = app.tasks[f"allocation.fallback.{strategy}"].s(**shown, strategy=strategy)
    return link.set(queue=BATCHES)
