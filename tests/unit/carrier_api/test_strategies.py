"""Strategies: parsed from a merchant file, written back, and the requests they build."""

import tomllib
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from config.strategies.catalogue import STRATEGIES, AnyStrategy, available
from config.strategies.filters import Filters, ServiceFilters
from config.strategies.quote import Quote, quotes_request, request_with_quote
from config.strategies.strategy import V1, V2, Flavour, RequestSpec, Strategy
from tests.unit.carrier_api.responses import ALL, CHEAPEST, DEFAULT, EC, FILTERS, GROUP, QUOTE, REF, SERVICE, VIRTUAL
from worker.carrier_api.dialect import target

ADAPTER: TypeAdapter[Strategy] = TypeAdapter(AnyStrategy)
TAGGED = Filters(filters=ServiceFilters(direction="inbound", tags=("Oil", "b&w")))
TABLES: list[dict[str, Any]] = [
    {"virtual_service": "FF_LINET-00001"},
    {"carrier_service": "FF_LINET-00001"},
    {"service_group": "freight"},
    {"default_rules": True},
    {"cheapest_quote": True},
    {"filters": {"direction": "outbound", "pickup": False, "drop_off": True}},
    {"quote": "earliest"},
]


@pytest.mark.parametrize(("table", "strategy"), list(zip(TABLES, ALL, strict=True)))
def test_table_and_strategy_are_the_same(table: dict[str, Any], strategy: Strategy) -> None:
    """A strategy is parsed from its table, from Python and from JSON, and written back as the same table."""
    assert ADAPTER.validate_python(table) == strategy
    assert ADAPTER.validate_json(ADAPTER.dump_json(strategy)) == strategy
    assert ADAPTER.dump_python(strategy) == strategy.table == table
    assert ADAPTER.validate_python(strategy) is strategy


def test_tags_are_written_as_a_list() -> None:
    """Tags are a JSON array, and are read back."""
    assert TAGGED.table == {"filters": {"direction": "inbound", "tags": ["Oil", "b&w"]}}
    assert ADAPTER.validate_python(TAGGED.table) == TAGGED


@pytest.mark.parametrize(
    ("value", "where", "words"),
    [
        ("cheapest_quote", (), "a table with one key, one of: virtual_service, carrier_service, service_group"),
        ({}, (), "exactly one key, found: none"),
        ({"quote": "earliest", "carrier_service": "X"}, (), "exactly one key, found: quote, carrier_service"),
        ({"carier_service": "X"}, (), "Unknown strategy carier_service; known strategies: virtual_service"),
        ({5: "X"}, (), "Unknown strategy 5"),
        ({"carrier_service": 5}, ("carrier_service",), "valid string"),
        ({"carrier_service": ""}, ("carrier_service",), "at least 1 character"),
        ({"service_group": "x" * 101}, ("service_group",), "at most 100 characters"),
        ({"virtual_service": "a\nb"}, ("virtual_service",), "match pattern"),
        ({"virtual_service": ".."}, ("virtual_service",), ".. is not a reference"),
        ({"default_rules": False}, ("default_rules",), "should be True"),
        ({"quote": "fastest"}, ("quote",), "'cheapest' or 'earliest'"),
        ({"filters": {}}, ("filters", "direction"), "required"),
        ({"filters": {"direction": "outbound", "color": 1}}, ("filters", "color"), "not permitted"),
        ({"filters": {"direction": "outbound", "tags": ["x"] * 11}}, ("filters", "tags"), "at most 10"),
    ],
)
def test_wrong_table_has_one_problem(value: object, where: tuple[str, ...], words: str) -> None:
    """Each problem is reported once, at its own key, with a helpful message."""
    with pytest.raises(ValidationError) as caught:
        ADAPTER.validate_python(value)
    (problem,) = caught.value.errors()
    assert problem["loc"] == where
    assert words in problem["msg"]


def test_schema_accepts_what_the_type_accepts() -> None:
    """The JSON Schema accepts each table, and refuses none or two keys at once."""
    validator = jsonschema.Draft202012Validator(ADAPTER.json_schema())
    assert [table for table in TABLES if not validator.is_valid(table)] == []
    assert not validator.is_valid({})
    assert not validator.is_valid({"quote": "earliest", "default_rules": True})
    assert not validator.is_valid({"no_such": 1})


def test_catalogue_is_the_contract() -> None:
    """The strategies of each flavour, in the order of the contract; only v2 has virtual services."""
    names = (
        "virtual_service",
        "carrier_service",
        "service_group",
        "default_rules",
        "cheapest_quote",
        "filters",
        "quote",
    )
    assert tuple(strategy.name for strategy in STRATEGIES) == available(V2) == names
    assert available(V1) == names[1:]


def test_unsupported_strategies_have_a_reason() -> None:
    """A strategy that the flavour does not have, and tags with v1, have a reason; all others are supported."""
    assert VIRTUAL.unsupported_reason(V1) is not None
    assert TAGGED.unsupported_reason(V1) == "filters has no tags in consignments-v1"
    fits: list[tuple[Strategy, Flavour]] = [(TAGGED, V2), *((s, V2) for s in ALL), *((s, V1) for s in ALL[1:])]
    assert [strategy for strategy, flavour in fits if strategy.unsupported_reason(flavour)] == []


def test_shipments_per_call() -> None:
    """Only the "many" endpoints take more than one shipment, and v2's service and group only if bulk is set."""
    assert [s.per_call(V2) for s in ALL] == [1, 1, 1, 100, 1, 100, 1]
    assert [s.per_call(V2, bulk=True) for s in ALL] == [1, 100, 100, 100, 1, 100, 1]
    assert [s.per_call(V1) for s in ALL[1:]] == [100, 1, 100, 1, 100, 1]


@pytest.mark.parametrize(
    ("call", "path", "body", "root"),
    [
        (
            SERVICE.request(V1, [EC, "B"]),
            "/allocation/allocatewithcarrierservice",
            {"ConsignmentReferences": [EC, "B"], "MpdCarrierServiceReference": "FF_LINET-00001"},
            "AllocateConsignmentsWithCarrierServiceRequest",
        ),
        (GROUP.request(V1, [EC]), f"/allocation/{EC}/allocatewithservicegroup/freight", None, None),
        (
            DEFAULT.request(V1, [EC]),
            "/allocation/allocate",
            {"ConsignmentReferences": [EC]},
            "AllocateConsignmentsRequest",
        ),
        (CHEAPEST.request(V1, [EC]), f"/allocation/{EC}/allocatewithcheapestquote", None, None),
        (
            FILTERS.request(V1, [EC]),
            "/allocation/allocateConsignmentsWithServiceFilters",
            {
                "ConsignmentReferences": [EC],
                "Filters": {"ServiceDirection": "Outbound", "IsPickup": False, "IsDropOff": True},
            },
            "AllocateConsignmentsWithServiceFiltersRequest",
        ),
        (request_with_quote(V1, EC, "f637"), f"/allocation/{EC}/allocatewithquote/f637", None, None),
    ],
)
def test_calls_of_v1(call: RequestSpec, path: str, body: dict[str, Any] | None, root: str | None) -> None:
    """v1 requests, which no OpenAPI document describes: path, body and XML root of the vendor's help pages."""
    assert (call.method, target(call), call.body, call.root) == ("PUT", path, body, root)


@pytest.mark.parametrize("flavour", [V1, V2])
def test_quotes_come_first(flavour: Flavour) -> None:
    """A strategy that needs a quote requests the quotes first; v1 finds the cheapest by itself."""
    assert QUOTE.request(flavour, [REF]) == quotes_request(flavour, REF)
    assert flavour in QUOTE.needs_quote
    assert (flavour in CHEAPEST.needs_quote) == (flavour == V2)
    assert CHEAPEST.request(V2, [REF]) == quotes_request(V2, REF)


def test_choice_of_the_quote() -> None:
    """The merchant's choice among the quotes, and the cheapest for the strategy of that name."""
    assert [strategy.choice for strategy in (QUOTE, Quote(quote="cheapest"), CHEAPEST)] == [
        "earliest",
        "cheapest",
        "cheapest",
    ]


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=1, max_size=4))
def test_segments_cannot_escape(path: list[str]) -> None:
    """A path has exactly the intended segments, none of them `.` or `..`, and no query, for any reference."""
    if {".", ".."} & set(path):
        with pytest.raises(ValueError, match="no such path"):
            target(RequestSpec(method="GET", path=tuple(path)))
    else:
        found = target(RequestSpec(method="GET", path=tuple(path)))
        assert found.count("/") == len(path)
        assert not {"?", "#", "\\", " ", "\n"} & set(found)


@pytest.mark.parametrize("segment", ["", ".", ".."])
def test_dot_segments_are_refused(segment: str) -> None:
    """A reference that a URL would resolve to another path is refused."""
    with pytest.raises(ValueError, match="no such path"):
        target(RequestSpec(method="GET", path=("shipments", segment)))


def test_strategies_as_text() -> None:
    """A strategy is shown as in a merchant file: filters are TOML."""
    assert str(TAGGED) == 'filters { direction = "inbound", tags = ["Oil", "b&w"] }'
    both = Filters(filters=ServiceFilters(direction="outbound", pickup=False, drop_off=True))
    shown = str(both).removeprefix("filters ")
    assert tomllib.loads(f"filters = {shown}") == both.table
