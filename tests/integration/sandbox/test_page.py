"""docs/sandbox.md is so: its tables are those of the code, and its calls get the stated response."""

import json
import re
import shlex
from collections.abc import Iterator
from typing import Any, get_args

import httpx
import pytest
from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from tests.integration.sandbox.running_sandbox import RunningSandbox
from tests.test_docs import PAGES, coded, rows
from worker.commands.sandbox import command
from worker.lab.sandbox.catalogue import GROUPS, SERVICES
from worker.lab.sandbox.control import Control
from worker.lab.sandbox.fault import ONLY_FOR, Fault, FaultName
from worker.lab.sandbox.faults import Faults
from worker.lab.sandbox.options import Options
from worker.lab.sandbox.orders import KnownOrders
from worker.lab.sandbox.shipment_spec import Described
from worker.lab.sandbox.shipments import Depot
from worker.lab.sandbox.state import State

PAGE = "docs/sandbox.md"
ADDRESS = "http://127.0.0.1:8700"
GENERAL = Fault.model_fields.keys() - ONLY_FOR.keys()

NEEDED: dict[str, dict[str, Any]] = {"refused_whole": {"because_of": ["sp_1"]}}
VALUES: dict[str, Any] = {
    "late_s": 1,
    "acts_share": 0.5,
    "queue_s": 1,
    "lag_s": 1,
    "code": "any",
    "because_of": ["sp_1"],
    "partly": True,
    "conflict": True,
    "body": "empty",
    "retry_after_s": 1,
}
STATUSES = {"status": 503, "foreign": 403}


def first_cells(heading: str) -> list[str]:
    """The names in the first column of a table."""
    return [coded(row[0])[0] for row in rows(PAGE, heading)]


def test_options() -> None:
    """The table of options has every option of the command, in order, with its default."""
    told = {coded(name)[0]: default.strip("`") for name, default, _ in rows(PAGE, "```sh\nallocation sandbox")}
    defaults = command.make_context("sandbox", []).params
    assert list(told.items()) == [(each.opts[0], in_words(defaults[str(each.name)])) for each in command.params]


def in_words(default: Any) -> str:
    """The default of an option as the table has it."""
    match default:
        case bool():
            return "off"
        case tuple():
            return default[0] if default else "none"
        case _:
            return str(default)


def test_faults() -> None:
    """The table of faults has each one, with the options that go with it and not with every other."""
    told = {coded(name)[0]: set(coded(own)) for name, own, _ in rows(PAGE, "## Faults")}
    assert list(told) == list(get_args(FaultName))
    assert told == {name: {each for each, faults in ONLY_FOR.items() if name in faults} for name in told}


@pytest.mark.parametrize("name", get_args(FaultName))
def test_own_options(sandbox: RunningSandbox, name: str) -> None:
    """The sandbox accepts the options that the table has for a fault, and refuses the others."""
    (told,) = [set(coded(own)) for fault, own, _ in rows(PAGE, "## Faults") if coded(fault) == [name]]
    accepted = {each for each in ONLY_FOR if _accepts(sandbox, name, each)}
    assert accepted == told


def _accepts(sandbox: RunningSandbox, name: str, option: str) -> bool:
    value = STATUSES.get(name, 404) if option == "status" else VALUES[option]
    late = {"late_s": 1} if option == "acts_share" else {}
    fault = {"fault": name, **NEEDED.get(name, {}), **late, option: value}
    return sandbox.client.post("/_sandbox/faults", json=[fault]).status_code == 204


@pytest.mark.parametrize(("heading", "model"), [("Every option;", Fault), ("**Shipments** are", Described)])
def test_keys(heading: str, model: type[BaseModel]) -> None:
    """The tables of keys have each key of a fault and of a shipment, with its default."""
    told = {coded(name)[0]: default.strip("`") for name, default, _ in rows(PAGE, heading)}
    assert told == {name: _default(model, name) for name in model.model_fields}


def _default(model: type[BaseModel], name: str) -> str:
    field = model.model_fields[name]
    return "required" if field.is_required() else json.dumps(to_jsonable_python(field.default))


def test_states() -> None:
    """The states that a shipment may be created in are all there."""
    (told,) = [coded(words) for key, _, words in rows(PAGE, "**Shipments** are") if coded(key) == ["state"]]
    assert told == list(get_args(State))


def test_control_calls() -> None:
    """The table of control calls has every route."""
    control = Control(Depot(Options(), KnownOrders()), Faults(0), "sandbox-key")
    assert first_cells("## Control calls") == [
        f"{method} /_sandbox/{'/'.join(segments)}" for method, *segments in control.routes
    ]


def test_services() -> None:
    """The table of services says what each takes."""
    told = [[*coded(name), weight, to, sorted(coded(tags)), price] for name, weight, to, tags, price in _services()]
    assert told == [
        [
            each.reference,
            f"{each.max_weight_kg:g} kg",
            "anywhere" if each.countries is None else ", ".join(sorted(each.countries)),
            sorted(each.tags),
            str(each.gross),
        ]
        for each in SERVICES.values()
        if not each.refuses
    ]
    groups = PAGES[PAGE].partition("The service groups")[2].partition(".")[0]
    assert dict(re.findall(r"`(\w+)`\s\(([^)]+)\)", groups)) == {
        name: ", ".join(f"`{each.reference}`" for each in services) for name, services in GROUPS.items()
    }


def _services() -> list[list[str]]:
    return [row for row in rows(PAGE, "## What it knows of a shipment") if row[1] != "nothing"]


def scenarios() -> Iterator[Any]:
    """The calls of each scenario."""
    for part in PAGES[PAGE].partition("## Scenarios")[2].partition("\n## ")[0].split("\n### ")[1:]:
        (block,) = re.findall(r"^```sh\n(.*?)^```$", part, re.MULTILINE | re.DOTALL)
        yield pytest.param(block.replace("\\\n", " ").splitlines(), id=part.partition("\n")[0])


@pytest.mark.parametrize("calls", list(scenarios()))
def test_scenarios(sandbox: RunningSandbox, calls: list[str]) -> None:
    """Each call of a scenario has the status that its comment says, in this order."""
    for call in calls:
        curl, told = call.rsplit("  # ", 1)
        assert (curl, status_of(sandbox, curl)) == (curl, told)


def status_of(sandbox: RunningSandbox, curl: str) -> str:
    """The status of what curl would send, or "none" without a response."""
    name, *words = shlex.split(curl)
    assert name == "curl"
    (url,) = [word for word in words if word.startswith(ADDRESS)]
    headers = dict(value.split(": ") for value in _values(words, "-H"))
    data = [*_values(words, "--data"), None][0]
    method = [*_values(words, "-X"), "GET" if data is None else "POST"][0]
    try:
        with httpx.Client(base_url=sandbox.client.base_url) as client:
            return str(client.request(method, url.removeprefix(ADDRESS), headers=headers, content=data).status_code)
    except httpx.RemoteProtocolError:
        return "none"


def _values(words: list[str], option: str) -> list[str]:
    return [words[place + 1] for place, word in enumerate(words) if word == option]
