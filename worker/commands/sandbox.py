"""`allocation sandbox`: the simulated PRO API."""

from typing import get_args

import click

from worker.commands.output import example
from worker.lab.sandbox.app import serve
from worker.lab.sandbox.options import Options, V1Form

_SECONDS = click.FloatRange(min=0)


_EXAMPLE = example(
    "allocation sandbox --port 8700 --latency 0.2",
    "curl http://127.0.0.1:8700/_sandbox/faults --data \\",
    """  '[{"fault": "drop", "on": "allocate", "acts": true, "share": 0.33}]'""",
    "curl -X DELETE http://127.0.0.1:8700/_sandbox/faults",
)
"""Every third allocation is made but its response lost; then the fault is removed."""


@click.command(epilog=_EXAMPLE)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port; 0, the default, chooses a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--latency", type=_SECONDS, default=0.0, metavar="S", help="Seconds added to every call.")
@click.option(
    "--queue",
    type=_SECONDS,
    default=Options().queue_s,
    show_default=True,
    metavar="S",
    help="How long a queued shipment is `allocating`, in seconds.",
)
@click.option("--no-auto-create", is_flag=True, help="Accept only shipments created through /_sandbox.")
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
def command(
    *, port: int, host: str, latency: float, queue: float, no_auto_create: bool, keys: tuple[str, ...], v1_form: V1Form
) -> None:
    """Serve a simulated PRO API, v2 and v1, until SIGTERM or Ctrl-C.

    It serves v2 under /pro and v1 at the root, prints its address on the first line, and creates shipments when they
    are first named. Faults can be switched on while it runs, for all calls or a share of them: `slow`, `status`,
    `throttled`, `conflict`, `unauthorised`, `forbidden`, `gone`, `foreign`, `refused_whole`, `drop`, `cut`, `hang`,
    `garbage`, `repeated`, `late`, `queued`, `stuck`, `omit`. With `late_s` the API acts that many seconds after its
    response. Totals are at /_sandbox/counts, the calls of one shipment at /_sandbox/shipments/REFERENCE, all calls at
    /_sandbox/calls.
    """
    options = Options(keys=keys, auto_create=not no_auto_create, latency_s=latency, queue_s=queue, v1_form=v1_form)
    try:
        serve(host=host, port=port, options=options)
    except OSError as error:
        raise click.ClickException(f"cannot listen on {host}:{port}: {error.strerror}; choose another --port") from None
