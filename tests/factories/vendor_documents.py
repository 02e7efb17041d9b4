"""The vendor's documents, which are in a folder beside the project."""

import json
from pathlib import Path
from typing import Any

import pytest

SHARED = Path(__file__).parents[2].parent / "shared"

needs_vendor = [
    pytest.mark.vendor,
    pytest.mark.skipif(not SHARED.is_dir(), reason="needs the vendor's documents, not part of this repository"),
]
"""The marks of modules that need the vendor's documents."""


def example(name: str) -> bytes:
    """A response from the vendor's examples."""
    return (SHARED / "pro-api/examples" / name).read_bytes()


def openapi(name: str) -> Any:
    """One of the vendor's OpenAPI documents."""
    return json.loads((SHARED / "pro-api/openapi" / name).read_bytes())


def seed(name_part: str, begin: str, end: str) -> bytes:
    """The part of a help page from `begin` (inclusive) to `end` (exclusive)."""
    pages = (page.read_text() for page in sorted((SHARED / "seeds").iterdir()))
    page = next(page for page in pages if name_part in page)
    start = page.index(begin)
    return page[start : page.index(end, start)].encode()
