"""Errors for values that do not exist: they list the known or the nearest ones."""

from collections.abc import Sequence

import click

from config.settings import Settings
from worker.ledger.records import Record, known_merchants, merchants_of, read_record
from worker.observability.nearest import LISTED, nearest, references
from worker.observability.text import visible
from worker.redis_client.store import Redis


def no_such(kind: str, value: str, known: Sequence[str]) -> click.ClickException:
    """The error for a value that does not exist. `kind`: what it is, such as merchant."""
    listed = sorted(known) if len(known) <= LISTED else nearest(value, known)
    names = ", ".join(visible(name) for name in listed)
    which = "known" if len(known) <= LISTED else "nearest"
    advice = f"{which}: {names}" if names else "there is none"
    return click.ClickException(visible(f"no {kind} {value!r}; ") + advice)


async def check_merchant(redis: Redis, settings: Settings, merchant: str) -> None:
    """Raise the error for a merchant that the ledger does not know."""
    names = await known_merchants(redis, settings.merchants_dir)
    if merchant not in names:
        raise no_such("merchant", merchant, names)


async def one_record(redis: Redis, settings: Settings, reference: str, merchant: str | None) -> Record:
    """The record of a reference; an error if there is none, or if several merchants have one and none is named."""
    if merchant:
        await check_merchant(redis, settings, merchant)
    names = [merchant] if merchant else await known_merchants(redis, settings.merchants_dir)
    owners = await merchants_of(redis, reference, names)
    if len(owners) > 1:
        raise click.ClickException(f"shipments of {', '.join(owners)} have this reference; add --merchant")
    record = await read_record(redis, settings, owners[0], reference) if owners else None
    if record is None:
        raise no_such("shipment", reference, await references(redis, names))
    return record
