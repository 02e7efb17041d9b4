"""`allocation resume`: lifts a hold and a pause."""

import click

from config.settings import Settings
from worker.commands.example_lines import example
from worker.commands.nearest import check_merchant
from worker.commands.options import by
from worker.commands.output import say
from worker.commands.session import visit
from worker.ledger.ledger import Ledger
from worker.ledger.operator_actions import note_resumed, record_action, release_hold
from worker.observability.text import count
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
        return await _resume(store, settings, merchant, by)

    lines = visit(work)
    say("; ".join(lines) if lines else f"{merchant} was neither on hold nor paused")


async def _resume(store: Store, settings: Settings, merchant: str, by: str) -> list[str]:
    ledger, lines, due = Ledger(store, settings), list[str](), 0
    if await release_hold(store, merchant):
        lines.append(f"the hold of {merchant} is lifted")
    if merchant in await ledger.paused():
        due = await ledger.resume(merchant)
        await note_resumed(store.redis, merchant)
        lines.append(f"its pause is lifted; {count(due, 'parked shipment')} became due")
    if lines:
        await record_action(store.redis, "resume", by, merchant, count=due)
    return lines
