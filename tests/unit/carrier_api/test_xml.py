"""v1 XML: parsed into the shape of its JSON, without XML's dangers; written in the vendor's namespace."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.carrier_api.responses import api_response
from worker.carrier_api.v1.xml import NAMESPACE, parse_xml, why_no_document, write_xml


def test_namespaces_are_ignored() -> None:
    """Elements are known by their local name, in any namespace."""
    assert parse_xml(b'<a xmlns="u:1"><B xmlns="u:2"> 1 </B><p:C xmlns:p="u:3"/></a>') == {"B": "1", "C": None}


@pytest.mark.parametrize("count", [0, 1, 2])
def test_lists_stay_lists(count: int) -> None:
    """A list of one, or of none, is a list."""
    links = b"<ApiLink><Rel>label</Rel></ApiLink>" * count
    assert parse_xml(b"<S><ApiLinks>" + links + b"</ApiLinks></S>") == {"ApiLinks": [{"Rel": "label"}] * count}
    assert (
        parse_xml(b"<ArrayOfAllocationSummary>" + b"<S><A>1</A></S>" * count + b"</ArrayOfAllocationSummary>")
        == [{"A": "1"}] * count
    )


@pytest.mark.parametrize(
    "body",
    [
        b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
        b'<?xml version="1.0"?>\n<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
        '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'.encode("utf-16"),
        b"<!DOCTYPE html><html></html>",
        b"<a>&unknown;</a>",
        b"<a><b></a>",
        b"<a/><b/>",
        b"<p:a/>",
        b"",
        b"<",
        b"\xff<a/>",
    ],
)
def test_dangerous_or_broken_is_none(body: bytes) -> None:
    """A document with a DOCTYPE, and so with entities, is refused; a malformed one is None."""
    assert parse_xml(body) is None


def test_text_that_resembles_a_doctype() -> None:
    """Text that only resembles a document type is text."""
    assert parse_xml(b"<a><b><![CDATA[<!DOCTYPE x>]]></b></a>") == {"b": "<!DOCTYPE x>"}


@pytest.mark.parametrize(
    ("body", "why"),
    [(b"<!DOCTYPE a><a/>", "a document type"), (b"<a><b></a>", "mismatched tag"), (b"<a/>", "")],
)
def test_unreadable_documents_have_a_reason(body: bytes, why: str) -> None:
    """An unreadable document has a reason, in the parser's own message."""
    assert why in why_no_document(body)
    assert bool(why) == bool(why_no_document(body))


def test_an_invalid_character_is_replaced() -> None:
    """A character that is not UTF-8 is replaced; the rest is kept."""
    assert parse_xml(b"<a><b>caf\xe9</b></a>") == {"b": "caf\ufffd"}


def test_depth_is_cheap() -> None:
    """A document as deep as it is long is parsed without recursion."""
    assert parse_xml(b"<a>" * 50_000 + b"</a>" * 50_000) is not None


def test_declared_encoding_is_ignored() -> None:
    """.NET writes documents that declare utf-16 and are utf-8."""
    assert parse_xml('<?xml version="1.0" encoding="utf-16"?><a><b>é</b></a>'.encode()) == {"b": "é"}


@given(st.binary(max_size=100).map(lambda tail: b"<a>" + tail) | st.text("<>/ab&;! ").map(str.encode))
def test_parsing_never_raises(body: bytes) -> None:
    """Any bytes can be parsed."""
    parse_xml(body)


def test_first_character_decides_the_format() -> None:
    """XML is parsed as XML even if the headers declare JSON, and after a byte order mark."""
    xml, json = b"\xef\xbb\xbf\r\n <?xml version='1.0'?><a><b>1</b></a>", b' {"b": 1}'
    assert api_response(200, xml).content == api_response(200, json).content == {"b": "1"}


def test_request_is_written_in_order() -> None:
    """A request has its root, the vendor's namespace, and its elements in the order of the body."""
    body = {"ConsignmentReferences": ["A", "<B>"], "Filters": {"ServiceDirection": "Outbound", "IsPickup": False}}
    assert write_xml("Root", body).decode() == (
        "<?xml version='1.0' encoding='utf-8'?>\n"
        f'<Root xmlns="{NAMESPACE}"><ConsignmentReferences><string>A</string><string>&lt;B&gt;</string>'
        "</ConsignmentReferences><Filters><ServiceDirection>Outbound</ServiceDirection>"
        "<IsPickup>false</IsPickup></Filters></Root>"
    )
