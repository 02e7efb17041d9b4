"""State that the children of a worker share: which of them run a task, and whether the worker is shutting down."""

import mmap
import struct
import time

_MAX = 1024
_TURN, _TURN_AT = struct.Struct("d"), 1 + _MAX


class Siblings:
    """Shared memory of a worker and its children; create it before the children are forked."""

    def __init__(self, count: int) -> None:
        """`count`: the number of children."""
        self._shared = mmap.mmap(-1, _TURN_AT + _TURN.size)
        self.count = count
        self._mine = 1

    def register(self, number: int) -> None:
        """Use the place of child `number`, from 0; a dead child that had the same number no longer counts as busy."""
        self._mine = 1 + number % _MAX
        self.mark_free()

    @property
    def is_first(self) -> bool:
        """Whether this is the first child, which logs what concerns the whole worker."""
        return self._mine == 1

    def mark_busy(self) -> None:
        """This child runs a task."""
        self._shared[self._mine] = 1

    def mark_free(self) -> None:
        """This child runs no task."""
        self._shared[self._mine] = 0

    def has_free_child(self) -> bool:
        """Whether at least one child runs no task, so that a new message is executed at once."""
        return sum(self._shared[1 : self.count + 1]) < min(self.count, _MAX)

    def take_turn(self, every_s: float) -> bool:
        """Whether a job that one child runs on behalf of all, every `every_s` seconds, is due; True claims the turn."""
        now = time.monotonic()
        (latest,) = _TURN.unpack_from(self._shared, _TURN_AT)
        if latest and now < latest + 0.9 * every_s:
            return False
        _TURN.pack_into(self._shared, _TURN_AT, now)
        return True

    def start_shutdown(self) -> None:
        """Tell all children that the worker shuts down."""
        self._shared[0] = 1

    @property
    def is_shutting_down(self) -> bool:
        """Whether the worker shuts down."""
        return self._shared[0] == 1
