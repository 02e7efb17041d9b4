"""What an operator asks of the page of an action, and the command that does the same. Pure."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from worker.ledger.replay import ReplayFilter

LONGEST_S = 30
"""How long the request of an action may take because of its rate, in seconds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """An action. `limit`, `most`: of shipments or events, by default and at most; 0 for all.

    `is_slow`: the request itself keeps to the rate. `subject`: what the action selects.
    """

    title: str
    verb: str
    done: str
    subject: str
    limit: int = 0
    most: int = 0
    needs_why: bool = False
    is_slow: bool = False


KINDS = {
    "replay": Kind(
        title="Replay failed shipments", verb="requeue", done="Requeued", subject="shipment", limit=1000, most=5000
    ),
    "dismiss": Kind(
        title="Dismiss failed shipments", verb="dismiss", done="Dismissed", subject="shipment", needs_why=True
    ),
    "requeue": Kind(
        title="Requeue rejected events",
        verb="publish again",
        done="Published again:",
        subject="event",
        limit=100,
        most=1500,
        is_slow=True,
    ),
    "dismiss_rejected": Kind(
        title="Dismiss rejected events", verb="dismiss", done="Dismissed", subject="event", needs_why=True
    ),
    "hold": Kind(title="Hold a merchant", verb="hold", done="", subject="merchant", needs_why=True),
    "resume": Kind(title="Resume a merchant", verb="resume", done="", subject="merchant"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ActionRequest:
    """An action by its name, and its arguments. `entry`: of a rejected event. `rate`: shipments or events per second.

    `strategy`: None for any; '' is a cause without one.
    """

    name: str
    merchant: str | None = None
    reason: str | None = None
    strategy: str | None = None
    reference: str | None = None
    entry: str | None = None
    limit: int = 0
    rate: float = 50.0
    why: str = ""
    until_ms: int | None = None

    @property
    def kind(self) -> Kind:
        """Title, bounds and words of the action."""
        return KINDS[self.name]

    @property
    def wanted(self) -> ReplayFilter:
        """The failed shipments that are selected."""
        return ReplayFilter(
            references=(self.reference,) if self.reference else (),
            merchant=self.merchant,
            reason=self.reason,
            strategy=self.strategy,
            most=self.limit or None,
            until_ms=self.until_ms,
        )

    @property
    def conditions(self) -> dict[str, str | None]:
        """The arguments that select."""
        return {
            "merchant": self.merchant,
            "reason": self.reason,
            "strategy": self.strategy,
            "reference": self.reference,
            "entry": self.entry,
        }

    @property
    def problem(self) -> str | None:
        """The problem of the arguments; None if they are valid."""
        if self.kind.subject == "shipment" and not (self.merchant or self.reason):
            return "merchant or reason is needed"
        if (self.kind.subject == "merchant" or self.reference) and not self.merchant:
            return "merchant is needed"
        if self.kind.is_slow and self.limit > LONGEST_S * self.rate:
            return f"limit is too high for this rate: a request may take {LONGEST_S} s"
        return None

    @property
    def command(self) -> str:
        """The command that does the same, for a shell."""
        line = shlex.join(("allocation", *self._words()))
        is_exported = self.name == "requeue" and self.entry
        return f"{line} && allocation replay --rejected event.jsonl" if is_exported else line

    def _words(self) -> Iterator[str]:
        match self.name:
            case "replay" | "dismiss":
                yield from (self.name, *self._options("merchant", "reason", "strategy"))
            case "requeue" if self.entry:
                yield from ("rejected", self.entry, "--export", "event.jsonl")
            case "requeue":
                yield from ("replay", "--rejected-all", *self._options("reason"))
            case "dismiss_rejected":
                yield "dismiss"
                yield from ("--rejected", self.entry) if self.entry else ("--rejected-all", *self._options("reason"))
            case _:
                yield self.name
        if self.kind.limit and not self.entry:
            yield from ("--limit", str(self.limit), "--rate", f"{self.rate:g}")
        if self.kind.needs_why:
            yield from ("--why", self.why or "TEXT")
        if (named := self.reference or (self.merchant if self.kind.subject == "merchant" else None)) is not None:
            yield from ("--", named) if named.startswith("-") else (named,)

    def _options(self, *names: str) -> Iterator[str]:
        for name in names:
            if (value := self.conditions[name]) is not None:
                yield from (f"--{name}", value)
