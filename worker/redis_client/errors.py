"""Redis errors: which are transient, and which are bugs."""

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
    """A refusal for which the client has no class of its own."""


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
"""Errors of a running server; the client classifies two of them as connection errors."""

TRANSIENT_ERRORS = (RedisConnectionError, RedisTimeoutError, OSError, RefusalError, *_NAMED_REFUSALS)
"""Errors of a server that is unavailable or refuses for whatever reason: retried.

The only exceptions are errors that a command or script causes itself.
"""

REPLICA_ERRORS = (ReadOnlyError, MasterDownError)
"""Errors of a replica."""

_OUR_FAULT = re.compile(
    r"(WRONGTYPE|BUSYGROUP|NOGROUP|CROSSSLOT) "
    r"|ERR .*(user_script|wrong number of arg|syntax error|unknown (sub)?command|no such key"
    r"|value is not|is not an? (integer|valid)|invalid stream id|must be|the id specified)",
    re.IGNORECASE | re.DOTALL,
)
"""Errors that are bugs or results, and that a retry would repeat."""

_PASSED_ON = re.compile(r"ERR .*script.*(no permissions|can't run this command|killed by user)", re.DOTALL)
"""A script's error that the script does not cause."""

_WITHIN = re.compile(r"ERR .*user_script: ?\d+: -?((?!ERR|WRONGTYPE)[A-Z]{3,} .+)", re.DOTALL)
"""The error of a command within a script, as servers before Redis 7 wrap it."""


class ErrorClassifier:
    """Classifies errors as they are read, and closes the connection on which a replica refused.

    The next command gets a new connection: after a failover behind one address, to the new primary.
    """

    _connection: Any = None

    def on_connect(self, connection: Any) -> None:
        """Remember the connection of this parser."""
        self._connection = connection
        super().on_connect(connection)  # type: ignore[misc]  # what it is mixed into has it

    def parse_error(self, response: str) -> Exception:
        """The exception for an error reply."""
        if wrapped := _WITHIN.match(response):
            return self.parse_error(wrapped[1])
        error: Exception = super().parse_error(response)  # type: ignore[misc]  # likewise
        if isinstance(error, REPLICA_ERRORS) or response.startswith("UNBLOCKED"):
            self._connection.mark_for_reconnect()
        return RefusalError(response) if type(error) is ResponseError and not _is_our_fault(response) else error


def _is_our_fault(response: str) -> bool:
    return bool(_OUR_FAULT.match(response)) and not _PASSED_ON.match(response)
