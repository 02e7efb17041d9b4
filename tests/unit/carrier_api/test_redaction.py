"""The key is removed from a response, in every encoding."""

import base64
import html
import json
import timeit
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.carrier_api.redaction import redacted, redacted_text

KEYS = ("a-key-that-must-stay-secret", "7f3aQ1/z+B92<x&L'm\"z", "0123456789abcdef0123456789abcdef")

FORMS: dict[str, Callable[[str], str]] = {
    "plain": lambda key: key,
    "JSON": lambda key: json.dumps(key)[1:-1],
    "JSON, slashes too": lambda key: json.dumps(key)[1:-1].replace("/", "\\/"),
    "JSON, all letters": lambda key: "".join(f"\\u{ord(letter):04x}" for letter in key),
    "JSON, all letters, upper case": lambda key: "".join(f"\\u{ord(letter):04X}" for letter in key),
    "JSON, one letter": lambda key: f"\\u{ord(key[0]):04x}{json.dumps(key[1:])[1:-1]}",
    "JSON in JSON": lambda key: json.dumps(json.dumps(key))[1:-1],
    "URL": lambda key: quote(key, safe=""),
    "URL, lower case": lambda key: "".join(f"%{ord(letter):02x}" for letter in key),
    "URL, upper case": lambda key: "".join(f"%{ord(letter):02X}" for letter in key),
    "base64": lambda key: base64.b64encode(key.encode()).decode(),
    "base64 for URLs": lambda key: base64.urlsafe_b64encode(key.encode()).decode(),
    "base64 with a colon after": lambda key: base64.b64encode(f"{key}:".encode()).decode(),
    "base64 with a user": lambda key: base64.b64encode(f"user:{key}".encode()).decode(),
    "base64 with a letter before": lambda key: base64.b64encode(f"x{key}".encode()).decode(),
    "base64 in a URL": lambda key: quote(base64.b64encode(key.encode()).decode(), safe=""),
    "HTML": html.escape,
    "HTML, numbers": lambda key: "".join(f"&#{ord(letter)};" for letter in key),
    "HTML, hex": lambda key: "".join(f"&#x{ord(letter):X};" for letter in key),
    "HTML in a URL": lambda key: quote(html.escape(key), safe=""),
}


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("form", FORMS)
def test_a_key_in_any_form(form: str, key: str) -> None:
    """Nothing that can be decoded to the key is left, and the surrounding text is kept where possible."""
    written = FORMS[form](key)
    left = redacted(f"bad key {written}!".encode(), key).decode()
    assert written not in left
    assert left == "" or left.startswith("bad key ")


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("form", ["plain", "JSON", "JSON, all letters", "URL", "base64", "HTML", "HTML, hex"])
def test_surrounding_text_is_kept(form: str, key: str) -> None:
    """The usual encodings are cut out of the text."""
    assert redacted_text(f"bad key {FORMS[form](key)} of acme", key).startswith("bad key [key]")
    assert redacted_text(f"bad key {FORMS[form](key)} of acme", key).endswith(" of acme")


@given(st.binary(max_size=200))
def test_a_response_without_the_key_is_unchanged(body: bytes) -> None:
    """Other bytes are unchanged."""
    assert redacted(body, KEYS[0]) == body
    assert redacted(body, "") == body


def test_a_reference_of_the_request_is_kept() -> None:
    """A reference that was sent is no secret of the response, and is needed to match its entries."""
    body = b'{"shipment_reference": "test-1", "message": "test", "href": "https://h/test-1?key=test"}'
    left = b'{"shipment_reference": "test-1", "message": "[key]", "href": "https://h/test-1?key=[key]"}'
    assert redacted(body, "test", ["test-1"]) == left


def test_redaction_is_cheap() -> None:
    """A common response takes a few microseconds."""
    body = json.dumps({"state": "allocated", "links": [{"href": "https://h/labels/sp_1/pdf"}] * 20}).encode()
    assert min(timeit.repeat(lambda: redacted(body, KEYS[0]), number=1000, repeat=5)) < 0.1
