"""What a merchant's rules and strategies did."""

import tomllib
from typing import Any

import pytest

from config.merchant_files.conditions import Conditions
from tests.factories.merchant_files import SERVICE, V2_API, file_of, rule
from worker.processes.flower.merchant_tables import conditions_text, rule_rows, strategy_rows

FILE = file_of(V2_API + SERVICE + rule('{ country = "GB" }', name="first") + rule("{ value = 5 }", name="second"))
COUNTERS: dict[tuple[Any, ...], int] = {
    ("orders", "acme"): 9,
    ("rejected", "acme"): 9,
    ("call_ms", "acme", "allocate"): 9,
    ("allocated", "acme", "second", "carrier_service A", 0, 0): 2,
    ("allocated", "acme", "second", "carrier_service B", 1, 1): 3,
    ("failed", "acme", "second", "all_steps_refused"): 4,
    ("failed", "acme", "earlier", "cancelled_by_operator"): 1,
    ("allocated", "beta", "first", "carrier_service A", 0, 0): 7,
    ("calls", "acme", "read", "carrier_service A", "unallocated"): 1,
    ("calls", "acme", "allocate", "carrier_service A", "refused"): 1,
    ("calls", "acme", "allocate", "carrier_service A", "allocated"): 2,
    ("calls", "beta", "allocate", "carrier_service A", "allocated"): 7,
}


def test_rules() -> None:
    """Those of the file in its order, with the default, then others that were counted; nothing of other merchants."""
    rows = [
        (row.name, row.allocated, row.fell_back, row.failed, row.is_unmatched)
        for row in rule_rows(FILE, "acme", COUNTERS)
    ]
    assert rows == [
        ("first", 0, 0, 0, True),
        ("second", 5, 3, 4, False),
        ("default", 0, 0, 0, True),
        ("earlier", 0, 0, 1, False),
    ]
    assert [row.when for row in rule_rows(FILE, "acme", COUNTERS)][-1] is None
    assert [row.name for row in rule_rows(None, "acme", COUNTERS)] == ["earlier", "second"]


def test_strategies() -> None:
    """By strategy and kind of request, the most frequent outcome first."""
    assert [(row.strategy, row.action, row.outcomes) for row in strategy_rows("acme", COUNTERS)] == [
        ("carrier_service A", "allocate", (("allocated", 2), ("refused", 1))),
        ("carrier_service A", "read", (("unallocated", 1),)),
    ]


@pytest.mark.parametrize(
    ("when", "words"),
    [
        ('{ country = ["GB", "IE"] }', "country GB, IE"),
        ("{ shipments = 2 }", "shipments 2"),
        ("{ value = { over = 1.5, at_most = 3 } }", "value over 1.5 and at most 3"),
        ("{ value = { over = 2, under = 2 } }", "value over 2 and under 2"),
        ('{ weight_kg = { at_least = 1 }, currency = "EUR" }', "currency EUR; weight_kg at least 1"),
    ],
)
def test_conditions(when: str, words: str) -> None:
    """Conditions in words."""
    assert conditions_text(Conditions.model_validate(tomllib.loads(f"when = {when}")["when"])) == words
