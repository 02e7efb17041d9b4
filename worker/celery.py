"""The Celery application, found by `celery -A worker`, and what its processes do when they start and end."""

import asyncio
import gc
import importlib
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import structlog
from billiard.process import current_process
from celery import Celery, signals
from celery.concurrency.prefork import TaskPool as PreforkPool
from celery.worker import state
from kombu.exceptions import ConnectionLimitExceeded, OperationalError

from config.celery_options import BATCHES, SWEEP_TASK, SWEEPS
from config.settings import FormatError, SettingsError
from worker.dispatch.broker import configure, queue_depth
from worker.ledger.format import introduce
from worker.observability.heartbeat import touch
from worker.observability.logs import start_logging, start_sentry
from worker.observability.watchdog import Progress
from worker.processes.environment import load
from worker.processes.siblings import Siblings
from worker.redis_client.store import RedisError

log = structlog.get_logger(__name__)

if TYPE_CHECKING:
    from worker.processes.child import ChildRuntime


def _end(code: int, *lines: str) -> NoReturn:
    for line in lines:
        sys.stderr.write(f"allocation: {line}\n")
    raise SystemExit(code)


try:
    settings = load()
except SettingsError as error:
    _end(2, *str(error).splitlines())


class Allocation(Celery):
    """The application, and in a worker child what does the work there."""

    runtime: "ChildRuntime"


app = configure(Allocation("allocation"), settings)
app.set_default()
children = Siblings(settings.concurrency)


def _waiting() -> int:
    """Messages in the queue; none that we could know of while the broker is away."""
    try:
        with app.pool.acquire(block=True, timeout=1) as connection:
            return queue_depth(connection, BATCHES)
    except (OperationalError, OSError, ConnectionLimitExceeded, RedisError):
        return 0


_progress = Progress(
    waiting=_waiting, received=lambda: sum(state.total_count.values()), running=lambda: len(state.active_requests)
)


@signals.setup_logging.connect
def _logging(**_: Any) -> None:  # what Celery passes
    start_logging()


@signals.worker_init.connect
@signals.beat_init.connect
def _starting(**_: Any) -> None:
    # Celery sets up its logging only after this.
    start_logging()
    start_sentry(settings)
    try:
        asyncio.run(introduce(settings))
    except FormatError as error:
        _end(1, str(error))


@signals.worker_init.connect
def _refuse_other_pools(sender: Any, **_: Any) -> None:  # Celery's worker
    """A task holds its process for a moment only, and leases, heartbeats and limits count on processes."""
    if not issubclass(sender.pool_cls, PreforkPool):
        _end(2, "--pool: only prefork is supported; leave it out")
    # It may be another number than that of the settings.
    children.count = sender.concurrency


@signals.worker_init.connect
def _load_what_children_need(**_: Any) -> None:
    """Imported once, before the fork, so that the children share the memory of it; beat does without."""
    importlib.import_module("worker.processes.child")


@signals.worker_ready.connect
def _ready(**_: Any) -> None:
    """Begin with what is due, rather than at beat's next turn."""
    app.send_task(SWEEP_TASK, queue=SWEEPS, ignore_result=True)


@signals.heartbeat_sent.connect
def _beats(**_: Any) -> None:
    """Every two seconds while the worker's own clockwork turns; a stuck consumer is noticed here."""
    touch("worker")
    if _progress.is_stalled():
        log.error("worker_stalled", next="ending, to be started anew")
        os.kill(os.getpid(), signal.SIGTERM)


@signals.worker_before_create_process.connect
def _before_fork(**_: Any) -> None:
    """Keep what the children share out of the garbage collector's hands, so that its pages stay shared."""
    gc.freeze()


@signals.worker_shutting_down.connect
def _ending(**_: Any) -> None:
    """Who serves is in the middle of a task, for which Celery waits."""
    children.end()


@signals.worker_process_init.connect
def _child_starts(**_: Any) -> None:
    # Not at the top: beat imports this module too, and needs neither the HTTP client nor the event loop.
    from worker.processes.child import ChildRuntime  # noqa: PLC0415

    children.is_child(getattr(current_process(), "index", 0))
    app.runtime = ChildRuntime(app, settings, children)


@signals.worker_process_shutdown.connect
def _child_ends(**_: Any) -> None:
    app.runtime.stop()
