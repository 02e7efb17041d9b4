"""Process that reports several failures with Sentry enabled: `python -m tests.factories.sentry_process URL`."""

import asyncio
import sys

import sentry_sdk
import structlog

from tasks.rules.progress import Progress
from tasks.rules.shipment import Shipment
from tests.factories.ledger_harness import STEPS
from tests.factories.raw_api import KEY, call_once
from worker.observability.logs import start_logging, start_sentry
from worker.observability.sentry import SentryAlerts, check_in_sweep
from worker.processes.environment import load

SHIPMENT = Shipment(
    merchant="acme",
    reference="sp_1",
    order="1001",
    order_event="evt-1",
    api="shipments-v2",
    rule="default",
    steps=STEPS,
    received=0.0,
    published=0.0,
    progress=Progress(),
)


def fail(key: str) -> None:
    """Raise an error with a key in a local variable."""
    raise RuntimeError(f"a bug with {len(key)} letters")


def main(url: str) -> None:
    """Report failures, call an API, raise an error, and check in."""
    start_logging()
    start_sentry(load())
    alerts = SentryAlerts()
    asyncio.run(call_once(url))
    for reason in ("conflict", "conflict", "worker_lost"):
        alerts.failed(SHIPMENT, reason, "message of the API")
    alerts.paused("acme", "the key is refused")
    sentry_sdk.get_isolation_scope().set_extra("key_of_acme", KEY)
    try:
        fail(KEY)
    except RuntimeError as error:
        structlog.get_logger("reporter").exception("broken")
        sentry_sdk.capture_exception(error)
    with check_in_sweep(5):
        pass
    sentry_sdk.flush(10)


if __name__ == "__main__":
    main(sys.argv[1])
