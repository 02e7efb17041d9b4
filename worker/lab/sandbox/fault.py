"""One fault as `POST /_sandbox/faults` accepts it, and the options of each fault."""

from typing import Annotated, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

Kind = Literal["allocate", "read", "quote", "label"]
"""The kind of an endpoint."""

FaultName = Literal[
    "slow",
    "status",
    "throttled",
    "conflict",
    "unauthorised",
    "forbidden",
    "gone",
    "foreign",
    "refused_whole",
    "drop",
    "cut",
    "hang",
    "garbage",
    "repeated",
    "late",
    "queued",
    "stuck",
    "omit",
]
Body = Literal["html", "shape", "empty", "text"]
_LONGEST_S = 1e9
Seconds = Annotated[float, Field(ge=0, le=_LONGEST_S)]
"""A duration; a bound of decades keeps it within what timers and dates can hold."""
Share = Annotated[float, Field(ge=0, le=1)]

PER_SHIPMENT: frozenset[FaultName] = frozenset({"late", "queued", "stuck", "omit"})
_OF_ALLOCATIONS: frozenset[FaultName] = frozenset({"late", "repeated", "refused_whole"})
"""Faults of allocation calls only, regardless of `on`."""

_LATE = frozenset(get_args(FaultName)) - {"queued", "stuck", "refused_whole"}
_QUEUED = frozenset({"queued"})
_WHOLE = frozenset({"refused_whole"})
_ERRORS = frozenset(
    {"status", "throttled", "conflict", "unauthorised", "forbidden", "gone", "foreign", "refused_whole"}
)
ONLY_FOR: dict[str, frozenset[str]] = {
    "late_s": _LATE,
    "acts_share": _LATE,
    "queue_s": _QUEUED,
    "lag_s": _QUEUED,
    "code": _WHOLE,
    "because_of": _WHOLE,
    "partly": _WHOLE,
    "conflict": frozenset({"repeated"}),
    "status": frozenset({"status", "foreign", "refused_whole"}),
    "body": frozenset({"garbage", "foreign"}),
    "retry_after_s": _ERRORS,
}
"""The faults that an option goes with; any other option goes with every fault."""

_STATUSES: dict[FaultName, frozenset[int]] = {
    "status": frozenset({500, 502, 503, 504}),
    "foreign": frozenset({401, 403, 404, 405, 521}),
}
_BODIES: dict[FaultName, frozenset[Body]] = {
    "garbage": frozenset({"html", "shape", "empty"}),
    "foreign": frozenset({"html", "empty", "text"}),
}


class Fault(BaseModel):
    """One fault; docs/sandbox.md documents every key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fault: FaultName
    on: Literal["allocate", "read", "quote", "any"] = "any"
    references: frozenset[str] | None = None
    share: Share = 1.0
    times: Annotated[int, Field(ge=1)] | None = None
    times_each: Annotated[int, Field(ge=1)] | None = None
    acts: bool = False
    latency_s: Seconds = 0.0
    late_s: Seconds = 0.0
    acts_share: Share = 1.0
    queue_s: Seconds | None = None
    lag_s: Seconds = 0.0
    status: Annotated[int, Field(ge=400, le=599)] | None = None
    code: Annotated[str, Field(min_length=1)] | None = None
    retry_after_s: Annotated[int, Field(ge=0, le=_LONGEST_S)] | None = None
    body: Body = "html"
    because_of: Annotated[frozenset[str], Field(min_length=1)] | None = None
    partly: bool = False
    conflict: bool = False

    @model_validator(mode="after")
    def _fits(self) -> Self:
        """Reject an option that has no effect."""
        for option, faults in ONLY_FOR.items():
            if self.fault not in faults and getattr(self, option) != type(self).model_fields[option].default:
                raise ValueError(f"{option} does not go with {self.fault}")
        if self.acts_share < 1 and not self.late_s:
            raise ValueError("acts_share requires late_s")
        if self.fault == "refused_whole" and self.because_of is None:
            raise ValueError("refused_whole needs because_of")
        if self.status is not None and self.status not in _STATUSES.get(self.fault, {self.status}):
            raise ValueError(f"{self.fault} does not answer {self.status}")
        if self.body not in _BODIES.get(self.fault, {self.body}):
            raise ValueError(f"{self.fault} has no body {self.body}")
        return self

    def concerns(self, kind: Kind, reference: str) -> bool:
        """Whether the fault concerns a call of this kind for this shipment."""
        named = self.references if self.because_of is None else self.because_of
        meets = kind == "allocate" or self.fault not in _OF_ALLOCATIONS
        return meets and self.on in {"any", kind} and (named is None or reference in named)
