"""The XML of v1: trees written in the vendor's namespaces, and request bodies read without a document type."""

import re
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from worker.lab.sandbox.http_types import Tree

_COMMON = "http://electioapp.com/schemas/v1.1/MPD.Electio.SDK.DataTypes.Common"
_SCHEMA = "http://www.w3.org/2001/XMLSchema"
_INSTANCE = "http://www.w3.org/2001/XMLSchema-instance"
_IN_COMMON = frozenset({"Rel", "Href"})
_MOST_NESTED = 50
_NO_CHARACTER = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML cannot hold."""


def xml_text(root: str, namespace: str, tree: Tree) -> str:
    """A document. A list becomes repeated elements, named after the list without its plural; None is left out."""
    opening = f'<{root} xmlns:xsd="{_SCHEMA}" xmlns:xsi="{_INSTANCE}" xmlns="{namespace}">'
    return f'<?xml version="1.0" encoding="utf-8"?>{opening}{_content(_item(root), tree)}</{root}>'


def _content(item: str, tree: Tree) -> str:
    match tree:
        case str():
            return escape(_NO_CHARACTER.sub("\N{REPLACEMENT CHARACTER}", tree))
        case bool():
            return str(tree).lower()
        case Mapping():
            return "".join([_element(name, value) for name, value in tree.items() if value is not None])
        case Sequence():
            return "".join([_element("string" if isinstance(each, str) else item, each) for each in tree])
        case _:
            return str(tree)


def _element(name: str, value: Tree) -> str:
    attribute = f' xmlns="{_COMMON}"' if name in _IN_COMMON else ""
    return f"<{name}{attribute}>{_content(_item(name), value)}</{name}>"


def _item(name: str) -> str:
    """The element name of a list's entries."""
    return name.removeprefix("ArrayOf").removesuffix("s")


class _Limited(ET.TreeBuilder):
    """Builds elements; refuses a document type, which is where entities are declared, and endless nesting."""

    def __init__(self) -> None:
        """Start outside of any element."""
        super().__init__()
        self._depth = 0

    def start(self, tag: str, attrs: dict[str, str], /) -> ET.Element:
        """Open an element, unless it is nested too deep."""
        self._depth += 1
        if self._depth > _MOST_NESTED:
            msg = f"more than {_MOST_NESTED} elements within each other"
            raise ValueError(msg)
        return super().start(tag, attrs)

    def end(self, tag: str, /) -> ET.Element:
        """Close an element."""
        self._depth -= 1
        return super().end(tag)

    def doctype(self, name: str, _public: str | None, _system: str | None) -> None:
        """Refuse."""
        msg = f"document type {name} is not allowed"
        raise ValueError(msg)


def read_xml(body: bytes) -> Tree:
    """The content of a document: elements as mappings, `string` elements as lists. ValueError if it cannot be read."""
    parser = ET.XMLParser(target=_Limited())  # noqa: S314 - entities need the document type refused above
    try:
        parser.feed(body)
        return _tree(parser.close())
    except (ET.ParseError, LookupError) as error:  # the latter for an encoding that Python does not know
        raise ValueError(str(error)) from error


def _tree(element: ET.Element) -> Tree:
    children = list(element)
    if not children:
        return element.text or ""
    if all(_local(child) == "string" for child in children):
        return [child.text or "" for child in children]
    return {_local(child): _tree(child) for child in children}


def _local(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]
