"""`allocation sandbox`: the simulated PRO API."""

from pathlib import Path
from typing import get_args

import click

from worker.commands.example_lines import example
from worker.commands.publish import EVENT_FILE, read_events, refuse_wrong
from worker.lab.sandbox.app import serve
from worker.lab.sandbox.options import Options, V1Form
from worker.lab.sandbox.orders import KnownOrders
from worker.processes.environment import load

_SECONDS = click.FloatRange(min=0)


_EXAMPLE = example(
    "allocation sandbox --port 8700 --follow",
    "curl http://127.0.0.1:8700/_sandbox/faults --data \\",
    """  '[{"fault": "drop", "on": "allocate", "acts": true, "share": 0.33}]'""",
    "curl -X DELETE http://127.0.0.1:8700/_sandbox/faults",
)
"""Every third allocation is made but its response lost; then the fault is removed."""


@click.command(epilog=_EXAMPLE)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port; 0, the default, chooses a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--follow", is_flag=True, help="Take weight, country and tags of shipments from the orders stream.")
@click.option(
    "--orders",
    "files",
    multiple=True,
    type=EVENT_FILE,
    metavar="FILE",
    help="Take them from order-created events, as `allocation publish` reads them; repeatable.",
)
@click.option("--latency", type=_SECONDS, default=0.0, metavar="S", help="Seconds added to every call.")
@click.option(
    "--queue",
    type=_SECONDS,
    default=Options().queue_s,
    show_default=True,
    metavar="S",
    help="How long a queued shipment is `allocating`, in seconds.",
)
@click.option("--no-auto-create", is_flag=True, help="Accept only shipments of orders, or created through /_sandbox.")
@click.option(
    "--key", "keys", multiple=True, default=Options().keys, show_default=True, help="An accepted API key; repeatable."
)
@click.option(
    "--v1-form",
    type=click.Choice(get_args(V1Form)),
    default=Options().v1_form,
    show_default=True,
    help="The form of v1's JSON responses.",
)
def command(  # noqa: PLR0913  # one argument per option
    *,
    port: int,
    host: str,
    follow: bool,
    files: tuple[Path, ...],
    latency: float,
    queue: float,
    no_auto_create: bool,
    keys: tuple[str, ...],
    v1_form: V1Form,
) -> None:
    """Serve a simulated PRO API, v2 under /pro and v1 at the root, until SIGTERM or Ctrl-C.

    Its first line is its address. A shipment is created when it is first named: as its order describes it (--follow,
    --orders), else 1 kg to GB. Faults can be switched on while it runs, and every call is counted: docs/sandbox.md has
    the faults, scenarios to rehearse, and all endpoints.
    """
    options = Options(keys=keys, auto_create=not no_auto_create, latency_s=latency, queue_s=queue, v1_form=v1_form)
    settings = load() if follow else None
    orders = _orders_of(files)
    try:
        serve(host=host, port=port, options=options, orders=orders, follow=settings)
    except OSError as error:
        raise click.ClickException(f"cannot listen on {host}:{port}: {error.strerror}; choose another --port") from None


def _orders_of(files: tuple[Path, ...]) -> KnownOrders:
    """The orders of files; what intake would reject ends the command with exit code 1."""
    orders = KnownOrders()
    if files:
        events = read_events(files)
        refuse_wrong(events, "so the sandbox was not started; fix them")
        for event in events:
            orders.add(event.text)
    return orders
