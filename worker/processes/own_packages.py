"""Checks, when imported, that `config` and `tasks` are this project's: Celery puts the working directory first."""

import sys
from importlib.util import find_spec
from pathlib import Path

_ROOT = Path(__file__).parents[2]


def foreign_packages() -> dict[str, str]:
    """The packages of ours that are found elsewhere than beside this one, each with its place."""
    places = {name: find_spec(name) for name in ("config", "tasks")}
    ours = {name: str(_ROOT / name / "__init__.py") for name in places}
    return {name: spec.origin or name for name, spec in places.items() if spec and spec.origin != ours[name]}


if _foreign := foreign_packages():
    for _name, _place in _foreign.items():
        sys.stderr.write(
            f"allocation: {_place} hides this project's package `{_name}`; start the process in another folder, "
            "or rename that file\n"
        )
    raise SystemExit(2)
