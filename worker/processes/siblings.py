"""What the children of a worker know of each other: who is in the middle of a task, and whether all are to end."""

import mmap
import struct
import time

_MOST = 1024
_TURN, _TURN_AT = struct.Struct("d"), 1 + _MOST


class Siblings:
    """A piece of memory that parent and children share; made before they are forked."""

    def __init__(self, count: int) -> None:
        """`count`: how many children there are, known before they are forked."""
        self._shared = mmap.mmap(-1, _TURN_AT + _TURN.size)
        self.count = count
        self._mine = 1

    def is_child(self, number: int) -> None:
        """This process is that child, from 0; who had the number before is gone."""
        self._mine = 1 + number % _MOST
        self.is_free()

    def is_busy(self) -> None:
        """This child is in the middle of a task."""
        self._shared[self._mine] = 1

    def is_free(self) -> None:
        """This child may get a task."""
        self._shared[self._mine] = 0

    def others_are_free(self) -> bool:
        """Whether a message would find a child that may get it."""
        return sum(self._shared[1 : self.count + 1]) < min(self.count, _MOST)

    def has_turn(self, every_s: float) -> bool:
        """Whether it is time for what one of the children does for all of them, every so many seconds."""
        now = time.monotonic()
        (latest,) = _TURN.unpack_from(self._shared, _TURN_AT)
        if latest and now < latest + 0.9 * every_s:
            return False
        _TURN.pack_into(self._shared, _TURN_AT, now)
        return True

    def end(self) -> None:
        """The worker is told to end."""
        self._shared[0] = 1

    @property
    def must_end(self) -> bool:
        """Whether the worker was told to end."""
        return self._shared[0] == 1
