"""Put a failed shipment back: rule and plan chosen anew from today's merchant file, by the facts kept at intake."""

import json
from dataclasses import dataclass
from typing import Any

from config.merchant_files.merchant_file import Merchant
from tasks.rules.plan import Facts, Plan, choose
from tasks.rules.progress import Progress
from tasks.rules.shipment import iso

MAX_REPLAYS = 10
"""How often a shipment is put back before somebody must insist."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NewPlan:
    """What the ledger writes for a failed shipment that begins anew: facts as at intake, an entry of its story."""

    plan: Plan
    intake: str
    progress: Progress
    entry: dict[str, Any]


def choose_new_plan(merchant: Merchant, facts: str, progress: Progress, now: float) -> NewPlan:
    """Choose anew. `facts` and `progress` are those of the failure, `now` is in seconds since the epoch.

    Whatever was the last thing heard of a call, the first thing now is a read-back, after the quiet time if one runs.
    """
    fixed = json.loads(facts)
    plan = choose(merchant.file, _facts(fixed["facts"]))
    fixed |= {
        "api": merchant.file.api.flavour,
        "rule": plan.rule,
        "why": plan.why,
        "steps": [step.table for step in plan.steps],
    }
    return NewPlan(
        plan=plan,
        intake=json.dumps(fixed, separators=(",", ":")),
        progress=_afresh(progress),
        entry={"at": iso(now), "action": "replay", "by": plan.rule},
    )


def _afresh(progress: Progress) -> Progress:
    """From the first step on; what is open belongs to the shipment and stays."""
    return Progress(
        open_kind=progress.open_kind,
        open_at=progress.open_at,
        quiet_from=progress.quiet_from,
        also_open=progress.also_open,
        asked_again=progress.asked_again,
        asked_again_told=progress.asked_again_told,
        unread=True,
        attempts=progress.attempts,
        entries=progress.entries + 1,
        unknown_fields=progress.unknown_fields,
    )


def _facts(table: dict[str, Any]) -> Facts:
    """What this version knows of them."""
    known = {name: fact for name, fact in table.items() if name in Facts._fields}
    tags = known.get("tags")
    return Facts(**{**known, "tags": None if tags is None else tuple(tags)})
