"""Selecting failed shipments by reference, merchant and reason; a value that does not exist is an error."""

from typing import get_args

from config.settings import Settings
from tasks.rules.decision import FailReason
from worker.commands.nearest import check_merchant, no_such
from worker.ledger.replay import ReplayFilter, find_failures
from worker.redis_client.store import Redis


async def check_selection(redis: Redis, settings: Settings, wanted: ReplayFilter) -> None:
    """Raise an error for a merchant, reason or reference that does not exist."""
    if wanted.merchant:
        await check_merchant(redis, settings, wanted.merchant)
    if wanted.reason and wanted.reason not in get_args(FailReason):
        raise no_such("reason", wanted.reason, get_args(FailReason))
    if wanted.reference and not await find_failures(redis, settings, wanted):
        everything = ReplayFilter(merchant=wanted.merchant)
        known = [each.reference for each in await find_failures(redis, settings, everything)]
        raise no_such("failed shipment", wanted.reference, known)
