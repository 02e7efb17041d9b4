"""What intake makes of entries, whatever the number of scripts it takes."""

from collections.abc import Sequence

from worker.processes.event_sorting import Sorted, portions
from worker.processes.merchant_files import Merchants
from worker.streams.orders import Entry


def sort_entries(entries: Sequence[Entry], merchants: Merchants) -> Sorted:
    """All portions in one."""
    result = Sorted()
    for some, _ in portions(entries, merchants):
        result.accepted += some.accepted
        result.rejected += some.rejected
        result.not_ours += some.not_ours
    return result
