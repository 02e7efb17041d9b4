"""`allocation hold`: stops a merchant."""

import click

from config.settings import Settings
from worker.commands.example_lines import example
from worker.commands.nearest import check_merchant
from worker.commands.options import by, why
from worker.commands.output import say
from worker.commands.session import visit
from worker.ledger import operator_actions
from worker.redis_client.store import Store


@click.command(epilog=example("allocation hold acme --why 'the carrier is on strike'"))
@click.argument("merchant")
@why
@by
def command(merchant: str, *, why: str, by: str) -> None:
    """Stop MERCHANT: its shipments get no call until `allocation resume`.

    Orders are still accepted. Calls that are in flight continue, and their results are recorded. Deadlines continue
    too.
    """

    async def work(store: Store, settings: Settings) -> bool:
        await check_merchant(store.redis, settings, merchant)
        return await operator_actions.hold(store.redis, merchant, by, why)

    is_new = visit(work)
    say(f"{merchant} is {'now' if is_new else 'still'} on hold; `allocation resume {merchant}` lifts it")
