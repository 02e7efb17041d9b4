"""What a merchant's rules and strategies did, from the counters of all time. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from config.merchant_files.conditions import Conditions, Range
from config.merchant_files.merchant_file import MerchantFile
from tasks.rules.plan import DEFAULT_RULE

Counters = Mapping[tuple[Any, ...], int]


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleRow:
    """A rule. `when`, `plan`: as the file in use states them; None for a rule that it no longer has."""

    name: str
    when: str | None
    plan: tuple[str, ...] | None
    allocated: int
    fell_back: int
    failed: int

    @property
    def is_unmatched(self) -> bool:
        """Whether no settled shipment matched it; failed ones count again after each replay."""
        return not (self.allocated or self.failed)


@dataclass(frozen=True, kw_only=True, slots=True)
class StrategyRow:
    """The requests of one kind with one strategy. `outcomes`: their numbers, the most frequent first."""

    strategy: str
    action: str
    outcomes: tuple[tuple[str, int], ...]


def rule_rows(file: MerchantFile | None, merchant: str, counters: Counters) -> list[RuleRow]:
    """The rules in the order of the file, its default, then those that it no longer has."""
    allocated, fell_back, failed = Counter[str](), Counter[str](), Counter[str]()
    for (kind, *labels), number in counters.items():
        match kind, labels:
            case "allocated", [owner, rule, _, later, _] if owner == merchant:
                allocated[rule] += number
                fell_back[rule] += number if later else 0
            case "failed", [owner, rule, _] if owner == merchant:
                failed[rule] += number
    stated = dict(_stated(file)) if file else {}
    names = [*stated, *sorted((allocated.keys() | failed.keys()) - stated.keys())]
    return [
        RuleRow(
            name=name,
            when=stated[name][0] if name in stated else None,
            plan=stated[name][1] if name in stated else None,
            allocated=allocated[name],
            fell_back=fell_back[name],
            failed=failed[name],
        )
        for name in names
    ]


def _stated(file: MerchantFile) -> Iterator[tuple[str, tuple[str, tuple[str, ...]]]]:
    for rule in file.rules:
        yield rule.name, (conditions_text(rule.when), tuple(map(str, (rule.strategy, *rule.fallback))))
    default = file.allocation
    yield DEFAULT_RULE, ("no rule matched", tuple(map(str, (default.strategy, *default.fallback))))


def conditions_text(when: Conditions) -> str:
    """Conditions in words: `country GB, IE; weight_kg over 20`."""
    return "; ".join(f"{name} {_wanted(getattr(when, name))}" for name in sorted(when.model_fields_set))


def _wanted(wanted: Range | tuple[str, ...]) -> str:
    if isinstance(wanted, tuple):
        return ", ".join(wanted)
    bounds = wanted.model_dump(exclude_none=True)
    if bounds.keys() == {"at_least", "at_most"} and wanted.at_least == wanted.at_most:
        return str(wanted.at_least)
    return " and ".join(f"{word.replace('_', ' ')} {bound}" for word, bound in bounds.items())


def strategy_rows(merchant: str, counters: Counters) -> list[StrategyRow]:
    """Strategies by name, each with what was requested and how that ended."""
    found: dict[tuple[str, str], Counter[str]] = {}
    for (kind, *labels), number in counters.items():
        if kind == "calls" and labels[0] == merchant:
            _, action, strategy, outcome = labels
            found.setdefault((strategy, action), Counter())[outcome] += number
    return [
        StrategyRow(strategy=strategy, action=action, outcomes=tuple(outcomes.most_common()))
        for (strategy, action), outcomes in sorted(found.items())
    ]
