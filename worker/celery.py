"""The Celery application, found by `celery -A worker`, and the signal handlers that start and stop its processes."""

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
from celery.apps import worker as celery_worker
from celery.concurrency.prefork import TaskPool as PreforkPool
from celery.worker import state
from kombu.exceptions import ConnectionLimitExceeded, OperationalError

import worker.processes.own_packages  # noqa: F401  # before any import of them
from config.celery_options import BATCHES, SWEEP_TASK, SWEEPS
from config.settings import FormatError, SettingsError
from worker.dispatch.broker import configure, queue_depth
from worker.ledger.format import introduce
from worker.observability.heartbeat import touch_heartbeat_file
from worker.observability.logs import start_logging, start_sentry
from worker.observability.watchdog import CONSUMER_STALLED_S, EXITS, ConsumptionWatchdog
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
    """The application; in a worker child it carries the child's runtime."""

    runtime: "ChildRuntime"


app = configure(Allocation("allocation"), settings)
# By name, as Celery resolves them: only a worker imports the consumer, and only beat its scheduler.
app.conf.update(
    worker_consumer="worker.dispatch.consumer:Consumer", beat_scheduler="worker.processes.beat:SweepScheduler"
)
app.set_default()
children = Siblings(settings.concurrency)


def _waiting() -> int:
    """Number of messages in the queue; 0 while the broker is unavailable."""
    try:
        with app.pool.acquire(block=True, timeout=1) as connection:
            return queue_depth(connection, BATCHES)
    except (OperationalError, OSError, ConnectionLimitExceeded, RedisError):
        return 0


_watchdog = ConsumptionWatchdog(
    waiting=_waiting, received=lambda: sum(state.total_count.values()), running=lambda: len(state.active_requests)
)


if "flower" in sys.argv[1:]:
    # Flower sends no signal, and would log in a format of its own.
    start_logging(settings.log_level)
    importlib.import_module("worker.processes.flower_pages").install(settings)
    importlib.import_module("worker.processes.flower_tasks").install()


@signals.celeryd_init.connect
@signals.beat_init.connect
@signals.setup_logging.connect
def _logging(**_: Any) -> None:  # Celery's keyword arguments
    start_logging(settings.log_level)


@signals.celeryd_init.connect
def _log_only(**_: Any) -> None:
    # Written beside the log, from a signal handler.
    celery_worker.safe_say = lambda *_: None  # type: ignore[attr-defined]  # untyped


@signals.worker_init.connect
@signals.beat_init.connect
def _starting(**_: Any) -> None:
    start_sentry(settings)
    try:
        asyncio.run(introduce(settings))
    except FormatError as error:
        _end(1, str(error))


@signals.worker_init.connect
def _refuse_other_pools(sender: Any, **_: Any) -> None:  # Celery's worker
    """Only prefork works: a task returns before its work is done, and leases and heartbeats belong to processes."""
    if not issubclass(sender.pool_cls, PreforkPool):
        _end(2, "--pool: only prefork is supported; remove the option")
    # May differ from the settings.
    children.count = sender.concurrency


@signals.worker_init.connect
def _load_what_children_need(**_: Any) -> None:
    """Import the child's modules before the fork, so that the children share their memory; beat does not need them."""
    importlib.import_module("worker.processes.child")


@signals.worker_ready.connect
def _ready(**_: Any) -> None:
    """Sweep at startup, without waiting for beat."""
    app.send_task(SWEEP_TASK, queue=SWEEPS, ignore_result=True)


@signals.heartbeat_sent.connect
def _beats(**_: Any) -> None:
    """Called every two seconds by the worker's timer; ends the worker if its consumer is stalled."""
    touch_heartbeat_file("worker")
    if _watchdog.is_stalled():
        log.error("worker_stalled", seconds=CONSUMER_STALLED_S, next=EXITS)
        os.kill(os.getpid(), signal.SIGTERM)


@signals.worker_before_create_process.connect
def _before_fork(**_: Any) -> None:
    """Exclude existing objects from garbage collection, which would unshare the memory pages of the children."""
    gc.freeze()


@signals.worker_shutting_down.connect
def _ending(**_: Any) -> None:
    """Celery waits for running tasks: tell them to return."""
    children.start_shutdown()


@signals.worker_process_init.connect
def _child_starts(**_: Any) -> None:
    # Imported here because beat imports this module and needs neither the HTTP client nor the event loop.
    from worker.processes.child import ChildRuntime  # noqa: PLC0415

    children.register(getattr(current_process(), "index", 0))
    app.runtime = ChildRuntime(app, settings, children)


@signals.worker_process_shutdown.connect
def _child_ends(**_: Any) -> None:
    app.runtime.stop()
