"""Variables that look like settings but are not."""

import os
from collections.abc import Iterable, Iterator

from dotenv import dotenv_values

from config.settings import DOTENV, ENCODING, Settings, variable

NOT_A_SETTING = "is not a setting and is ignored; check its spelling"


def unknown_names() -> Iterator[tuple[str, str]]:
    """Variables that look like settings but are not, with the place where each is set."""
    known = {variable(name) for name in Settings.model_fields}
    yield from (("environment", name) for name in _unknown(os.environ, known))
    try:
        stated: Iterable[str] = dotenv_values(DOTENV, encoding=ENCODING)
    except (OSError, ValueError):
        return
    yield from ((DOTENV, name) for name in _unknown(stated, known))


def _unknown(names: Iterable[str], known: set[str]) -> list[str]:
    return sorted(name for name in names if name.upper().startswith("ALLOCATION_") and name.upper() not in known)
