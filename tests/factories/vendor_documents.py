"""The vendor's own documents, which lie beside the project and not in it."""

import json
from pathlib import Path
from typing import Any

import pytest

SHARED = Path(__file__).parents[2].parent / "shared"

needs_vendor = [
    pytest.mark.vendor,
    pytest.mark.skipif(not SHARED.is_dir(), reason="the vendor's documents are not there"),
]
"""The marks of a module whose tests read them."""


def example(name: str) -> bytes:
    """An answer as the vendor prints it."""
    return (SHARED / "pro-api/examples" / name).read_bytes()


def openapi(name: str) -> Any:
    """An OpenAPI document of the vendor."""
    return json.loads((SHARED / "pro-api/openapi" / name).read_bytes())


def seed(name_part: str, begin: str, end: str) -> bytes:
    """The piece of a help page from `begin` (with it) to `end` (without it)."""
    pages = (page.read_text() for page in sorted((SHARED / "seeds").iterdir()))
    page = next(page for page in pages if name_part in page)
    start = page.index(begin)
    return page[start : page.index(end, start)].encode()
