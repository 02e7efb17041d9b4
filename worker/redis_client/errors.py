"""What Redis says no with: which of its errors pass by themselves, and which are a fault of ours."""

import re
from typing import Any

from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    ExecAbortError,
    MasterDownError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError


class RefusalError(ResponseError):
    """A server that is up says no, in words for which the client has no class of its own."""


_NAMED_REFUSALS = (
    ReadOnlyError,
    MasterDownError,
    ClusterDownError,
    TryAgainError,
    AskError,
    OutOfMemoryError,
    ExecAbortError,
    NoPermissionError,
    NoScriptError,
)

REFUSALS = (ResponseError, AuthenticationError, BusyLoadingError)
"""Errors of a server that is up: for the client two of them are errors of the connection."""

TRANSIENT_ERRORS = (RedisConnectionError, RedisTimeoutError, OSError, RefusalError, *_NAMED_REFUSALS)
"""Errors of a server that is away, or up and says no for whatever reason: waited out, as that passes.

Not among them is only what a command or script of ours brings upon itself.
"""

REPLICA_ERRORS = (ReadOnlyError, MasterDownError)
"""Errors of a server that is no primary (any more)."""

_OUR_FAULT = re.compile(
    r"(WRONGTYPE|BUSYGROUP|NOGROUP|CROSSSLOT) "
    r"|ERR .*(user_script|wrong number of arg|syntax error|unknown (sub)?command|no such key"
    r"|value is not|is not an? (integer|valid)|invalid stream id|must be|the id specified)",
    re.IGNORECASE | re.DOTALL,
)
"""What an error begins with, or says, that is a bug or an answer, and would be the same at the next try."""

_PASSED_ON = re.compile(r"ERR .*script.*(no permissions|can't run this command|killed by user)", re.DOTALL)
"""A script's error for which it can do nothing."""

_WITHIN = re.compile(r"ERR .*user_script: ?\d+: -?((?!ERR|WRONGTYPE)[A-Z]{3,} .+)", re.DOTALL)
"""What a command within a script was told, as servers before Redis 7 wrap it."""


class ErrorClassifier:
    """Tells refusals from our own faults as they are read, and leaves the connection on which a replica refused.

    Whoever asks for a connection next gets a new one: after a failover behind one address, to the new primary.
    """

    _connection: Any = None

    def on_connect(self, connection: Any) -> None:
        """Know whose answers these are."""
        self._connection = connection
        super().on_connect(connection)  # type: ignore[misc]  # what it is mixed into has it

    def parse_error(self, response: str) -> Exception:
        """The error that a server's words are."""
        if wrapped := _WITHIN.match(response):
            return self.parse_error(wrapped[1])
        error: Exception = super().parse_error(response)  # type: ignore[misc]  # likewise
        if isinstance(error, REPLICA_ERRORS) or response.startswith("UNBLOCKED"):
            self._connection.mark_for_reconnect()
        return RefusalError(response) if type(error) is ResponseError and not _is_our_fault(response) else error


def _is_our_fault(response: str) -> bool:
    return bool(_OUR_FAULT.match(response)) and not _PASSED_ON.match(response)
