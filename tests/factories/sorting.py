"""What intake makes of entries, whatever the number of scripts it takes."""

from collections.abc import Sequence

from worker.processes.event_sorting import ClassifiedEvents, portions
from worker.processes.merchant_files import MerchantFiles
from worker.streams.orders import Entry


def sort_entries(entries: Sequence[Entry], merchants: MerchantFiles) -> ClassifiedEvents:
    """All portions in one."""
    result = ClassifiedEvents()
    for some, _ in portions(entries, merchants):
        result.accepted += some.accepted
        result.rejected += some.rejected
        result.ignored += some.ignored
    return result
