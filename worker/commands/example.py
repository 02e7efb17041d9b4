"""`allocation example`: prints working examples."""

from importlib import resources

import click

from worker.commands.example_lines import example

FILES = {"order": "order.json", "merchant": "merchant.toml", "env": "env"}


@click.command(epilog=example("allocation example order > order.json", "allocation example env > .env"))
@click.argument("name", type=click.Choice([*FILES]))
def command(name: str) -> None:
    """Print a working example: an order-created event, a merchant file, or the environment.

    They belong together: with the sandbox on port 8700 and a Redis server on this machine, the order is allocated.
    """
    text = (resources.files("worker.commands") / "examples" / FILES[name]).read_text(encoding="utf-8")
    click.echo(text, nl=False)
