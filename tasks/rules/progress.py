"""The progress of a shipment: written with every report, so that any worker can continue."""

from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypedDict

from pydantic import TypeAdapter
from pydantic_core import from_json, to_json

from tasks.rules.frozen import construct

OpenKind = Literal["unknown", "queued"]
"""What is known of an open call: nothing, or that the API queued it."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The progress of a shipment; written with every report, so that any worker can continue.

    Times are seconds since the epoch by the ledger's clock.

    The latest open call (a call that may still take effect) belongs to the shipment, whatever its step: `open_kind`;
    `open_at`, its end as the worker saw it; `quiet_from`, the latest of that and the last read-back that said
    `allocating`. It stays here until a later open call takes its place or a queued one is decided. `also_open`: besides
    a queued call, another call without a trace may be open.

    `give_up_at`: from when a shipment that is still `allocating` fails.

    `last_read`, `read_at`: the result of the last read-back and when it was sent. `read_before`: the result of the last
    one before the open call. `allocating_since`: when the API was first known to be allocating. `unread`: to be read
    back before the next call, though no call is open. `refusal`: a refusal that applies after a read-back;
    `refusal_message`: the API's message.

    `open_calls`: calls of this step that were open. `group_size`: the most shipments its next call may carry, once a
    call was refused as a whole; `refused_partly`: some shipments of such a call may have been allocated.
    `expired_quotes`: rounds of quotes that had all expired. `denied_at`: when the API last sent a 403; `denials`: how
    many, while others got good responses. `repeated_calls`: calls after an open one; `repeated_calls_reported`: how
    many of them are logged and counted, as the last call of a lost worker is not. `waits`: times parked without a
    change, the exponent of the backoff. `attempted`: the last step of this plan that was called for.
    """

    step: int = 0
    open_kind: OpenKind | None = None
    open_at: float = 0.0
    quiet_from: float = 0.0
    also_open: bool = False
    give_up_at: float | None = None
    last_read: str | None = None
    read_at: float = 0.0
    read_before: str | None = None
    allocating_since: float | None = None
    unread: bool = False
    refusal: str | None = None
    refusal_message: str = ""
    open_calls: int = 0
    group_size: int | None = None
    refused_partly: bool = False
    expired_quotes: int = 0
    denied_at: float | None = None
    denials: int = 0
    repeated_calls: int = 0
    repeated_calls_reported: int = 0
    waits: int = 0
    attempts: int = 0
    attempted: int | None = None
    entries: int = 0
    last_refusal: str | None = None
    unknown_fields: dict[str, Any] = field(default_factory=dict)
    is_readable: bool = True

    def as_json(self) -> str:
        """Only the fields that differ from their defaults, and those that this version does not know.

        Empty for a record that this version cannot read: it is left unchanged.
        """
        if not self.is_readable:
            return ""
        own = {name: value for name, value in self.__dict__.items() if value != _DEFAULT_VALUES[name]}
        return to_json(own.pop("unknown_fields", {}) | own).decode()

    @property
    def must_read(self) -> bool:
        """Whether a read-back must come before the next call."""
        return self.open_kind is not None or self.unread or self.refusal is not None


class ProgressChanges(TypedDict, total=False):
    """The fields of `Progress` that a decision may change; a type checker refuses any other name."""

    step: int
    open_kind: OpenKind | None
    open_at: float
    quiet_from: float
    also_open: bool
    give_up_at: float | None
    last_read: str | None
    read_at: float
    read_before: str | None
    allocating_since: float | None
    unread: bool
    refusal: str | None
    refusal_message: str
    open_calls: int
    group_size: int | None
    refused_partly: bool
    expired_quotes: int
    denied_at: float | None
    denials: int
    repeated_calls: int
    repeated_calls_reported: int
    waits: int
    attempts: int
    attempted: int | None
    entries: int
    last_refusal: str | None
    unknown_fields: dict[str, Any]
    is_readable: bool


def parse_progress(text: bytes | str | None) -> Progress:
    """Progress from its JSON; fields of a newer version are kept as they are.

    Raises ValueError or AttributeError for what this version cannot read.
    """
    if not text:
        return BEGINNING
    content: dict[str, Any] = from_json(text)
    unknown = {name: value for name, value in content.items() if name not in _DEFAULTS}
    known = {name: value for name, value in content.items() if name in _DEFAULTS}
    return _PROGRESS.validate_python({**known, "unknown_fields": unknown})


_PROGRESS = TypeAdapter(Progress)


_DEFAULT_VALUES = dict(Progress().__dict__)

# Fields with their default are not in its `__dict__`: less to copy and to compare.
BEGINNING = construct(Progress, {"unknown_fields": {}})

_DEFAULTS: dict[str, Any] = {
    f.name: f.default for f in fields(Progress) if f.name not in ("unknown_fields", "is_readable")
}
