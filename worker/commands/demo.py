"""`allocation demo`: everything on one machine, with sample orders."""

import sys

import click

from worker.commands.example_lines import example


@click.command(epilog=example("allocation demo --stay"))
@click.option("--stay", is_flag=True, help="Keep everything running afterwards, for your own orders; Ctrl-C ends it.")
@click.option("--keep", is_flag=True, help="Keep the folder with the server's files, the merchants and the logs.")
@click.option("--verbose", is_flag=True, help="Show the logs of the processes.")
def command(*, stay: bool, keep: bool, verbose: bool) -> None:
    """Run everything on this machine with sample orders and faults, and explain what happens.

    It brings its own server and a simulated PRO API, ends by itself in less than a minute and leaves nothing behind.
    Exit code 0: everything settled as expected.
    """
    from worker.lab.demo.run import Options, run  # noqa: PLC0415  # a second of imports that `--help` does not need
    from worker.lab.embedded_server import MissingServerError, embedded_binary  # noqa: PLC0415  # likewise

    try:
        embedded_binary()
    except MissingServerError as error:
        click.echo(f"allocation demo: {error}", err=True)
        sys.exit(2)
    sys.exit(run(Options(stay=stay, keep=keep, verbose=verbose)))
