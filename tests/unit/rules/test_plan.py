"""Choosing a plan: the matching rule, and its steps."""

import json
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.merchant_files.conditions import Conditions
from tasks.rules.plan import Facts, choose, facts_of, matches, why_not
from tests.factories.merchant_files import SERVICE, V2_API, file_of, rule
from tests.factories.order_events import order, shipment

HEAVY = Facts(weight_kg="25.0", country="GB", shipments=1)


def holds(when: str, **facts: Any) -> bool:
    """Whether conditions, as in a merchant file, hold for these facts."""
    return matches(Conditions.model_validate(tomllib.loads(f"when = {when}")["when"]), Facts(**facts)) is not None


@pytest.mark.parametrize(
    ("when", "facts", "expected"),
    [
        ('{ country = "GB" }', {"country": "GB"}, True),
        ('{ country = "GB" }', {"country": "gb"}, True),
        ('{ country = "GB" }', {"country": "IE"}, False),
        ('{ country = ["GB", "IE"] }', {"country": "IE"}, True),
        ('{ currency = "EUR" }', {"currency": "EUR"}, True),
        ('{ currency = ["EUR"] }', {"currency": "GBP"}, False),
        ('{ shipping_method = ["next-day", "economy"] }', {"shipping_method": "economy"}, True),
        ('{ shipping_method = "next-day" }', {"shipping_method": "next"}, False),
        ('{ postcode_prefix = "BT" }', {"postcode": "BT1 5GS"}, True),
        ('{ postcode_prefix = ["BT", "IM"] }', {"postcode": "im1 1aa"}, True),
        ('{ postcode_prefix = "BT" }', {"postcode": "M1 1BT"}, False),
        ('{ postcode_prefix = "M11" }', {"postcode": "M1 1AE"}, False),
        ('{ tags_any = ["fragile", "oil"] }', {"tags": ("oil", "big")}, True),
        ('{ tags_any = "fragile" }', {"tags": ("oil",)}, False),
        ('{ tags_any = "fragile" }', {"tags": ()}, False),
        ('{ tags_all = ["fragile", "oil"] }', {"tags": ("oil", "big", "fragile")}, True),
        ('{ tags_all = ["fragile", "oil"] }', {"tags": ("oil",)}, False),
        ('{ tags_all = "oil" }', {"tags": ("oil",)}, True),
        ("{ shipments = 2 }", {"shipments": 2}, True),
        ("{ shipments = { over = 1 } }", {"shipments": 1}, False),
        ('{ country = "GB", weight_kg = { over = 20 } }', {"country": "GB", "weight_kg": "20.5"}, True),
        ('{ country = "GB", weight_kg = { over = 20 } }', {"country": "GB", "weight_kg": "20"}, False),
        ('{ country = "GB", weight_kg = { over = 20 } }', {"country": "IE", "weight_kg": "20.5"}, False),
    ],
)
def test_conditions(when: str, facts: dict[str, Any], expected: bool) -> None:  # noqa: FBT001  # a row of the table
    """A condition has a value or a list, and all conditions of a rule must hold."""
    assert holds(when, **facts) is expected


@pytest.mark.parametrize(
    ("bounds", "held"),
    [
        ("20", [False, True, False]),
        ("{ over = 20 }", [False, False, True]),
        ("{ at_least = 20 }", [False, True, True]),
        ("{ under = 20 }", [True, False, False]),
        ("{ at_most = 20 }", [True, True, False]),
        ("{ at_least = 19.5, at_most = 20 }", [False, True, False]),
        ("{ over = 19.99, under = 20.1 }", [False, True, False]),
    ],
)
@pytest.mark.parametrize("fact", ["weight_kg", "value"])
def test_ranges(fact: str, bounds: str, held: list[bool]) -> None:
    """A plain number means equality; over and under exclude their bound, at_least and at_most include it."""
    assert [holds(f"{{ {fact} = {bounds} }}", **{fact: number}) for number in ("19", "20.00", "21")] == held


def test_numbers_are_compared_as_decimals() -> None:
    """Text, floats and integers with the same digits are equal, without rounding."""
    for weight in (0.1, 1, 20, 1.1, 29.99):
        (read,) = order(shipment(weight_kg=weight)).data.shipments
        facts = facts_of(order().data, read)
        assert holds(f"{{ weight_kg = {weight} }}", weight_kg=facts.weight_kg)
        assert not holds(f"{{ weight_kg = {{ over = {weight} }} }}", weight_kg=facts.weight_kg)
    assert holds("{ value = 59.98 }", value="59.980")
    assert holds("{ value = { under = 0.3 } }", value="0.29999999999999999999")


NAMES = ["country", "postcode_prefix", "shipping_method", "tags_any", "tags_all", "currency"]


@given(
    st.dictionaries(st.sampled_from(NAMES), st.text(min_size=1, max_size=3), min_size=1),
    st.dictionaries(st.sampled_from(["weight_kg", "value"]), st.just({"at_least": 0})),
)
def test_a_missing_fact_matches_nothing(words: dict[str, Any], numbers: dict[str, Any]) -> None:
    """A condition on a fact that the order does not contain does not hold."""
    assert matches(Conditions.model_validate(words | numbers), Facts()) is None
    for name in numbers:
        assert matches(Conditions.model_validate({name: {"at_least": 0}}), Facts()) is None


WORDS = st.lists(st.sampled_from(["GB", "gb", "M1", "M1 ", "M11", "oil"]), min_size=1, max_size=3)
RANGES = st.dictionaries(st.sampled_from(["over", "under", "at_least", "at_most"]), st.integers(0, 3), min_size=1)
CONDITIONS = st.one_of(
    *(st.fixed_dictionaries({name: WORDS}) for name in NAMES),
    *(st.fixed_dictionaries({name: RANGES | st.integers(0, 3)}) for name in ("weight_kg", "value", "shipments")),
)
WORD = st.none() | st.sampled_from(["GB", "ie", "M1 1AE", "M11"])
NUMBER = st.none() | st.sampled_from(["0", "1.0", "2.5"])
FACTS = st.builds(
    Facts,
    country=WORD,
    postcode=WORD,
    shipping_method=WORD,
    tags=st.none() | st.lists(st.sampled_from(["oil", "GB", "M1"])).map(tuple),
    currency=WORD,
    weight_kg=NUMBER,
    value=NUMBER,
    shipments=st.integers(1, 3),
)


@given(CONDITIONS, CONDITIONS, FACTS)
def test_conditions_hold_or_there_is_a_reason(one: dict[str, Any], other: dict[str, Any], facts: Facts) -> None:
    """Either there is a reason why the conditions hold, or one why they do not."""
    when = Conditions.model_validate(one | other)
    assert (why_not(when, facts) is None) == (matches(when, facts) is not None)


@pytest.mark.parametrize(
    ("when", "facts", "expected"),
    [
        ({"country": "GB"}, {"country": "FR"}, "country FR is not GB"),
        ({"country": ["GB", "IE"]}, {"country": "FR"}, "country FR is not one of GB, IE"),
        ({"postcode_prefix": ["BT", "IM"]}, {"postcode": "M1 1AE"}, "postcode M1 1AE does not begin with BT or IM"),
        ({"postcode_prefix": "BT"}, {}, "the order states no postcode"),
        ({"tags_any": ["oil", "big"]}, {"tags": ("old",)}, "tags old lack oil and big"),
        ({"tags_all": ["oil", "big"]}, {"tags": ("oil",)}, "tags oil lack big"),
        ({"tags_all": "oil"}, {"tags": ()}, "the order states no tags"),
        ({"weight_kg": {"over": 20}}, {"weight_kg": "1.2"}, "weight_kg 1.2 is not over 20"),
        ({"weight_kg": {"over": 1, "at_most": 20}}, {"weight_kg": "20.5"}, "weight_kg 20.5 is not at most 20"),
        ({"country": "GB", "value": 5}, {"country": "gb", "value": "4"}, "value 4 is not at least 5"),
        ({"country": "GB"}, {"country": "gb"}, None),
    ],
)
def test_why_conditions_do_not_hold(when: dict[str, Any], facts: dict[str, Any], expected: str | None) -> None:
    """The reason names the fact that decided."""
    assert why_not(Conditions.model_validate(when), Facts(**facts)) == expected


def test_facts_are_read_from_the_ledger() -> None:
    """They are as they were stored; a fact of a newer version is left out."""
    stored = json.loads(json.dumps({**HEAVY._replace(tags=("oil",)).as_table(), "colour": "red"}))
    assert Facts.from_table(stored) == HEAVY._replace(tags=("oil",))


def test_facts_are_gathered_from_order_and_shipment() -> None:
    """Every fact has the value from the event; of the shipments, their number."""
    stated = shipment(
        weight_kg=1.5,
        value={"amount": "59.980", "currency": "GBP"},
        destination={"country": "GB", "postcode": "M1 1AE"},
        tags=["fragile"],
    )
    read = order(stated, shipment(reference="sp_2"), shipping_method="next-day")
    assert facts_of(read.data, read.data.shipments[0]).as_table() == {
        "country": "GB",
        "postcode": "M1 1AE",
        "shipping_method": "next-day",
        "tags": ("fragile",),
        "currency": "GBP",
        "weight_kg": "1.5",
        "value": "59.980",
        "shipments": 2,
    }
    assert facts_of(read.data, read.data.shipments[1]).as_table() == {"shipping_method": "next-day", "shipments": 2}


@pytest.mark.parametrize("part", [{"amount": "1"}, {"currency": "GBP"}, {}])
def test_a_partial_value(part: dict[str, str]) -> None:
    """If a value has only one part, the other one is unknown."""
    read = order(shipment(value=part))
    facts = facts_of(read.data, read.data.shipments[0])
    assert (facts.value, facts.currency) == (part.get("amount"), part.get("currency"))


def test_first_match_wins() -> None:
    """Of several matching rules, the first one in the file is chosen."""
    both = rule('{ country = "GB" }', name="one") + rule("{ weight_kg = { over = 20 } }", name="two")
    assert choose(file_of(V2_API + SERVICE + both), HEAVY).rule == "one"
    assert choose(file_of(V2_API + SERVICE + both), Facts(weight_kg="25")).rule == "two"


def test_no_match_means_the_default() -> None:
    """When no rule matches, the plan is [allocation] with its own fallback, named default."""
    fallback = 'fallback = [{ service_group = "g" }, { default_rules = true }]\n'
    plan = choose(file_of(V2_API + SERVICE + fallback + rule('{ country = "FR" }')), HEAVY)
    assert plan.rule == "default"
    assert [str(step) for step in plan.steps] == ["carrier_service A", "service_group g", "default_rules"]


def test_a_rule_has_its_own_fallback_or_none() -> None:
    """A rule never uses the fallback steps of [allocation]."""
    default = SERVICE + 'fallback = [{ service_group = "g" }]\n'
    alone, own = rule('{ country = "GB" }'), rule('{ country = "GB" }', more='fallback = [{ quote = "earliest" }]\n')
    assert [str(s) for s in choose(file_of(V2_API + default + alone), HEAVY).steps] == ["service_group freight"]
    steps = choose(file_of(V2_API + default + own), HEAVY).steps
    assert [str(s) for s in steps] == ["service_group freight", "quote earliest"]


def test_a_plan_has_a_reason() -> None:
    """The plan contains the facts and the conditions that matched, or states that none did."""
    when = (
        '{ weight_kg = { over = 20, at_most = 30 }, country = ["GB", "IE"], tags_any = "oil", postcode_prefix = "BT" }'
    )
    facts = Facts(weight_kg="25.0", country="GB", tags=("oil",), postcode="BT1")
    assert choose(file_of(V2_API + SERVICE + rule(when)), facts).why == (
        "country GB is one of GB, IE; postcode begins with BT; tags_any oil; weight_kg 25.0 is over 20 and at most 30"
    )
    assert choose(file_of(V2_API + SERVICE + rule(when)), Facts()).why == "no rule matched"
    assert choose(file_of(V2_API + SERVICE), Facts()).why == "the file has no rules"
