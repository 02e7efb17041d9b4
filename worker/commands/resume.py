"""`allocation resume`: lifts a hold and a pause."""

import click

from config.settings import Settings
from worker.commands.example_lines import example
from worker.commands.nearest import check_merchant
from worker.commands.options import by
from worker.commands.output import say
from worker.commands.session import visit
from worker.ledger.resuming import resume
from worker.redis_client.store import Store


@click.command(epilog=example("allocation resume acme"))
@click.argument("merchant")
@by
def command(merchant: str, *, by: str) -> None:
    """Lift the hold and the pause of MERCHANT.

    A pause is also lifted without this command, when key or file change or the API accepts a probe. After a pause the
    merchant's parked shipments become due at once.
    """

    async def work(store: Store, settings: Settings) -> list[str]:
        await check_merchant(store.redis, settings, merchant)
        return await resume(store, settings, merchant, by)

    lines = visit(work)
    say("; ".join(lines) if lines else f"{merchant} was neither on hold nor paused")
