"""`allocation cancel`: gives up an unfinished shipment."""

import click

from config.settings import Settings
from worker.commands.example_lines import example
from worker.commands.nearest import one_record
from worker.commands.options import by, why
from worker.commands.output import say
from worker.commands.session import visit
from worker.ledger import operator_actions
from worker.redis_client.store import Store


@click.command(epilog=example("allocation cancel sp_00802615769404976542730318118912 --why 'sold twice'"))
@click.argument("reference")
@click.option("--merchant", metavar="M", help="The merchant; needed if several have a shipment of this reference.")
@why
@by
def command(reference: str, merchant: str | None, *, why: str, by: str) -> None:
    """Cancel the shipment REFERENCE: it gets no further call.

    After its quiet time, if one runs, it is read back. If it is not allocated, it fails as cancelled_by_operator; else
    its event is published. The API is not told to cancel anything. Exit code 1: it is settled already.
    """

    async def work(store: Store, settings: Settings) -> str:
        record = await one_record(store.redis, settings, reference, merchant)
        name = record.shipment.merchant
        if not await operator_actions.cancel(store, name, reference, by, why):
            raise click.ClickException(f"{reference} of {name} is settled already")
        return name

    say(f"{reference} of {visit(work)} is cancelled; `allocation explain {reference}` shows what happens next")
