"""The JSON Schemas of what commands print with `--json`, derived from the types that they print."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import TypeAdapter

from worker.commands.explain_document import Explanation
from worker.observability.overview import DESCRIBED, Overview
from worker.observability.problems.problem import Problem

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True, kw_only=True, slots=True)
class StatusHead:
    """The keys of `status --json` that are always there."""

    __pydantic_config__: ClassVar = DESCRIBED

    healthy: bool
    """Whether no problem affects the exit code."""
    problems: tuple[Problem, ...]
    """The problems, urgent ones first."""
    queues: dict[str, int] | None
    """Messages in each of Celery's queues; null without the broker."""


def status_document(head: StatusHead, overview: Overview | None) -> dict[str, Any]:
    """The document of `allocation status --json`. Without an overview, as Redis is unavailable, it has no key of it."""
    return {**_dump(head), **(_dump(overview) if overview else {})}


def _dump(value: StatusHead | Overview) -> dict[str, Any]:
    document: dict[str, Any] = TypeAdapter(type(value)).dump_python(value, mode="json")
    return document


def _status() -> dict[str, Any]:
    head, overview = _schema_of(StatusHead), _schema_of(Overview)
    return {
        **head,
        "title": "Status",
        "description": status_document.__doc__,
        "properties": {**head["properties"], **overview["properties"]},
        "dependentRequired": {"now": overview["required"]},
        "$defs": {**head["$defs"], **overview["$defs"]},
        "additionalProperties": False,
    }


def _schema_of(kind: Any) -> dict[str, Any]:
    return TypeAdapter(kind).json_schema(mode="serialization")


def _explain() -> dict[str, Any]:
    return _schema_of(Explanation)


OUTPUTS: Mapping[str, Callable[[], dict[str, Any]]] = {"status": _status, "explain": _explain}


def output_schema(name: str) -> dict[str, Any]:
    """The schema of one of `OUTPUTS`."""
    return {"$schema": _DIALECT, **OUTPUTS[name]()}
