"""`allocation publish`: publishes order-created events."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from config.settings import Settings
from worker.commands.event_files import FoundEvent, read_files, wrong
from worker.commands.example_lines import example
from worker.commands.output import console, print_json, say
from worker.commands.session import visit
from worker.observability.text import count
from worker.redis_client.store import Store
from worker.streams.publishing import publish

_WRONG_SHOWN = 20
_LONG = 1000

EVENT_FILE = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)


@click.command(epilog=example("allocation publish orders.jsonl --rate 50"))
@click.argument("files", nargs=-1, required=True, type=EVENT_FILE, metavar="FILE...")
@click.option("--validate/--no-validate", default=True, help="Validate all events before the first one is published.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), metavar="N", help="At most N events per second.")
@click.option("--json", "as_json", is_flag=True, help="Print the ids of the stream's entries as JSON.")
def command(files: tuple[Path, ...], rate: float | None, *, validate: bool, as_json: bool) -> None:
    """Publish order-created events; `-` is standard input.

    A FILE holds one event as JSON, a JSON array of events, or JSON Lines. Each event is published unchanged. If one
    of them is wrong, none is published: exit code 1, with file, line and reason. To publish an event a second time
    does no harm.
    """
    publish_files(files, rate=rate, validate=validate, as_json=as_json)


def publish_files(files: Sequence[Path], *, rate: float | None, validate: bool, as_json: bool) -> None:
    """Publish the events of files, or print what is invalid and exit with 1."""
    events = read_events(files)
    if validate:
        refuse_wrong(events)
    ids = publish_texts([event.text for event in events], rate)
    if as_json:
        print_json({"published": len(ids), "ids": ids})
    else:
        say(f"published {count(len(ids), 'event')}")


def read_events(files: Sequence[Path]) -> list[FoundEvent]:
    """The events of files; an error without any."""
    try:
        events = list(read_files(files))
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from None
    if not events:
        raise click.ClickException("no event found; a file contains a JSON object, an array, or JSON Lines")
    return events


def refuse_wrong(
    events: Sequence[FoundEvent], consequence: str = "so none was published; fix them, or use --no-validate"
) -> None:
    """Print what intake would reject, and exit with 1 if there is anything, naming the consequence."""
    found = [problem for event in events if (problem := wrong(event))]
    if not found:
        return
    for problem in found[:_WRONG_SHOWN]:
        say(str(problem), error=True)
    if len(found) > _WRONG_SHOWN:
        say(f"and {len(found) - _WRONG_SHOWN} more", error=True)
    total = count(len(events), "event")
    say(f"{len(found)} of {total} would be rejected, {consequence}", error=True)
    sys.exit(1)


def publish_texts(events: Sequence[bytes], rate: float | None) -> list[str]:
    """Publish, with a bar on a terminal when it takes long; returns the ids of the stream's entries."""

    async def work(store: Store, settings: Settings) -> list[str]:
        with progress_bar(len(events), slow=rate is not None) as on_progress:
            return await publish(store.redis, settings.orders_stream, events, rate, on_progress)

    return visit(work)


@contextmanager
def progress_bar(total: int, *, slow: bool) -> Iterator[Callable[[int], None]]:
    """A progress bar on a terminal for what takes long; yields the function that updates it."""
    hidden = not sys.stderr.isatty() or (total < _LONG and not slow)
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(sys.stderr), transient=True, disable=hidden) as progress:
        bar = progress.add_task("publishing", total=total)
        yield lambda done: progress.update(bar, completed=done)
