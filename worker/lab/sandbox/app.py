"""The sandbox as an HTTP server."""

import asyncio
import signal
import sys

import uvloop
from aiohttp import hdrs, web

from config.settings import Settings
from worker.lab.sandbox.followed_orders import FollowedOrders
from worker.lab.sandbox.handler import Sandbox
from worker.lab.sandbox.listening import EagerSite
from worker.lab.sandbox.options import Options
from worker.lab.sandbox.orders import KnownOrders

_LARGEST_BODY = 64 * 1024 * 1024
_SHUTDOWN_S = 0.1
"""How long an unfinished response may take when the sandbox stops."""


def build(options: Options, orders: KnownOrders, follow: Settings | None) -> web.Application:
    """The sandbox as an application with one catch-all route."""
    application = web.Application(client_max_size=_LARGEST_BODY)
    followed = None
    if follow is not None:
        followed = FollowedOrders(follow, orders)
        application.cleanup_ctx.append(followed.while_serving)
    application.router.add_route(hdrs.METH_ANY, "/{path:.*}", Sandbox(options, orders, followed).handle)
    return application


def runner(options: Options, orders: KnownOrders | None = None, follow: Settings | None = None) -> web.AppRunner:
    """The application with its connection limits, not listening yet."""
    application = build(options, orders or KnownOrders(), follow)
    return web.AppRunner(
        application, access_log=None, keepalive_timeout=options.keepalive_s, shutdown_timeout=_SHUTDOWN_S
    )


def serve(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    options: Options | None = None,
    orders: KnownOrders | None = None,
    follow: Settings | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; port 0 is any free one. Prints the address once it can be called.

    `orders` state the facts of shipments; `follow`: settings of the orders stream to read further ones from. Raises
    OSError if the address cannot be listened on.
    """
    uvloop.run(_serve(host, port, options or Options(), orders, follow))


async def _serve(host: str, port: int, options: Options, orders: KnownOrders | None, follow: Settings | None) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    running = runner(options, orders, follow)
    await running.setup()
    site = EagerSite(running, host, port)
    await site.start()
    sys.stdout.write(f"sandbox listening on http://{host}:{site.port}\n")
    sys.stdout.flush()
    await stop.wait()
    await running.cleanup()
