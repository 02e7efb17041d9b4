"""`allocation audit`: actions of operators."""

from dataclasses import asdict

import click

from config.settings import Settings
from worker.commands.example_lines import example
from worker.commands.output import cell, print_json, print_table, say, table
from worker.commands.session import visit
from worker.ledger.operator_actions import Action, read_actions
from worker.redis_client.store import Store


@click.command(epilog=example("allocation audit --limit 20"))
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, metavar="N", help="The latest N.")
@click.option("--json", "as_json", is_flag=True, help="Print the actions as JSON.")
def command(limit: int, *, as_json: bool) -> None:
    """Show what operators did, newest first: replay, dismiss, hold, resume, cancel, emit, forget."""

    async def work(store: Store, _: Settings) -> list[Action]:
        return await read_actions(store.redis, limit)

    actions = visit(work)
    if as_json:
        print_json([asdict(action) for action in actions])
        return
    rows = table("~time", "action", "~subject", "#count", "~by", "~why")
    for each in actions:
        rows.add_row(*map(cell, (each.at, each.action, each.subject, each.count, each.by, each.why or None)))
    if actions:
        print_table(rows)
    else:
        say("no action yet")
