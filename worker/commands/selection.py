"""Selecting failed shipments by reference, merchant, reason and strategy; a value that does not exist is an error."""

from typing import get_args

import click

from config.settings import Settings
from tasks.rules.decision import FailReason
from worker.commands.nearest import check_merchant, no_such
from worker.ledger.replay import ReplayFilter, select_failures
from worker.observability.failures import read_causes
from worker.redis_client.store import Redis, Store


async def check_selection(store: Store, settings: Settings, wanted: ReplayFilter) -> None:
    """Raise an error for a value that does not exist, or for a reference of several merchants."""
    if wanted.merchant:
        await check_merchant(store.redis, settings, wanted.merchant)
    if wanted.reason and wanted.reason not in get_args(FailReason):
        raise no_such("reason", wanted.reason, get_args(FailReason))
    if wanted.references:
        await _check_references(store.redis, settings, wanted)
    elif wanted.strategy is not None:
        await _check_strategy(store, settings, wanted, wanted.strategy)


async def _check_strategy(store: Store, settings: Settings, wanted: ReplayFilter, strategy: str) -> None:
    causes = await read_causes(store, settings, wanted.merchant, wanted.reason)
    known = sorted({cause.strategy for cause in causes})
    if strategy not in known:
        raise no_such("failed shipment with the strategy", strategy, known)


async def _check_references(redis: Redis, settings: Settings, wanted: ReplayFilter) -> None:
    owners: dict[str, list[str]] = {reference: [] for reference in wanted.references}
    for failure in await select_failures(redis, settings, wanted):
        owners[failure.reference].append(failure.merchant)
    for reference, merchants in owners.items():
        if len(merchants) > 1:
            names = ", ".join(merchants)
            raise click.UsageError(f"failed shipments of {names} have the reference {reference}; add --merchant")
        if not merchants:
            everything = await select_failures(redis, settings, ReplayFilter(merchant=wanted.merchant))
            raise no_such("failed shipment", reference, [each.reference for each in everything])
