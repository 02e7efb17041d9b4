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
    `open_at`, its end as this side saw it; `quiet_from`, the latest of that and the last read-back that said
    `allocating`. It stays here until a later open call takes its place or a queued one is decided. `also_open`: besides
    a queued call another one may be open, which nobody remembers.

    `give_up_at`: from when on a shipment that is still `allocating` fails; its time is over, or it took too long.

    `last_read`, `read_at`: what the last read-back said and when it was sent. `read_before`: what the last one before
    the open call had said. `allocating_since`: when the API was first known to be at it. `unread`: to be read back
    before the next call, though nothing is open. `refusal`: a refusal that counts after a read-back;
    `refusal_message`: what the API said with it.

    `open_calls`: calls of this step that were open. `group_size`: the most shipments its next call may carry, once a
    call was refused as a whole; `refused_partly`: some shipments of such a call may have been allocated.
    `expired_quotes`: rounds of quotes that had all expired. `denied_at`: when the API last answered 403; `denials`:
    how often while it answered others well. `asked_again`: calls after an open one; `asked_again_told`: how many of
    them are logged and counted, as the last call of a lost worker is not. `waits`: times parked since anything moved,
    the exponent of the backoff. `attempted`: the last step of this plan that was called for.
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
    asked_again: int = 0
    asked_again_told: int = 0
    waits: int = 0
    attempts: int = 0
    attempted: int | None = None
    entries: int = 0
    last_refusal: str | None = None
    unknown_fields: dict[str, Any] = field(default_factory=dict)
    is_readable: bool = True

    def as_json(self) -> str:
        """Only what differs from the beginning, and the fields that this version does not know.

        Empty for a record that this version cannot read: what it says stays as it is.
        """
        if not self.is_readable:
            return ""
        own = {name: value for name, value in self.__dict__.items() if value != _AT_FIRST[name]}
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
    asked_again: int
    asked_again_told: int
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
    said: dict[str, Any] = from_json(text)
    unknown = {name: value for name, value in said.items() if name not in _DEFAULTS}
    known = {name: value for name, value in said.items() if name in _DEFAULTS}
    return _PROGRESS.validate_python({**known, "unknown_fields": unknown})


_PROGRESS = TypeAdapter(Progress)


_AT_FIRST = dict(Progress().__dict__)

# Fields that still have their default are not among its own: there is less to copy, and to look through.
BEGINNING = construct(Progress, {"unknown_fields": {}})

_DEFAULTS: dict[str, Any] = {
    f.name: f.default for f in fields(Progress) if f.name not in ("unknown_fields", "is_readable")
}
