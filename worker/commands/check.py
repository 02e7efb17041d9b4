"""`allocation check`: validates settings and merchant files."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

import click
from pydantic_settings import BaseSettings

from config.merchant_files.merchant_file import Choice, Merchant
from config.merchant_files.reading import read_all
from config.settings import Settings
from worker.commands.check_order import check_order
from worker.commands.check_remarks import Remark, Severity, all_remarks
from worker.commands.example_lines import example
from worker.commands.output import cell, print_json, print_table, say, table
from worker.commands.publish import EVENT_FILE
from worker.observability.text import count

_COLOURS = {"problem": "red", "warning": "yellow", "note": "cyan"}


class _Where(BaseSettings):
    """The settings that reading merchant files needs; they are there even when others are wrong."""

    model_config = Settings.model_config

    merchants_dir: Path = Settings.model_fields["merchants_dir"].default
    allow_http_hosts: str = ""


@click.command(epilog=example("allocation check config/merchants --strict", "allocation check --order order.json"))
@click.argument(
    "folder", required=False, metavar="[DIR]", type=click.Path(exists=True, file_okay=False, path_type=Path)
)
@click.option("--strict", is_flag=True, help="Fail on warnings, too: a gate for a deploy.")
@click.option(
    "--order", "order", type=EVENT_FILE, metavar="FILE", help="Show rule and plan of each shipment of an order."
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON document.")
def command(folder: Path | None, *, strict: bool, order: Path | None, as_json: bool) -> None:
    """Validate the settings and every merchant file in DIR (by default ALLOCATION_MERCHANTS_DIR).

    Each problem is named with file, key and advice, and makes the exit code 1. A warning does so only with --strict:
    without its API key, for one, a merchant is paused until the key is there. No API is called, and no key is printed.
    Redis need not run: if it responds within a second, its settings for replicas are compared with the merchants' quiet
    times.
    """
    where = _where()
    hosts = Settings.model_construct(allow_http_hosts=where.allow_http_hosts).http_hosts
    folder = folder or where.merchants_dir
    merchants, problems = read_all(folder, hosts)
    if order is not None:
        check_order(order, merchants, as_json=as_json)
        return
    remarks = [*all_remarks(folder, merchants.values(), problems)]
    if as_json:
        print_json(_document(merchants.values(), remarks))
    else:
        _print(merchants.values(), remarks)
    fatal = {"problem", "warning"} if strict else {"problem"}
    sys.exit(int(any(remark.severity in fatal for remark in remarks)))


def _where() -> _Where:
    try:
        return _Where()
    except (ValueError, OSError):
        # Said as a problem of the settings.
        return _Where.model_construct()


def _steps(choice: Choice) -> list[str]:
    return [str(step) for step in (choice.strategy, *choice.fallback)]


def _print(merchants: Iterable[Merchant], remarks: list[Remark]) -> None:
    rows = table("merchant", "api", "~steps when no rule matches", "~rules")
    for merchant in merchants:
        rules = ", ".join(rule.name for rule in merchant.file.rules)
        steps = ", then ".join(_steps(merchant.file.allocation))
        rows.add_row(cell(merchant.name), cell(merchant.file.api.flavour), cell(steps), cell(rules or None))
    if rows.row_count:
        print_table(rows)
    for remark in remarks:
        say(str(remark), fg=_COLOURS[remark.severity])
    found = sum(remark.severity == "problem" for remark in remarks)
    say(f"{count(rows.row_count, 'merchant')} valid, {count(found, 'problem')}", bold=True)


def _document(merchants: Iterable[Merchant], remarks: list[Remark]) -> dict[str, Any]:
    return {
        "merchants": [
            {
                "merchant": merchant.name,
                "api": merchant.file.api.flavour,
                "steps": _steps(merchant.file.allocation),
                "rules": [{"name": rule.name, "steps": _steps(rule)} for rule in merchant.file.rules],
            }
            for merchant in merchants
        ],
        **{
            f"{severity}s": [{"file": r.file, "key": r.key, "text": r.text} for r in remarks if r.severity == severity]
            for severity in get_args(Severity)
        },
    }
