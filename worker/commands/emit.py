"""`allocation emit`: publishes the event of a settled shipment again."""

import click

from config.settings import Settings
from worker.commands.example_lines import example
from worker.commands.nearest import one_record
from worker.commands.options import by
from worker.commands.output import say
from worker.commands.session import visit
from worker.ledger import operator_actions
from worker.ledger.shipment_state import Settled
from worker.redis_client.store import Store


@click.command(epilog=example("allocation emit sp_00802615769404976542730318118912"))
@click.argument("reference")
@click.option("--merchant", metavar="M", help="The merchant; needed if several have a shipment of this reference.")
@by
def command(reference: str, merchant: str | None, *, by: str) -> None:
    """Publish the event of the settled shipment REFERENCE again, with the same id.

    For a consumer that has lost it. Exit code 1: the shipment is not settled, or its event is older than
    ALLOCATION_KEEP_DAYS.
    """

    async def work(store: Store, settings: Settings) -> str:
        record = await one_record(store.redis, settings, reference, merchant)
        if not isinstance(record.where, Settled):
            raise click.ClickException(f"{reference} is not settled; `allocation explain {reference}` shows its state")
        if record.where.event is None:
            raise click.ClickException(f"the event of {reference} is no longer in its stream")
        return await operator_actions.emit(store.redis, settings, record.where.event, by)

    say(f"published again as {visit(work)}")
