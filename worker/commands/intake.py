"""`allocation intake`: the process that reads the orders stream."""

import asyncio

import click

from config.settings import Settings
from worker.environment import load


@click.command()
def command() -> None:
    """Read order-created events, put their shipments into ledger and schedule, and hand them out to the workers.

    Many intakes may run side by side. Ends on SIGTERM, after what it has in hand.
    """
    asyncio.run(_run(load()))


async def _run(settings: Settings) -> None:
    from celery import Celery  # noqa: PLC0415  # seconds of imports that `--help` does not need

    from worker.broker import configure  # noqa: PLC0415
    from worker.handout import HandOut  # noqa: PLC0415
    from worker.intake import Intake  # noqa: PLC0415
    from worker.introduction import announce  # noqa: PLC0415
    from worker.ledger import Ledger  # noqa: PLC0415
    from worker.store import Store, connect  # noqa: PLC0415
    from worker.telemetry import start_logging, start_sentry  # noqa: PLC0415

    start_logging()
    start_sentry(settings)
    app = configure(Celery("allocation"), settings)
    redis = connect(settings)
    await announce(redis, settings)
    ledger = Ledger(Store(redis), settings)
    await Intake(settings, Store(redis), HandOut(app, ledger, settings), ledger).run()
    await redis.aclose()
