"""The `[retry]` and `[limits]` tables of a merchant file."""

from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

_STRICT = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)
_MAX_HOURS = 24 * 365
_HOUR_S = 3600
_QUEUE_S = 900.0

MAX_QUIET_S = 3600.0
"""The longest quiet time that a merchant file may state."""


class Retry(BaseModel):
    """`[retry]`: attempts, deadline and quiet time.

    A call is open when its outcome is unknown or when the API queued it: it may still take effect.
    """

    model_config = _STRICT

    attempts: int = Field(
        8, ge=1, le=1000, description="How many calls of one step may come to nothing before the shipment fails."
    )
    deadline_hours: float = Field(
        48, gt=0, le=_MAX_HOURS, description="Hours from intake, or from a replay, until the shipment fails."
    )
    quiet_seconds: float = Field(
        60,
        ge=1,
        le=MAX_QUIET_S,
        description="How long a shipment is only read back after a call whose outcome is unknown. Must exceed the "
        "longest time in which the API may still act on a call after its response or a dropped connection.",
    )
    queue_seconds: float | None = Field(
        None,
        ge=1,
        le=_MAX_HOURS * _HOUR_S,
        description="How long a shipment is only read back after a call that the API has queued; not below "
        "quiet_seconds. By default 900 or half the deadline, whichever is shorter, but not below quiet_seconds.",
    )

    @field_validator("queue_seconds")
    @classmethod
    def _is_no_shorter(cls, value: float | None, others: ValidationInfo) -> float | None:
        quiet_s = others.data.get("quiet_seconds")
        if value is not None and quiet_s is not None and value < quiet_s:
            raise ValueError(f"{_s(value)} is below quiet_seconds ({_s(quiet_s)}); raise it or remove it")
        return value

    @property
    def deadline_s(self) -> float:
        """The deadline in seconds."""
        return self.deadline_hours * _HOUR_S

    @property
    def quiet_s(self) -> float:
        """How long a shipment is only read back after a call whose outcome is unknown."""
        return self.quiet_seconds

    @property
    def queue_s(self) -> float:
        """The same after a call that was queued: as stated, or the default."""
        if self.queue_seconds is not None:
            return self.queue_seconds
        return max(self.quiet_seconds, min(_QUEUE_S, self.deadline_s / 2))

    def unsupported_reason(self, timeout_s: float) -> Iterator[tuple[str, str]]:
        """What does not fit into the deadline with such a timeout: the key and the message."""
        call = f"a call of up to {_s(timeout_s)} (api.timeout_s)"
        deadline = f"before the deadline ({_s(self.deadline_s)})"
        if timeout_s + self.quiet_s >= self.deadline_s:
            stated = "quiet_seconds" in self.model_fields_set
            text = f"{call} and a quiet time of {_s(self.quiet_s)} do not end {deadline}, so no call would be made"
            advice = "raise deadline_hours or lower quiet_seconds"
            yield "quiet_seconds" if stated else "deadline_hours", f"{text}; {advice}"
        if self.queue_seconds is not None and timeout_s + self.queue_seconds > self.deadline_s:
            most = self.deadline_s - timeout_s
            text = f"{call} and {_s(self.queue_seconds)} in the API's queue do not end {deadline}"
            advice = f"lower it to {_s(most)} at most" if most >= self.quiet_s else "lower it"
            yield "queue_seconds", f"{text}; {advice} or raise deadline_hours"

    def with_fitting_queue_time(self, timeout_s: float) -> "Retry":
        """The same with a default queue time that leaves time for such a call."""
        most = self.deadline_s - timeout_s
        return self if self.queue_s <= most else self.model_copy(update={"queue_seconds": most})


def _s(seconds: float) -> str:
    """`172800 s`, without rounding errors of a conversion from hours."""
    return f"{seconds:.10g} s"


class Limits(BaseModel):
    """`[limits]`: over all workers; 0 means no limit."""

    model_config = _STRICT

    in_flight: int = Field(0, ge=0)
    """Calls at once; 0 means no limit."""
    per_second: float = Field(0, ge=0, allow_inf_nan=False)
    """Calls a second, evenly spaced, fractions allowed; 0 means no limit."""
