"""The XML of v1: trees written in the vendor's namespaces, and request bodies read without a document type."""

from collections.abc import Mapping, Sequence
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from worker.lab.sandbox.http_types import Tree

_COMMON = "http://electioapp.com/schemas/v1.1/MPD.Electio.SDK.DataTypes.Common"
_SCHEMA = "http://www.w3.org/2001/XMLSchema"
_INSTANCE = "http://www.w3.org/2001/XMLSchema-instance"
_IN_COMMON = frozenset({"Rel", "Href"})


def xml_text(root: str, namespace: str, tree: Tree) -> str:
    """A document. A list becomes repeated elements, named after the list without its plural; None is left out."""
    opening = f'<{root} xmlns:xsd="{_SCHEMA}" xmlns:xsi="{_INSTANCE}" xmlns="{namespace}">'
    return f'<?xml version="1.0" encoding="utf-8"?>{opening}{_content(_item(root), tree)}</{root}>'


def _content(item: str, tree: Tree) -> str:
    match tree:
        case str():
            return escape(tree)
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


class _NoDoctype(ET.TreeBuilder):
    """Builds elements and refuses a document type, which is which is where entities are declared."""

    def doctype(self, name: str, _public: str | None, _system: str | None) -> None:
        """Refuse."""
        msg = f"document type {name} is not allowed"
        raise ValueError(msg)


def read_xml(body: bytes) -> Tree:
    """The content of a document: elements as mappings, `string` elements as lists. ValueError if it cannot be read."""
    parser = ET.XMLParser(target=_NoDoctype())  # noqa: S314 - entities need the document type refused above
    try:
        parser.feed(body)
        return _tree(parser.close())
    except ET.ParseError as error:
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
