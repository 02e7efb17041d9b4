"""Replay a failed shipment: choose rule and plan again, from the present merchant file and the facts kept at intake."""

import json
from dataclasses import dataclass
from typing import Any

from config.merchant_files.merchant_file import Merchant
from tasks.rules.plan import Facts, Plan, choose
from tasks.rules.progress import Progress
from tasks.rules.shipment import iso

MAX_REPLAYS = 10
"""How often a shipment can be replayed without `--force`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NewPlan:
    """What the ledger writes for a replayed shipment: intake record, progress and history entry."""

    plan: Plan
    intake: str
    progress: Progress
    entry: dict[str, Any]


def choose_new_plan(merchant: Merchant, facts: str, progress: Progress, now: float) -> NewPlan:
    """Choose the plan again. `facts`, `progress`: of the failed shipment; `now`: in seconds since the epoch.

    Whatever the last outcome was, a read-back comes first, after the quiet time if one runs.
    """
    fixed = json.loads(facts)
    plan = choose(merchant.file, _facts(fixed["facts"]))
    fixed |= {
        "api": merchant.file.api.flavour,
        "merchant_file": merchant.version,
        "rule": plan.rule,
        "why": plan.why,
        "steps": [step.table for step in plan.steps],
    }
    return NewPlan(
        plan=plan,
        intake=json.dumps(fixed, separators=(",", ":")),
        progress=_restarted(progress),
        entry={"at": iso(now), "action": "replay", "by": plan.rule},
    )


def _restarted(progress: Progress) -> Progress:
    """Progress at the first step; an open call belongs to the shipment and stays."""
    return Progress(
        open_kind=progress.open_kind,
        open_at=progress.open_at,
        quiet_from=progress.quiet_from,
        also_open=progress.also_open,
        repeated_calls=progress.repeated_calls,
        repeated_calls_reported=progress.repeated_calls_reported,
        unread=True,
        attempts=progress.attempts,
        entries=progress.entries + 1,
        unknown_fields=progress.unknown_fields,
    )


def _facts(table: dict[str, Any]) -> Facts:
    """The facts that this version knows."""
    known = {name: fact for name, fact in table.items() if name in Facts._fields}
    tags = known.get("tags")
    return Facts(**{**known, "tags": None if tags is None else tuple(tags)})
