"""v1's XML: responses as the structure of their JSON, and requests from it."""

from typing import Any, NamedTuple, NoReturn
from xml.etree.ElementTree import Element, SubElement, tostring
from xml.parsers import expat

NAMESPACE = "http://electioapp.com/schemas/v1.1/MPD.Electio.SDK.DataTypes.Consignments"

# XML does not distinguish a single element from a list with one entry.
_LISTS = frozenset(
    {"ApiLinks", "ConsignmentLegs", "TrackingReferences", "Packages", "Quotes", "Legs", "UnqualifiedServices"}
)


class Document(NamedTuple):
    """An XML document: the name of its root and its content, without namespaces."""

    root: str
    value: Any


def parse_document(body: bytes) -> Document | None:
    """The document, in UTF-8, as objects, lists and texts; None if it is invalid. Never raises.

    The caller bounds the size of the body.
    """
    try:
        return _parse(body)
    except (expat.ExpatError, ValueError):
        return None


def why_no_document(body: bytes) -> str:
    """The parser's error for a body; empty if it is valid."""
    try:
        _parse(body)
    except (expat.ExpatError, ValueError) as error:
        return f"XML: {error}"
    return ""


def parse_xml(body: bytes) -> Any:
    """The content of the document; None if it is invalid or empty."""
    document = parse_document(body)
    return document.value if document else None


def _parse(body: bytes) -> Document:
    target = _Target()
    parser = expat.ParserCreate(namespace_separator="}")
    parser.buffer_text = True
    parser.StartElementHandler = target.start
    parser.EndElementHandler = target.end
    parser.CharacterDataHandler = target.data
    # Dangerous XML needs one of these.
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    # As text, which overrides the declared encoding.
    parser.Parse(body.decode("utf-8", "replace").removeprefix("\ufeff").lstrip(), True)  # noqa: FBT003  # no keywords
    return Document(target.root, target.document)


def _refuse(*_: object) -> NoReturn:
    raise ValueError("a document type or an entity, which are not read")


class _Target:
    """Builds the value while parsing, without recursion."""

    def __init__(self) -> None:
        self.document: Any = None
        self.root = ""
        self._open: list[list[tuple[str, Any]]] = [[]]
        self._text: list[str] = []

    def start(self, _tag: str, _attributes: dict[str, str]) -> None:
        self._open.append([])
        self._text.clear()

    def data(self, text: str) -> None:
        self._text.append(text)

    def end(self, tag: str) -> None:
        name = tag.rpartition("}")[2]
        children = self._open.pop()
        self.root = name
        self.document = _value(name, children) if children else self._leaf(name)
        self._open[-1].append((name, self.document))
        self._text.clear()

    def _leaf(self, name: str) -> Any:
        text = "".join(self._text).strip()
        return text or ([] if _is_list(name) else None)


def _value(name: str, children: list[tuple[str, Any]]) -> Any:
    return [child for _, child in children] if _is_list(name) else dict(children)


def _is_list(name: str) -> bool:
    return name in _LISTS or name.startswith("ArrayOf")


def write_xml(root: str, body: dict[str, Any]) -> bytes:
    """A request document in v1's namespace, its elements in the order of the body, which matters."""
    element = Element(root, xmlns=NAMESPACE)
    _fill(element, body)
    document: bytes = tostring(element, encoding="utf-8", xml_declaration=True)
    return document


def _fill(element: Element, value: Any) -> None:
    match value:
        case dict():
            for name, child in value.items():
                _fill(SubElement(element, name), child)
        case list():
            for child in value:
                _fill(SubElement(element, "string"), child)
        case bool():
            element.text = "true" if value else "false"
        case _:
            element.text = str(value)
