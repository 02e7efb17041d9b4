"""How Flower shows tasks: what a task is for and its result, as plain text. Pure."""

import re
from collections.abc import Iterator
from typing import Any

from tasks.allocate import ALLOCATE_TASK, FALLBACK_TASK
from tasks.work.messages import CLAIMING, COUNTS, IN_PROGRESS, MERCHANTS, and_more
from worker.observability.text import count

MAX_LENGTH = 120
"""Longer lines are cut."""

_FIELD = re.compile(r"'(\w+)': (?:'((?:[^'\\]|\\.)*)'|(\w+))")
_CLAIM = re.compile(r"'\S+ (\S+) \d+ ([^']+)")


def format_task(task: Any) -> Any:
    """Replace arguments and result of a task of this project, a copy, by plain text; Flower escapes it."""
    if task.name != ALLOCATE_TASK and not (task.name or "").startswith(FALLBACK_TASK):
        return task
    given, claims = _fields(f"{task.args or ''} {task.kwargs or ''}"), _claims(task.args or "")
    task.args, task.kwargs = _cut(_purpose(task.name, given)), "\n".join(claims)
    task.result = _cut(_outcome(_fields(task.result or "")) or task.result or task.exception or "")
    return task


def _fields(text: str) -> dict[str, str]:
    """The first fields of a mapping that Celery shows, which may be cut."""
    found: dict[str, str] = {}
    for name, words, number in _FIELD.findall(text):
        found.setdefault(name, words or number)
    return found


def _purpose(name: str, given: dict[str, str]) -> str:
    """`acme and 3 more, 10 shipments, carrier_service`; the empty string without these arguments."""
    if not given.get("merchant"):
        return "nothing due" if "merchant" in given else ""
    merchant, strategy = given["merchant"], name.removeprefix(FALLBACK_TASK)
    if name == ALLOCATE_TASK:
        merchant, strategy = and_more(merchant, _number(given, MERCHANTS)), given.get("strategy", "")
    parts = [merchant, count(_number(given, "shipments"), "shipment"), strategy]
    return ", ".join(part for part in parts if part)


def _claims(text: str) -> Iterator[str]:
    """The shipments of a link, by merchant."""
    for merchant, references in _CLAIM.findall(text.partition("'claims': [")[2]):
        yield f"{merchant}: {references}"


def _outcome(result: dict[str, str]) -> str:
    """`7 allocated, 2 failed, 1 in progress; 4 merchants`; the empty string if it is no result of this project."""
    if IN_PROGRESS not in result:
        return ""
    parts = [f"{result[name]} {name.replace('_', ' ')}" for name in COUNTS if _number(result, name)]
    if CLAIMING in result:
        parts.append("still claiming")
    merchants = _number(result, MERCHANTS)
    of_merchants = f"; {count(merchants, 'merchant')}" if merchants else ""
    return (", ".join(parts) or "no shipments") + of_merchants


def _number(fields: dict[str, str], name: str) -> int:
    text = fields.get(name, "")
    return int(text) if text.isdecimal() else 0


def _cut(text: str) -> str:
    return text if len(text) <= MAX_LENGTH else f"{text[: MAX_LENGTH - 1]}…"
