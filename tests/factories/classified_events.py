"""Classified stream entries, regardless of the number of ledger scripts they need."""

from collections.abc import Sequence

from worker.processes.event_sorting import ClassifiedEvents, classify
from worker.processes.merchant_files import MerchantFiles
from worker.streams.orders import Entry


def classify_all(entries: Sequence[Entry], merchants: MerchantFiles) -> ClassifiedEvents:
    """The results of all portions in one."""
    result = ClassifiedEvents()
    for portion, _ in classify(entries, merchants):
        result.accepted += portion.accepted
        result.rejected += portion.rejected
        result.ignored += portion.ignored
    return result
