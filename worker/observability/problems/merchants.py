"""Problems of single merchants: key, file, hold, lateness, failures."""

from collections.abc import Callable, Iterator

from config.settings import Settings
from worker.ledger.pauses import NO_FILE, NO_KEY
from worker.observability.merchant_counts import MerchantCounts
from worker.observability.overview import Overview
from worker.observability.problems.problem import KnownFiles, Problem
from worker.observability.text import count, duration

LEASES_WAITED = 2


def of_merchants(overview: Overview, files: KnownFiles, settings: Settings) -> Iterator[Problem]:
    """The problems of each known merchant."""
    for merchant in overview.merchants:
        yield from _of_merchant(merchant, overview, files, settings)


def _of_merchant(
    merchant: MerchantCounts, overview: Overview, files: KnownFiles, settings: Settings
) -> Iterator[Problem]:
    """The problems of one merchant."""
    yield from (found for check in _CHECKS if (found := check(merchant, overview)))
    if found := _of_file(merchant, overview, files):
        yield found
    waited_s = merchant.oldest_due_s or 0.0
    if waited_s > LEASES_WAITED * settings.lease_seconds and not merchant.on_hold:
        yield Problem(
            slug="due_late",
            severity="urgent",
            subject=merchant.merchant,
            merchants=(merchant.merchant,),
            text=f"{merchant.merchant}: a shipment has been due for {duration(waited_s)}; are there enough workers?",
            command="allocation health worker",
            since=overview.now - waited_s,
            shipments=merchant.due,
        )


def _paused(merchant: MerchantCounts, _: Overview) -> Problem | None:
    if merchant.paused is None or merchant.paused == NO_FILE:
        return None
    is_key = merchant.paused == NO_KEY
    return Problem(
        slug="key_missing" if is_key else "merchant_paused",
        severity="urgent" if merchant.unfinished else "attention",
        subject=merchant.merchant,
        merchants=(merchant.merchant,),
        text=f"{merchant.merchant}: paused: {merchant.paused}",
        command="allocation check" if is_key else f"allocation resume {merchant.merchant}",
        since=merchant.paused_since,
        shipments=merchant.unfinished,
    )


def _on_hold(merchant: MerchantCounts, _: Overview) -> Problem | None:
    if merchant.on_hold is None:
        return None
    return Problem(
        slug="merchant_on_hold",
        severity="attention",
        subject=merchant.merchant,
        merchants=(merchant.merchant,),
        text=f"{merchant.merchant}: on hold: {merchant.on_hold}",
        since=merchant.on_hold_since,
        command=f"allocation resume {merchant.merchant}",
        shipments=merchant.unfinished,
    )


def _near_deadline(merchant: MerchantCounts, _: Overview) -> Problem | None:
    if not merchant.near_deadline:
        return None
    return Problem(
        slug="deadline_near",
        severity="urgent",
        subject=merchant.merchant,
        merchants=(merchant.merchant,),
        text=f"{merchant.merchant}: {count(merchant.near_deadline, 'shipment')} past three quarters of the time to the "
        "deadline",
        command="allocation explain REFERENCE",
        shipments=merchant.near_deadline,
    )


def _failed(merchant: MerchantCounts, _: Overview) -> Problem | None:
    if not merchant.failed:
        return None
    return Problem(
        slug="shipments_failed",
        severity="attention",
        subject=merchant.merchant,
        merchants=(merchant.merchant,),
        text=f"{merchant.merchant}: {count(merchant.failed, 'failed shipment')} to deal with",
        command=f"allocation failed --merchant {merchant.merchant}",
        since=merchant.failed_since,
    )


_CHECKS: tuple[Callable[[MerchantCounts, Overview], Problem | None], ...] = (_paused, _on_hold, _near_deadline, _failed)


def _of_file(merchant: MerchantCounts, overview: Overview, files: KnownFiles) -> Problem | None:
    name, rejected = merchant.merchant, _rejected_for(overview, merchant.merchant)
    if name in files.apis or not (name in files.invalid or merchant.unfinished or rejected):
        return None
    is_urgent = bool(merchant.unfinished or rejected)
    text = "there is none"
    if name in files.invalid:
        meanwhile = f"version {merchant.merchant_file} is used" if merchant.merchant_file else "its orders are rejected"
        text = f"invalid, {meanwhile}: {files.invalid[name]}"
    return Problem(
        slug="file_invalid" if name in files.invalid else "file_missing",
        severity="urgent" if is_urgent else "attention",
        subject=name,
        merchants=(name,),
        text=f"{name}: merchant file: {text}" + (f"; {count(rejected, 'order')} rejected for it" if rejected else ""),
        command="allocation check",
        since=files.invalid_since.get(name, merchant.paused_since),
        shipments=merchant.unfinished,
    )


def _rejected_for(overview: Overview, name: str) -> int:
    return sum(each.events for each in overview.rejected if each.merchant == name)


def of_unknown_merchants(overview: Overview) -> Iterator[Problem]:
    """Merchants that never had a file, with rejected orders: new ones without a file, or wrong names in events."""
    known = {merchant.merchant for merchant in overview.merchants}
    names = [each.merchant for each in overview.rejected if each.merchant and each.merchant not in known]
    if not names:
        return
    orders = sum(each.events for each in overview.rejected if each.merchant in names)
    listed = ", ".join(names[:_LISTED]) + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")
    yield Problem(
        slug="file_missing",
        severity="attention",
        subject=names[0] if len(names) == 1 else "",
        merchants=tuple(names),
        text=f"no merchant file of {listed}; {count(orders, 'order')} rejected for it",
        command="allocation rejected --reason unknown_merchant",
        since=min((each.since for each in overview.rejected if each.merchant in names and each.since), default=None),
    )


_LISTED = 5
