"""`allocation intake`: the process that reads the orders stream."""

import click
import uvloop

from config.settings import Settings
from worker.commands.example_lines import example
from worker.processes.environment import load


@click.command(epilog=example("allocation intake"))
def command() -> None:
    """Read order-created events and put their shipments into ledger and schedule.

    Several intakes can run in parallel. On SIGTERM it accepts what it has read and exits.
    """
    # As the children of the worker do: the loop is half of what an event costs here.
    uvloop.run(_run(load()))


async def _run(settings: Settings) -> None:
    from celery import Celery  # noqa: PLC0415  # seconds of imports that `--help` does not need

    from worker.dispatch.broker import configure  # noqa: PLC0415
    from worker.dispatch.dispatcher import Dispatcher  # noqa: PLC0415
    from worker.ledger.ledger import Ledger  # noqa: PLC0415
    from worker.observability.logs import start_logging, start_sentry  # noqa: PLC0415
    from worker.processes.intake import Intake  # noqa: PLC0415
    from worker.redis_client.safety import announce  # noqa: PLC0415
    from worker.redis_client.store import Store, connect  # noqa: PLC0415

    start_logging(settings.log_level)
    start_sentry(settings)
    app = configure(Celery("allocation"), settings)
    redis = connect(settings)
    await announce(redis, settings)
    store = Store(redis)
    ledger = Ledger(store, settings)
    await Intake(settings, store, Dispatcher(app, ledger), ledger).run()
    await redis.aclose()
