"""`allocation schema`: the schemas match the events and files."""

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from config.merchant_files.merchant_file import Merchant
from config.merchant_files.reading import read
from config.settings import Settings
from config.strategies.catalogue import STRATEGIES, AnyStrategy
from config.strategies.filters import ServiceFilters
from config.strategies.quote import Quote
from tasks.events.shipment_allocated import allocated_event
from tasks.events.shipment_allocation_failed import failed_event
from tasks.rules.decision import FailReason
from tasks.rules.order import Order, parse_order
from tasks.rules.outcome import Allocated, Carrier, Label, Price
from tasks.rules.progress import Progress
from tasks.rules.shipment import Shipment
from tests.integration.commands.cli_harness import API, FILE, CliHarness, order
from worker.commands.schema import NAMES, schema

WORDS = st.text(max_size=8)
MAYBE = st.none() | WORDS
STEPS: list[AnyStrategy] = [
    *(STRATEGIES[index].model_validate({STRATEGIES[index].name: "REF"}) for index in range(3)),
    Quote(quote="cheapest"),
    STRATEGIES[5].model_validate({"filters": ServiceFilters(direction="outbound", tags=("Oil",))}),
]
CARRIERS = st.builds(Carrier, reference=MAYBE, name=MAYBE, service_reference=MAYBE, service_name=MAYBE)
PRICES = st.builds(Price, net=MAYBE, gross=MAYBE, currency=MAYBE)
ALLOCATED = st.builds(
    Allocated,
    carrier=st.none() | CARRIERS,
    price=st.none() | PRICES,
    tracking_references=st.lists(WORDS, max_size=2).map(tuple),
    labels=st.lists(st.builds(Label, href=WORDS, format=MAYBE), max_size=2).map(tuple),
    correlation_id=MAYBE,
)
SHIPMENTS = st.builds(
    Shipment,
    merchant=WORDS,
    reference=WORDS,
    order=WORDS,
    order_event=WORDS,
    api=st.sampled_from(["shipments-v2", "consignments-v1"]),
    rule=WORDS,
    steps=st.just(tuple(STEPS)),
    received=st.just(0.0),
    published=st.just(0.0),
    progress=st.builds(Progress, step=st.integers(0, 4), attempts=st.integers(0, 3)),
)
ATTEMPTS = st.fixed_dictionaries(
    {
        "strategy": st.sampled_from([step.table for step in STEPS]),
        "outcome": WORDS,
        "reason": MAYBE,
        "correlation_id": MAYBE,
    }
)
STRATEGY_TITLES = {strategy.__name__ for strategy in STRATEGIES} | {ServiceFilters.__name__}
MOMENTS = st.floats(0, 4e9)


def validator(name: str) -> Draft202012Validator:
    """A validator for a schema."""
    return Draft202012Validator(schema(name))


ALLOCATED_SCHEMA, FAILED_SCHEMA = validator("shipment-allocated"), validator("shipment-allocation-failed")


@given(SHIPMENTS, ALLOCATED, st.booleans(), MOMENTS)
def test_allocated_events_are_valid(shipment: Shipment, got: Allocated, adopted: bool, now: float) -> None:  # noqa: FBT001
    """Every possible allocated event is valid by its schema."""
    ALLOCATED_SCHEMA.validate(json.loads(allocated_event(shipment, got, adopted=adopted, now=now)))


@given(SHIPMENTS, st.sampled_from(get_args(FailReason)), st.lists(ATTEMPTS, max_size=2), st.integers(0, 3), MOMENTS)
def test_failed_events_are_valid(
    shipment: Shipment, reason: FailReason, steps: list[dict[str, Any]], replay: int, now: float
) -> None:
    """Every possible failed event is valid by its schema."""
    FAILED_SCHEMA.validate(json.loads(failed_event(shipment, reason, "why", steps, replay=replay, now=now)))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "asyncapi"])
def test_schemas_are_valid(name: str) -> None:
    """Every schema is valid by its own dialect, and refuses an empty object."""
    Draft202012Validator.check_schema(schema(name))
    assert not validator(name).is_valid({})


@pytest.mark.parametrize("name", ["shipment-allocated", "shipment-allocation-failed", "orders-rejected"])
def test_published_events_have_all_keys(name: str) -> None:
    """Published events have every key of their schema and no other; only `event_base64` is optional."""
    document = schema(name)
    for each in (document, *document.get("$defs", {}).values()):
        if each["title"] not in STRATEGY_TITLES:
            assert each["required"] == [key for key in each["properties"] if key != "event_base64"]
            assert each["additionalProperties"] is False


@pytest.mark.parametrize(
    ("event", "good"),
    [
        (order("a", extra="allowed"), True),
        (order("a", time="2026-11-21T10:00:00Z"), True),
        (order(), False),
        (order(".."), False),
        (order("a" * 65), False),
        (order("a", type="order.paid"), False),
        (order("a", specversion="1.1"), False),
        (order("a", weight_kg=-1), False),
    ],
)
def test_orders_are_validated_as_by_intake(event: dict[str, Any], *, good: bool) -> None:
    """The schema of an order-created event accepts valid events and refuses invalid ones."""
    assert validator("order-created").is_valid(event) is good


@pytest.mark.parametrize(
    ("text", "good"),
    [
        (FILE, True),
        (FILE.replace("{ over = 20 }", "20"), True),
        (FILE.replace("weight_kg = { over = 20 }", 'country = "GB", tags_any = ["a", "b"]'), True),
        (FILE.replace("over", "beyond"), False),
        (FILE.replace("virtual_service", "nonsense"), False),
        (FILE + "[retry]\nquiet_seconds = 60\nqueue_seconds = 900.5\n", True),
        (FILE + "[retry]\nquiet_seconds = 0.5\n", False),
        (FILE + "[retry]\nquiet_seconds = 3601\n", False),
        (FILE + "[retry]\nqueue_seconds = 0.5\n", False),
        (FILE + '[retry]\nqueue_seconds = "900"\n', False),
        (FILE + "[extra]\n", False),
        (API, False),
    ],
)
def test_merchant_files_are_validated_as_by_check(text: str, *, good: bool) -> None:
    """The schema of a merchant file accepts the short forms, and no unknown key."""
    assert validator("merchant-file").is_valid(tomllib.loads(text)) is good


def test_retry_keys_have_descriptions() -> None:
    """Each key of [retry] has a description for editors."""
    keys = schema("merchant-file")["$defs"]["Retry"]["properties"]
    assert list(keys) == ["attempts", "deadline_hours", "quiet_seconds", "queue_seconds"]
    assert all(key["description"].endswith(".") for key in keys.values())


def references(document: Any) -> Iterator[str]:
    """Every `$ref` within a document."""
    for key, value in document.items() if isinstance(document, dict) else enumerate(document):
        if key == "$ref":
            yield value
        elif isinstance(value, dict | list):
            yield from references(value)


def test_asyncapi_contains_the_four_streams() -> None:
    """Every stream is a channel under its default name, and every reference within the document resolves."""
    document = schema("asyncapi")
    assert document["asyncapi"] == "3.0.0"
    streams = ("orders_stream", "allocated_stream", "failed_stream", "rejected_stream")
    addresses = [channel["address"] for channel in document["channels"].values()]
    assert addresses == [Settings.model_fields[name].default for name in streams]
    for reference in references(document):
        slot = document
        for step in reference.removeprefix("#/").split("/"):
            slot = slot[step]


def test_schemas_are_printed_and_written(cli: CliHarness) -> None:
    """Without a name the schemas are listed, with a name one is printed; all can be written into a folder."""
    assert cli.run("schema", "--json").document.keys() == set(NAMES)
    assert cli.run("schema", "order-created").document == schema("order-created")
    assert cli.run("schema", "--all", "out").code == 0
    assert len(list((cli.folder / "out").glob("*.json"))) == len(NAMES)


def test_documents_of_commands_are_valid(cli: CliHarness) -> None:
    """`status` and `explain` print what their schemas say, for every state, and for an unavailable server."""
    cli.merchant()
    cli.accept(order("allocated"))
    cli.allocate()
    cli.accept(order("failed", id="evt-2"))
    cli.fail()
    cli.accept(order("parked", id="evt-3"))
    cli.park(60)
    cli.accept(order("working", id="evt-4"))
    cli.claim()
    cli.accept(order("due", id="evt-5"), order("rejected", merchant="unknown"))
    states = {name: cli.run("explain", name, "--json").document["shipments"] for name in STATES}
    assert {name: [each["state"] for each in found] for name, found in states.items()} == STATES
    assert cli.run("status", "--json").document["merchants"]
    away = cli.run("status", "--json", ALLOCATION_REDIS_URL="redis://127.0.0.1:1/0").document
    assert away.keys() == {"healthy", "problems", "queues"}


STATES = {name: [name] for name in ("allocated", "failed", "parked", "working", "due")} | {"rejected": []}


def test_documents_have_no_other_keys() -> None:
    """A document with a key that its schema does not have is refused, on every level."""
    for name in ("status", "explain"):
        document = schema(name)
        closed = [document, *(each for each in document["$defs"].values() if name == "explain")]
        assert {each["additionalProperties"] for each in closed} == {False}


V2_FILE = FILE
V1_FILE = API.replace("shipments-v2", "consignments-v1") + '[allocation]\nstrategy = { carrier_service = "V" }\n'
RULE = '[[rules]]\nname = "r"\nwhen = {{ {when} }}\nstrategy = {{ {strategy} }}\n'
GOOD_STEP = 'carrier_service = "V"'


def rule(when: str = 'country = "GB"', strategy: str = GOOD_STEP, name: str = "r") -> str:
    """A rule of a merchant file."""
    return RULE.format(when=when, strategy=strategy).replace('"r"', f'"{name}"', 1)


RIGHT_FILES = {
    "v2": V2_FILE,
    "v1": V1_FILE,
    "v1 in XML": V1_FILE.replace("[allocation]", 'format = "xml"\n[allocation]'),
    "v2 in bulk": V2_FILE.replace("[allocation]", "bulk = true\n[allocation]"),
    "a list of words": V1_FILE + rule('country = ["GB", "IE"], tags_all = "a"'),
    "numbers": V1_FILE + rule("weight_kg = 2.5, value = { over = 1, at_most = 3 }, shipments = 1"),
    "a fallback": V1_FILE.replace('"V" }\n', '"V" }\nfallback = [{ service_group = "G" }]\n'),
    "capitals": V1_FILE.replace("http:", "HTTP:"),
    "filters": V1_FILE + rule(strategy='filters = { direction = "outbound", pickup = false }'),
    "tags of v2": V2_FILE + rule(strategy='filters = { direction = "inbound", tags = ["Oil"] }'),
    "limits": V1_FILE + "[limits]\nin_flight = 0\nper_second = 0.5\n",
}
WRONG_FILES = {
    "no api": "[allocation]\nstrategy = { default_rules = true }\n",
    "no allocation": API,
    "no flavour": V1_FILE.replace('flavour = "consignments-v1"\n', ""),
    "another flavour": V1_FILE.replace("consignments-v1", "consignments-v2"),
    "no URL": V1_FILE.replace("http://127.0.0.1:9/pro", "api.sorted.com"),
    "another scheme": V1_FILE.replace("http:", "ftp:"),
    "a user in the URL": V1_FILE.replace("http://", "http://me:pw@"),
    "a query in the URL": V1_FILE.replace("/pro", "/pro?a=1"),
    "a blank in the URL": V1_FILE.replace("/pro", "/p ro"),
    "no host": V1_FILE.replace("127.0.0.1:9", ""),
    "the key itself": V1_FILE.replace('{ env = "ACME_KEY" }', '"secret"'),
    "a key for a name": V1_FILE.replace("ACME_KEY", "sk_live_123"),
    "two places of the key": V1_FILE.replace('env = "ACME_KEY"', 'env = "ACME_KEY", file = "/x"'),
    "v2 in XML": V2_FILE.replace("[allocation]", 'format = "xml"\n[allocation]'),
    "v1 in bulk": V1_FILE.replace("[allocation]", "bulk = true\n[allocation]"),
    "a timeout of nothing": V1_FILE.replace("[allocation]", "timeout_s = 0\n[allocation]"),
    "a virtual service of v1": V1_FILE.replace("carrier_service", "virtual_service"),
    "the same in a rule": V1_FILE + rule(strategy='virtual_service = "V"'),
    "the same in a fallback": V1_FILE.replace('"V" }\n', '"V" }\nfallback = [{ virtual_service = "G" }]\n'),
    "tags of v1": V1_FILE + rule(strategy='filters = { direction = "inbound", tags = ["Oil"] }'),
    "no strategy of that name": V1_FILE.replace("carrier_service", "carrier"),
    "two strategies in one": V1_FILE.replace('"V" }', '"V", default_rules = true }'),
    "a strategy without a name": V1_FILE.replace('carrier_service = "V"', ""),
    "an empty reference": V1_FILE.replace('"V"', '""'),
    "a reference of blanks": V1_FILE.replace('"V"', '"  "'),
    "a reference that is a step": V1_FILE.replace('"V"', '".."'),
    "a reference of other letters": V1_FILE.replace('"V"', '"\u00fc"'),
    "rules that do not rule": V1_FILE.replace('carrier_service = "V"', "default_rules = false"),
    "another quote": V1_FILE.replace('carrier_service = "V"', 'quote = "nicest"'),
    "a rule called default": V1_FILE + rule(name="default"),
    "a rule without a name": V1_FILE + rule(name=""),
    "no condition": V1_FILE + rule(""),
    "no word": V1_FILE + rule("country = []"),
    "an empty word": V1_FILE + rule('country = ""'),
    "an empty range": V1_FILE + rule("weight_kg = {}"),
    "a number in quotes": V1_FILE + rule('weight_kg = "2"'),
    "a number below nothing": V1_FILE + rule("weight_kg = { over = -1 }"),
    "another condition": V1_FILE + rule("weight = 2"),
    "another key": "colour = 1\n" + V1_FILE,
    "a limit in words": V1_FILE + '[limits]\nin_flight = "2"\n',
    "a limit below nothing": V1_FILE + "[limits]\nper_second = -1\n",
    "too many steps": V1_FILE.replace('"V" }\n', '"V" }\nfallback = [' + '{ service_group = "G" },' * 11 + "]\n"),
}


@pytest.mark.parametrize("text", RIGHT_FILES.values(), ids=RIGHT_FILES.keys())
def test_valid_files(tmp_path: Path, text: str) -> None:
    """The schema accepts what `check` accepts."""
    (tmp_path / "acme.toml").write_text(text)
    assert isinstance(read(tmp_path / "acme.toml"), Merchant)
    validator("merchant-file").validate(tomllib.loads(text))


@pytest.mark.parametrize("text", WRONG_FILES.values(), ids=WRONG_FILES.keys())
def test_invalid_files(tmp_path: Path, text: str) -> None:
    """The schema refuses what `check` refuses, as far as a schema can express it."""
    (tmp_path / "acme.toml").write_text(text)
    assert not isinstance(read(tmp_path / "acme.toml"), Merchant)
    assert not validator("merchant-file").is_valid(tomllib.loads(text))


@pytest.mark.parametrize(
    ("amount", "good"),
    [
        (5, True),
        (0.5, True),
        ("59.98", True),
        ("1E+2", True),
        (".5", True),
        (-1, False),
        ("-1", False),
        ("5,00", False),
        ("five", False),
        ("", False),
        (True, False),
    ],
)
def test_amounts(amount: object, *, good: bool) -> None:
    """The schema and intake agree on valid amounts."""
    event = order("a")
    event["data"]["shipments"][0]["value"] = {"amount": amount, "currency": "GBP"}
    assert validator("order-created").is_valid(event) is good
    assert isinstance(parse_order(json.dumps(event).encode()), Order) is good


@pytest.mark.parametrize("name", NAMES)
def test_every_key_has_a_description(name: str) -> None:
    """Each key has a description for readers."""
    document = schema(name)
    parts = [document, *document.get("$defs", {}).values(), *document.get("components", {}).get("schemas", {}).values()]
    for part in parts:
        for key, about in part.get("properties", {}).items():
            assert about.get("description", "").strip(), (part["title"], key)


def test_content_types() -> None:
    """CloudEvents have their content type; an entry of the rejected stream is no CloudEvent."""
    messages = schema("asyncapi")["components"]["messages"]
    assert {name: message["contentType"] for name, message in messages.items()} == {
        "order-created": "application/cloudevents+json",
        "shipment-allocated": "application/cloudevents+json",
        "shipment-allocation-failed": "application/cloudevents+json",
        "orders-rejected": "application/json",
    }
