"""The glossary names what the code names, and no retired name has come back."""

import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from config.celery_options import SWEEP_TASK
from config.strategies.catalogue import STRATEGIES
from tasks.allocate import ALLOCATE_TASK

ROOT = Path(__file__).parent.parent
GLOSSARY = (ROOT / "docs/glossary.md").read_text()
LOGGED = re.compile(r"\b_?log\.(?:info|warning|error|critical|exception)\(\s*\"(\w+)\"")


def section(heading: str) -> set[str]:
    """What stands between backticks below a heading, without the first paragraph's file."""
    text = GLOSSARY.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return {name for name in re.findall(r"`([^`]+)`", text) if "/" not in name and name != "allocation:"}


@cache
def sources(pattern: str) -> dict[Path, str]:
    """The files of the project with such names."""
    folders = ("config", "tasks", "worker", "tests")
    return {path: path.read_text() for folder in folders for path in (ROOT / folder).rglob(pattern)}


def names_in(text: str) -> Iterator[str]:
    """The identifiers of a Python file, and the strings that are one word."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME:
            yield token.string
        elif token.type == tokenize.STRING:
            yield token.string.strip("\"'")
            yield from re.findall(r"allocation:([a-z_]+:?)", token.string)


def names_in_lua(text: str) -> Iterator[str]:
    """The identifiers and strings of a script, without its comments."""
    for line in text.splitlines():
        code = line.partition("--")[0]
        yield from re.findall(r"[A-Za-z_]\w*", code)
        yield from re.findall(r"'([^']+)'", code)


def test_tasks() -> None:
    """The tasks are those of the application."""
    fallbacks = {f"allocation.fallback.{strategy.name}" for strategy in STRATEGIES}
    assert section("Tasks") == {ALLOCATE_TASK, SWEEP_TASK, *fallbacks}


def test_log_events() -> None:
    """The log events are those that the code logs."""
    own = [text for path, text in sources("*.py").items() if "tests" not in path.relative_to(ROOT).parts]
    assert section("Log events") == {name for text in own for name in LOGGED.findall(text)}


def test_keys() -> None:
    """The keys are those of the table that every script begins with."""
    prelude = (ROOT / "worker/ledger/lua/_prelude.lua").read_text()
    table = prelude.partition("key   ")[2].partition("local P")[0]
    assert section("Redis keys") == set(re.findall(r"^-- ([a-z_]+)[ :<]", table, re.MULTILINE))


def test_no_retired_name() -> None:
    """No retired name is an identifier, a field, a key, a log event or a word of the documentation's code."""
    retired = section("Retired names")
    found = {(path, name) for path, text in sources("*.py").items() for name in names_in(text) if name in retired}
    found |= {(path, name) for path, text in sources("*.lua").items() for name in names_in_lua(text) if name in retired}
    pages = [path for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")) if path.name != "glossary.md"]
    coded = {(path, name) for path in pages for name in re.findall(r"`([^`]+)`", path.read_text())}
    found |= {(path, name) for path, name in coded if name in retired}
    assert sorted((str(path.relative_to(ROOT)), name) for path, name in found) == []
