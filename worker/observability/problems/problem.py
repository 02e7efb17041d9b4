"""A problem: a state that needs a person."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from worker.observability.text import count, duration

Severity = Literal["urgent", "attention"]

Slug = Literal[
    "redis_unavailable",
    "broker_unavailable",
    "process_missing",
    "sweep_late",
    "due_late",
    "order_unread",
    "deadline_near",
    "merchant_paused",
    "key_missing",
    "file_invalid",
    "file_missing",
    "merchant_on_hold",
    "breaker_open",
    "orders_lost",
    "orders_rejected",
    "shipments_failed",
    "memory_low",
    "versions_differ",
    "files_differ",
    "redis_unsafe",
    "settings_warnings",
]

SLUGS: tuple[Slug, ...] = get_args(Slug)

_SAYS_SINCE = frozenset({"breaker_open", "sweep_late", "due_late", "order_unread"})
"""Problems whose text has the time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """A state that needs a person."""

    slug: Slug
    """What it is, as a code."""
    severity: Severity
    """`urgent`: something does not work. `attention`: something is to be looked at."""
    subject: str
    """The merchant, host or role; '' for the whole system."""
    text: str
    """What it is, in words."""
    command: str
    """The command that helps."""
    since: float | None = None
    """Since when, in seconds since the epoch; None if unknown."""
    shipments: int | None = None
    """How many shipments wait because of it; None if that does not apply."""
    merchants: tuple[str, ...] | None = None
    """The merchants that it concerns; None if it concerns all."""

    def concerns(self, merchant: str) -> bool:
        """Whether it is, or may be, a problem of this merchant."""
        return self.merchants is None or merchant in self.merchants

    def sentence(self, now: float | None) -> str:
        """The text, how long it has lasted, and how many shipments wait because of it.

        `now`: the server's clock in seconds since the epoch, if it is known.
        """
        extent = ", ".join(self._extent(now))
        return f"{self.text} ({extent})" if extent else self.text

    def _extent(self, now: float | None) -> Iterator[str]:
        if now is not None and self.since is not None and self.slug not in _SAYS_SINCE:
            yield f"for {duration(max(0.0, now - self.since))}"
        if self.shipments:
            yield f"{count(self.shipments, 'shipment')} waiting"


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownFiles:
    """The merchant files as a process reads them, and its settings.

    `apis`: the API of each valid file by merchant; `invalid`: the problem of each invalid one; `invalid_since`: when it
    was written, in seconds since the epoch; `warnings`: of files and settings, one line each.
    """

    apis: Mapping[str, str]
    invalid: Mapping[str, str]
    invalid_since: Mapping[str, float] = field(default_factory=dict)
    warnings: Sequence[str] = ()
