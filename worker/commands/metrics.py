"""`allocation metrics`: serves Prometheus metrics without Flower."""

import asyncio
import signal

import click
from aiohttp import web

from config.settings import Settings
from worker.commands.example_lines import example
from worker.commands.output import say
from worker.commands.session import away
from worker.ledger.format import introduce
from worker.observability.logs import start_logging
from worker.observability.metrics import CONTENT_TYPE
from worker.processes.environment import load
from worker.processes.readings import METRICS_PATH, ReadingsSource
from worker.redis_client.store import RedisError, Store, connect


@click.command(epilog=example("allocation metrics --port 9464"))
@click.option("--port", type=click.IntRange(0, 65535), default=9464, show_default=True, help="Port; 0 chooses one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on. There is no login.")
def command(*, port: int, host: str) -> None:
    """Serve Prometheus metrics at /allocation/metrics until SIGTERM or Ctrl-C.

    Flower serves the same behind its login. docs/operating.md lists the metrics. Without Redis the response is 503.
    """
    settings = load()
    start_logging(settings.log_level)
    try:
        asyncio.run(_serve(settings, host, port))
    except OSError as error:
        raise click.ClickException(f"cannot listen on {host}:{port}: {error.strerror}; choose another --port") from None


async def _serve(settings: Settings, host: str, port: int) -> None:
    await introduce(settings)
    redis = connect(settings)
    source = ReadingsSource(Store(redis), settings)

    async def respond(_: web.Request) -> web.Response:
        try:
            text = await source.metrics()
        except (RedisError, OSError) as error:
            return web.Response(status=503, text=f"{away(settings, error)}\n")
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE})

    app = web.Application()
    app.router.add_get(METRICS_PATH, respond)
    runner, stop = web.AppRunner(app, access_log=None), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        say(f"serving http://{runner.addresses[0][0]}:{runner.addresses[0][1]}{METRICS_PATH}")
        await stop.wait()
    finally:
        await runner.cleanup()
        await redis.aclose()
