"""`allocation rejected`: rejected events that are to be dealt with."""

import time
from collections import defaultdict
from pathlib import Path
from typing import Any, get_args

import click

from config.settings import Settings
from tasks.rules.order import RejectReason
from tasks.rules.shipment import iso
from worker.commands.example_lines import example
from worker.commands.exported_events import exported_line
from worker.commands.nearest import no_such
from worker.commands.output import cell, print_json, print_table, say, table
from worker.commands.session import visit
from worker.observability.text import count, duration
from worker.redis_client.store import Store
from worker.streams.rejected import OpenRejection, open_rejections


@click.command(
    epilog=example("allocation rejected --reason bad_order --export fix.jsonl", "allocation rejected 1795301055123-4")
)
@click.argument("stream_id", required=False)
@click.option("--reason", metavar="R", help="Only rejected events of this reason.")
@click.option("--list", "as_list", is_flag=True, help="A row per event instead of a row per reason.")
@click.option(
    "--export",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the events for fixing; `replay --rejected FILE` publishes them again.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the events as JSON.")
def command(stream_id: str | None, reason: str | None, export: Path | None, *, as_list: bool, as_json: bool) -> None:
    """Show rejected events that are to be dealt with, grouped by reason; or one of them, by its STREAM_ID, whole.

    An event is dealt with once `allocation replay` has published it again, or `allocation dismiss` has dismissed it.
    """
    if reason and reason not in get_args(RejectReason):
        raise no_such("reason", reason, get_args(RejectReason))

    async def work(store: Store, settings: Settings) -> list[OpenRejection]:
        return await open_rejections(store, settings, reason)

    found = visit(work)
    if stream_id:
        known = [each.rejected.stream_id for each in found]
        found = [each for each in found if each.rejected.stream_id == stream_id]
        if not found:
            raise no_such("rejected event", stream_id, known)
    if export:
        _export(export, found)
    elif as_json:
        print_json([_document(each) for each in found])
    elif stream_id:
        _print_one(found[0])
    else:
        _print(found, as_list=as_list)


def _export(file: Path, found: list[OpenRejection]) -> None:
    lines = [exported_line(each.rejected.stream_id, each.rejected.event) for each in found]
    try:
        file.write_text("".join(lines))
    except OSError as error:
        raise click.ClickException(f"{file}: cannot be written: {error.strerror}") from None
    say(f"wrote {count(len(lines), 'event')} to {file}; fix them, then: allocation replay --rejected {file}")


def _document(each: OpenRejection) -> dict[str, Any]:
    rejected = each.rejected
    return {
        "stream_id": rejected.stream_id,
        "at": iso(each.at),
        "reason": rejected.reason,
        "merchant": each.merchant or None,
        "error": rejected.error,
        "event": rejected.event.decode(errors="replace"),
    }


def _print_one(each: OpenRejection) -> None:
    for name, value in _document(each).items():
        say(f"{name:<10}{'-' if value is None else value}")


def _print(found: list[OpenRejection], *, as_list: bool) -> None:
    if found:
        print_table(_list(found) if as_list else _groups(found))
    say(f"{count(len(found), 'rejected event')} to deal with")


def _list(found: list[OpenRejection]) -> Any:
    rows = table("stream id", "~at", "reason", "~merchant", "~error")
    for each in found:
        words = (
            each.rejected.stream_id,
            iso(each.at),
            each.rejected.reason,
            each.merchant or None,
            each.rejected.error,
        )
        rows.add_row(*map(cell, words))
    return rows


def _groups(found: list[OpenRejection]) -> Any:
    groups: dict[tuple[str, str], list[OpenRejection]] = defaultdict(list)
    for each in found:
        groups[each.rejected.reason, each.merchant].append(each)
    rows = table("#events", "reason", "~merchant", "oldest", "newest", "~example", "~error")
    for (reason, merchant), some in sorted(groups.items(), key=lambda group: -len(group[1])):
        ages = (f"{duration(max(0.0, time.time() - each.at))} ago" for each in (some[0], some[-1]))
        last = some[-1].rejected
        rows.add_row(*map(cell, (len(some), reason, merchant or None, *ages, last.stream_id, last.error)))
    return rows
