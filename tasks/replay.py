"""Put a failed shipment back: rule and plan chosen anew from today's merchant file, by the facts kept at intake."""

import json
from dataclasses import dataclass
from typing import Any

from config.merchants import Merchant
from tasks.plan import Facts, Plan, choose
from tasks.shipment import Progress, iso

MOST_REPLAYS = 10
"""How often a shipment is put back before somebody must insist."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FreshStart:
    """What the ledger writes for a failed shipment that begins anew: facts as at intake, an entry of its story."""

    plan: Plan
    facts: str
    progress: Progress
    entry: dict[str, Any]


def start_afresh(merchant: Merchant, facts: str, progress: Progress, now: float) -> FreshStart:
    """Choose anew. `facts` and `progress` are those of the failure, `now` is in seconds since the epoch.

    Whatever was the last thing heard of a call, the first thing now is a read-back.
    """
    fixed = json.loads(facts)
    plan = choose(merchant.file, _facts(fixed["facts"]))
    fixed |= {
        "api": merchant.file.api.flavour,
        "rule": plan.rule,
        "why": plan.why,
        "steps": [step.as_table() for step in plan.steps],
    }
    return FreshStart(
        plan=plan,
        facts=json.dumps(fixed, separators=(",", ":")),
        progress=Progress(doubt=True, attempts=progress.attempts, entries=progress.entries + 1),
        entry={"at": iso(now), "do": "replay", "by": plan.rule},
    )


def _facts(table: dict[str, Any]) -> Facts:
    tags = table.get("tags")
    return Facts(**{**table, "tags": None if tags is None else tuple(tags)})
