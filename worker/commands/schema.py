"""`allocation schema`: JSON Schemas, and the AsyncAPI document."""

import json
from pathlib import Path
from typing import Any

import click

from tasks.events import schemas
from worker.commands.example_lines import example
from worker.commands.output import cell, print_json, print_table, table
from worker.commands.output_schemas import OUTPUTS, output_schema

_ABOUT = {
    "order-created": "an event of the orders stream",
    "shipment-allocated": "the event of an allocated shipment",
    "shipment-allocation-failed": "the event of a shipment that failed",
    "orders-rejected": "the fields of an entry of the rejected stream",
    "merchant-file": "a merchant file, for editors that check TOML",
    "asyncapi": "the AsyncAPI 3.0 document of the four streams",
    "status": "the output of `allocation status --json`",
    "explain": "the output of `allocation explain --json`",
}

NAMES = (*schemas.NAMES, *OUTPUTS)


def schema(name: str) -> dict[str, Any]:
    """One of `NAMES` as a JSON document."""
    return output_schema(name) if name in OUTPUTS else schemas.schema(name)


@click.command(epilog=example("allocation schema merchant-file > merchant.schema.json"))
@click.argument("name", required=False, type=click.Choice(NAMES))
@click.option(
    "--all", "folder", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Write all to a folder."
)
@click.option("--json", "as_json", is_flag=True, help="Print the list of names as JSON; a schema is JSON anyway.")
def command(name: str | None, folder: Path | None, *, as_json: bool) -> None:
    """Print the JSON Schema NAME, or the AsyncAPI document; without NAME, list them.

    Some conditions cannot be expressed in a schema. `allocation check` verifies that a call and a quiet time fit before
    the deadline, that the queue time is no shorter than the quiet time, that rules have unique names, which hosts may
    be plain http, and that the file has at most 256 KiB and is named after a merchant. Intake verifies that an event
    has at most 1 MiB, a merchant with a file, and numbers of at most 64 digits; it accepts `data_base64` in place of
    `data`.
    """
    if name and folder:
        raise click.UsageError("give either NAME or --all DIR")
    if folder:
        _write_all(folder)
    elif name:
        print_json(schema(name))
    elif as_json:
        print_json(_ABOUT)
    else:
        rows = table("name", "~describes")
        for each, about in _ABOUT.items():
            rows.add_row(cell(each), cell(about))
        print_table(rows)


def _write_all(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in NAMES:
            path = folder / ("asyncapi.json" if name == "asyncapi" else f"{name}.schema.json")
            path.write_text(json.dumps(schema(name), indent=2) + "\n")
            click.echo(path)
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from None
