"""The label links among all links of a response."""

from collections.abc import Iterable

from tasks.rules.outcome import Label
from worker.carrier_api.fields import token

_LABEL_WORDS = frozenset({"label", "pdf", "zpl"})
_FORMATS = frozenset({"pdf", "zpl", "png", "epl", "gif", "jpg", "jpeg", "html"})

Link = tuple[object, object, object]
"""href, rel, type: as in the response."""


def labels(links: Iterable[Link]) -> tuple[Label, ...]:
    """The label links in their order, each address once."""
    found: dict[str, Label] = {}
    for href, rel, kind in links:
        relation = str(rel).lower()
        if relation not in _LABEL_WORDS and str(kind).lower() not in _LABEL_WORDS:
            continue
        address = token(href)
        if address and address[:8].lower().startswith(("https://", "http://")):
            found[address] = Label(href=address, format=_format(address, relation))
    return tuple(found.values())


def last_segments(href: str) -> list[str]:
    """The last two segments of the link's path, the last one first."""
    return href.partition("?")[0].partition("#")[0].rstrip("/").rsplit("/", 2)[-1:-3:-1]


def _format(href: str, relation: str) -> str | None:
    """The format at the end of the path (a resolution may follow it), or the relation."""
    for word in (*last_segments(href.lower()), relation):
        if word in _FORMATS:
            return word
    return None
