"""The log, in order of time: calls when they arrived, and late actions when they took effect."""

from collections import deque
from collections.abc import Iterator
from itertools import islice

from worker.lab.sandbox.state import Acted, ReceivedCall

_MOST = 1_000_000
"""How many entries are kept; earlier ones are dropped, but counted."""


class Log:
    """A list that only grows at its end. An entry keeps its number."""

    def __init__(self, most: int = _MOST) -> None:
        """Start empty."""
        self._entries: deque[ReceivedCall | Acted] = deque(maxlen=most)
        self._total = 0

    def add(self, entry: ReceivedCall | Acted) -> None:
        """Append an entry."""
        self._entries.append(entry)
        self._total += 1

    def since(self, first: int) -> Iterator[tuple[int, ReceivedCall | Acted]]:
        """The entries from this number on, each with its number."""
        forgotten = self._total - len(self._entries)
        start = max(first - forgotten, 0)
        return enumerate(islice(self._entries, start, None), start=forgotten + start)
