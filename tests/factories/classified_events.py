"""Classified stream entries, regardless of the number of ledger scripts they need."""

from collections.abc import Sequence

from worker.processes.event_sorting import ClassifiedEvents, classify
from worker.processes.merchant_files import MerchantFiles
from worker.streams.orders import Entry


def sort_entries(entries: Sequence[Entry], merchants: MerchantFiles) -> ClassifiedEvents:
    """All portions as one."""
    result = ClassifiedEvents()
    for portion, _ in classify(entries, merchants):
        result.accepted += portion.accepted
        result.rejected += portion.rejected
        result.ignored += portion.ignored
    return result
