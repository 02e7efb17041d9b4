"""What the documents say is so: commands, tables, examples and links are compared with the code."""

import importlib
import json
import re
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import click
import jsonschema
import pytest
from click.testing import CliRunner
from pydantic import BaseModel, TypeAdapter

from config.celery_options import BATCHES, SWEEP_TASK, SWEEPS
from config.merchant_files.conditions import Conditions
from config.merchant_files.merchant_file import Merchant, MerchantFile
from config.merchant_files.reading import read
from config.settings import Settings
from config.strategies.catalogue import STRATEGIES, AnyStrategy
from config.strategies.quote import request_with_quote
from config.strategies.strategy import V1, V2, Flavour, RequestSpec, Strategy
from tasks.allocate import ALLOCATE_TASK
from tasks.events.schemas import schema
from tasks.events.shipment_allocated import AllocatedData
from tasks.events.shipment_allocation_failed import FailedData
from tasks.rules.decision import FailReason
from tasks.rules.order import Order, RejectReason, parse_order
from tasks.rules.order_event import OrderData
from tasks.work.messages import RESULT_FIELDS
from tests.factories.readings import exposed
from worker.commands import status
from worker.commands.cli import COMMANDS
from worker.lab.demo.scenes import SCENES
from worker.observability.problems.problem import SLUGS

ROOT = Path(__file__).parent.parent
PAGES = {str(path.relative_to(ROOT)): path.read_text() for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"))}
README, MAKEFILE = PAGES["README.md"], (ROOT / "Makefile").read_text()

DEFAULTS_IN_WORDS = {
    "redis_url": "required",
    "broker_url": "same server, next database",
    "concurrency": "2 per core",
    "trim_orders": "true",
    "flower_actions": "false",
}
BASE = tomllib.loads(
    '[api]\nflavour = "shipments-v2"\nbase_url = "https://api.test"\napi_key = { env = "K" }\n'
    "[allocation]\nstrategy = { default_rules = true }\n"
)
EVENTS: dict[str, type[BaseModel]] = {
    "order.created": OrderData,
    "shipment.allocated": AllocatedData,
    "shipment.allocation_failed": FailedData,
}
ANSWERS = {"shipment.allocated": "shipment-allocated", "shipment.allocation_failed": "shipment-allocation-failed"}


def blocks(language: str) -> list[Any]:
    """The code blocks of a language in all pages, each with its page and the words after the language."""
    found = re.compile(rf"^```{language}(?: (\w+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return [
        pytest.param(match[2], match[1] or "", id=f"{page}:{text.count(chr(10), 0, match.start()) + 1}")
        for page, text in PAGES.items()
        for match in found.finditer(text)
    ]


def rows(page: str, heading: str) -> Iterator[list[str]]:
    """The cells of the first table below a line that begins so, without its head."""
    below = PAGES[page].partition(f"\n{heading}")[2]
    table = re.findall(r"(?:^\|.*\n)+", below, re.MULTILINE)[0]
    for line in table.splitlines()[2:]:
        yield [cell.strip() for cell in line.strip("|").split("|")]


def coded(text: str) -> list[str]:
    """What stands between backticks."""
    return re.findall(r"`([^`]+)`", text)


def slug(heading: str) -> str:
    """A heading as an anchor, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def shown(program: str) -> list[str]:
    """The command lines of a program in all blocks for a shell."""
    return [line for block in blocks("sh") for line in block.values[0].splitlines() if line.startswith(program)]


@pytest.mark.parametrize("line", shown("allocation "))
def test_command_lines(line: str) -> None:
    """Every `allocation` line that is shown names a command, and flags that its help knows."""
    _, name, *words = shlex.split(line)
    assert name in COMMANDS
    command: click.Command = importlib.import_module(f"worker.commands.{name}").command
    helped = CliRunner().invoke(command, ["--help"]).output
    assert [word for word in words if word.startswith("-") and f" {word.partition('=')[0]} " not in helped + " "] == []


@pytest.mark.parametrize("line", shown("make "))
def test_make_lines(line: str) -> None:
    """Every `make` line that is shown names a target and variables of the Makefile."""
    _, target, *variables = shlex.split(line)
    assert re.search(rf"^{target}:.* ## ", MAKEFILE, re.MULTILINE)
    assert [word for word in variables if f"\n{word.partition('=')[0]} ?=" not in MAKEFILE] == []


@pytest.mark.parametrize("line", shown("celery "))
def test_process_lines(line: str) -> None:
    """Every `celery` line that is shown is one of the Procfile."""
    assert line.removesuffix(" &") in [
        command.partition(": ")[2] for command in (ROOT / "Procfile").read_text().splitlines()
    ]


def test_processes() -> None:
    """The table of processes is the Procfile."""
    told = {name: coded(command)[0] for name, command, _ in rows("README.md", "In production each process")}
    assert [f"{name}: {command}" for name, command in told.items()] == (ROOT / "Procfile").read_text().splitlines()


def test_commands() -> None:
    """The table of commands names each one."""
    told = [word.removeprefix("allocation ") for cell, _ in rows("README.md", "## Commands") for word in coded(cell)]
    assert sorted(told) == sorted(COMMANDS)


def test_environment() -> None:
    """The table of the environment has every setting, in order, with its default."""
    told = {coded(variable)[0]: default.strip("`") for variable, default, _ in rows("README.md", "## Environment")}
    assert list(told.items()) == [(_variable(name), _default(name)) for name in Settings.model_fields]


def _variable(name: str) -> str:
    return str(Settings.model_fields[name].validation_alias or f"ALLOCATION_{name.upper()}")


def _default(name: str) -> str:
    return DEFAULTS_IN_WORDS.get(name) or str(Settings.model_fields[name].default or "none")


def test_strategies() -> None:
    """The table of strategies has the whole catalogue, each with the calls it makes for both flavours."""
    tables = [tomllib.loads(f"s = {coded(cell)[0]}")["s"] for cell, _, _ in rows("README.md", "## Strategies")]
    strategies = [TypeAdapter(AnyStrategy).validate_python(table) for table in tables]
    assert [type(strategy) for strategy in strategies] == list(STRATEGIES)
    for strategy, (_, v2, v1) in zip(strategies, rows("README.md", "## Strategies"), strict=True):
        assert [call for call in coded(v2) if call != "bulk"] == list(_calls(strategy, V2))
        assert coded(v1) == list(_calls(strategy, V1))


def _calls(strategy: Strategy, flavour: Flavour) -> Iterator[str]:
    if strategy.unsupported_reason(flavour):
        return
    yield _written(strategy.request(flavour, ["{shipment}"]))
    if flavour in strategy.most_bulk:
        yield _written(strategy.request(flavour, ["{shipment}"], bulk=True))
    if flavour in strategy.needs_quote:
        yield _written(request_with_quote(flavour, "{shipment}", "{quote}"))


def _written(call: RequestSpec) -> str:
    return f"{call.method} /{'/'.join(call.path)}"


@pytest.mark.parametrize(
    ("page", "heading", "known"),
    [
        ("docs/events.md", "## Out: a shipment failed", get_args(FailReason)),
        ("docs/events.md", "## Out: an event was rejected", get_args(RejectReason)),
        ("docs/merchant-files.md", "## Conditions", Conditions.model_fields),
    ],
)
def test_closed_lists(page: str, heading: str, known: Any) -> None:
    """Reasons and conditions are told of completely, and nothing is told of that is not there."""
    assert sorted(coded(row[0])[0] for row in rows(page, heading)) == sorted(known)


def test_merchant_files_name_every_strategy() -> None:
    """The page on merchant files has an example of each strategy, and each is one."""
    cells = [row[0] for row in rows("docs/merchant-files.md", "## Strategies and fallback")]
    tables = [tomllib.loads(f"s = {text}")["s"] for cell in cells for text in coded(cell)]
    assert {type(TypeAdapter(AnyStrategy).validate_python(table)) for table in tables} == set(STRATEGIES)


def test_problems() -> None:
    """The table of problems has every slug, with what makes it urgent or attention; so has `status --help`."""
    table = [*rows("docs/operating.md", "Each problem")]
    assert sorted(name for cells in table for name in coded(cells[0])) == sorted(SLUGS)
    assert [names for names, urgent, attention, _ in table if not (urgent or attention)] == []
    assert [slug for slug in SLUGS if slug not in (status.command.help or "")] == []


def test_metrics() -> None:
    """The table of metrics has each one that is exposed, with its type and labels."""
    told = {
        name: (kind, tuple(sorted(coded(labels))))
        for names, kind, labels, _ in rows("docs/operating.md", "## Metrics")
        for name in coded(names)
    }
    assert told == exposed()


def test_log_events() -> None:
    """The table of log events has every event that the code logs."""
    code = "".join(path.read_text() for folder in ("tasks", "worker") for path in (ROOT / folder).rglob("*.py"))
    logged = re.findall(r"\b_?log\.(?:info|warning|error|critical|exception)\(\s*\"(\w+)\"", code)
    assert {name for row in rows("docs/operating.md", "## Logs") for name in coded(row[0])} == set(logged)


def test_wire() -> None:
    """The changelog names every task, queue, field of a result or event and key of Redis, under the heading Wire."""
    tasks = {ALLOCATE_TASK, SWEEP_TASK, *(f"allocation.fallback.{strategy.name}" for strategy in STRATEGIES)}
    scripts = "".join(path.read_text() for path in (ROOT / "worker").rglob("*.lua"))
    code = "".join(path.read_text() for path in (ROOT / "worker").rglob("*.py"))
    keys = {*re.findall(r"P \.\. '([a-z_]+)", scripts), *re.findall(r"\{PREFIX\}([a-z_]+)", code)}
    assert {coded(row[0])[0] for row in rows("CHANGELOG.md", "Tasks:")} == tasks
    assert [coded(row[0])[0] for row in rows("CHANGELOG.md", "Results of tasks")] == [*RESULT_FIELDS]
    assert [name for row in rows("docs/operating.md", "Fields of a result:") for name in coded(row[0])] == [
        *RESULT_FIELDS
    ]
    assert {coded(row[0])[0] for row in rows("CHANGELOG.md", "Queues:")} == {BATCHES, SWEEPS}
    assert {coded(name)[0]: coded(fields) for name, fields in rows("CHANGELOG.md", "Events:")} == {
        event: [*model.model_fields] for event, model in EVENTS.items()
    }
    assert {coded(row[0])[0].rstrip(":") for row in rows("CHANGELOG.md", "Keys in Redis:")} == keys


@pytest.mark.parametrize(("text", "words"), blocks("toml"))
def test_merchant_files(text: str, words: str) -> None:
    """Every TOML block is a whole merchant file, or becomes one with the tables that a fragment leaves out."""
    table = tomllib.loads(text)
    MerchantFile.model_validate(BASE | table if words == "fragment" else table)


def test_example_file(tmp_path: Path) -> None:
    """The example is a good merchant file once it is copied."""
    copy = tmp_path / "acme.toml"
    shutil.copy(ROOT / "config/merchants/acme.toml.example", copy)
    assert isinstance(read(copy), Merchant)


@pytest.mark.parametrize(("text", "_words"), blocks("json"))
def test_events(text: str, _words: str) -> None:
    """Every JSON block is an event as it comes in, as it goes out, or as it is rejected."""
    event = json.loads(text)
    if event.get("type") == "order.created":
        assert isinstance(parse_order(text.encode()), Order)
    else:
        jsonschema.validate(event, schema(ANSWERS.get(event.get("type"), "orders-rejected")))


def test_strategy_of_the_worked_example() -> None:
    """The strategy that is added on its page is one, and builds the call that is told there."""
    names: dict[str, Any] = {"__name__": "example"}
    exec(blocks("python")[0].values[0], names)  # noqa: S102  # our own page
    strategy = names["RulesOneByOne"](rules_one_by_one=True)
    assert strategy.table == {"rules_one_by_one": True}
    assert list(_calls(strategy, V2)) == ["PUT /shipments/{shipment}/allocate"]
    assert strategy.unsupported_reason(V1)


def test_excerpt_of_the_demo() -> None:
    """The scene that the README shows is one that the demo plays."""
    number, title = re.findall(r"^(\d+)\. (.*)$", README, re.MULTILINE)[0]
    assert SCENES[int(number) - 1].title == title


@pytest.mark.parametrize("page", PAGES)
def test_links(page: str) -> None:
    """Every relative link leads to a file, and to a heading in it where it names one."""
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", PAGES[page]) if not link.startswith("https://")]
    assert [link for link in links if not _leads_somewhere(page, link)] == []


def _leads_somewhere(page: str, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (ROOT / page).parent / path if path else ROOT / page
    headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE) if anchor else []
    return target.exists() and (not anchor or anchor in map(slug, headings))
