"""The Celery tasks: thin wrappers around the runtime of their process, and the fallback chains."""

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
from tasks.work.messages import FellBack, Link, by_route, make_link, parse_link

log = structlog.get_logger(__name__)

ALLOCATE_TASK = "allocation.allocate"

FALLBACK_TASK = "allocation.fallback."
"""The beginning of the name of a link; the strategy follows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkResult:
    """The result of a task's work: its `tasks.work.messages.RESULT_FIELDS`, and the shipments that fell back."""

    counts: Mapping[str, int]
    fell_back: Sequence[FellBack] = ()


class Runtime(Protocol):
    """The runtime of a worker process, set on the Celery app when the process starts."""

    def serve(self) -> WorkResult | None:
        """Run the claim loop; None if another process must run the task."""

    def follow(self, link: Link) -> WorkResult | None:
        """Work on the shipments of a link; None if another process must run the task."""

    def sweep(self) -> dict[str, Any]:
        """Start claim loops for due shipments, and run maintenance."""


def _runtime(task: "Task[..., Any]") -> Runtime:
    return cast(Runtime, cast(Any, task.app).runtime)


@shared_task(name=ALLOCATE_TASK, bind=True, default_retry_delay=0, max_retries=None)
def allocate(self: "Task[..., Any]", **_message: Any) -> dict[str, Any]:  # for display only
    """Run the claim loop of this child."""
    return {**_result(self, _runtime(self).serve()).counts}


def _result(task: "Task[..., Any]", result: WorkResult | None) -> WorkResult:
    """Return the result; if another process must run the task, requeue its message with the rest of its chain."""
    if result is None:
        raise task.retry()
    return result


def _fallback(self: "Task[..., Any]", message: dict[str, Any], **_shown: Any) -> dict[str, Any]:
    """One link: work on the shipments of the link before, and pass those that fall back to the next one.

    A refusal is a result, not an error, so the next link runs if any shipment fell back. A link claims only shipments
    at its own step.
    """
    link = parse_link(message)
    result = _result(self, _runtime(self).follow(link))
    if not result.fell_back:
        # Otherwise Celery would send the next link without shipments.
        self.request.chain = None
        return {**result.counts}
    return {**result.counts, **make_link(result.fell_back, link.unknown_fields).as_message()}


class ChainLink(Task):  # type: ignore[type-arg]  # celery-types knows one, Celery none
    """A task of a fallback chain. It is sent by the link before it, which does not fail if the broker is unavailable.

    The leases of its shipments then expire, and they are reclaimed at their current step.
    """

    abstract = True
    default_retry_delay = 0
    max_retries = None

    def apply_async(self, *args: Any, **options: Any) -> Any:  # Celery's signature
        """Send the task; logs `link_not_sent` and returns None if the broker is unavailable."""
        try:
            return super().apply_async(*args, **options)
        except OperationalError as error:
            log.warning(
                "link_not_sent",
                task=self.name,
                error=str(error),
                next="its shipments are reclaimed when their leases expire",
            )
            return None


# Without events: 17,280 sweeps a day would displace all other tasks from Flower's history.
@shared_task(name=SWEEP_TASK, bind=True, send_events=False)
def sweep(self: "Task[..., Any]") -> dict[str, Any]:
    """Start claim loops for due shipments, and run maintenance."""
    return _runtime(self).sweep()


_link_task: Any = partial(shared_task, bind=True, base=ChainLink)

FALLBACK_TASKS = {
    strategy.name: _link_task(name=f"{FALLBACK_TASK}{strategy.name}")(_fallback) for strategy in STRATEGIES
}


def start_fallback(
    app: Celery, fallen_back: Sequence[FellBack], unknown_fields: Mapping[str, Any] = MappingProxyType({})
) -> None:
    """Send one chain for each sequence of remaining strategies, with one task per step."""
    for steps, group in by_route(fallen_back).items():
        links = [_link(app, step) for step in steps]
        chain(*links)(make_link(group, unknown_fields).as_message())


def _link(app: Celery, strategy: str) -> "Signature[Any]":
    return app.tasks[f"{FALLBACK_TASK}{strategy}"].s().set(queue=BATCHES)
