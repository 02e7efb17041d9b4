"""Normalization of texts for rules; a byte order mark is not part of any text."""

import json
import unicodedata
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.merchant_files.api import find_key
from config.merchant_files.conditions import Conditions
from config.merchant_files.merchant_file import Merchant
from config.merchant_files.reading import read
from config.text import caseless, normal
from tasks.rules.order import Order, parse_order
from tasks.rules.plan import Facts, matches
from tests.factories.merchant_files import SERVICE, V2_API
from tests.factories.order_events import event

BOM = b"\xef\xbb\xbf"
CAFE, CAFE_APART = "caf\u00e9", "cafe\u0301"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("next-day", "next-day"),
        (" next  day\t", "next day"),
        ("next\u00a0day", "next day"),
        ("next\r\n\u2003day", "next day"),
        (CAFE_APART, CAFE),
        ("\u212b", "\u00c5"),
        ("Day", "Day"),
        (" \n", ""),
    ],
)
def test_normal(text: str, expected: str) -> None:
    """Canonical forms are equal, white space is collapsed and stripped; capitals are kept."""
    assert normal(text) == expected


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("GB", "gb"),
        ("STRASSE", "straße"),
        (CAFE.upper(), CAFE_APART),
        ("J\u030c", "\u01f0"),
        ("\u1fb3", "\u0391\u0345"),
    ],
)
def test_caseless(one: str, other: str) -> None:
    """Capitals are ignored, in any form of an accent."""
    assert caseless(one) == caseless(other)


@pytest.mark.parametrize(
    ("condition", "wanted", "fact", "expected"),
    [
        ("country", "GB", " gb ", True),
        ("country", "GB\n", "GB", True),
        ("country", ["IE", "GB"], "G B", False),
        ("currency", "EUR", "eur\u00a0", True),
        ("shipping_method", "next day", "Next  Day", True),
        ("shipping_method", "next\u00a0day", "next day", True),
        ("shipping_method", "next day", "nextday", False),
        ("shipping_method", CAFE, CAFE_APART.upper(), True),
        ("tags_any", [CAFE, "x"], (CAFE_APART,), True),
        ("tags_any", "very  big", ("very big ",), True),
        ("tags_any", "Oil", ("oil",), False),
        ("tags_all", [CAFE, "oil"], (" oil", CAFE_APART), True),
        ("tags_all", [CAFE, CAFE_APART], (CAFE,), True),
        ("tags_all", ["oil", "big"], ("oil ",), False),
        ("postcode_prefix", "M1 ", "M1 1AE", True),
        ("postcode_prefix", "M1 ", " m1\u00a0\u00a01ae", True),
        ("postcode_prefix", "M1\u00a0", "M1 1AE", True),
        ("postcode_prefix", "M1  ", "M1\t1AE", True),
        ("postcode_prefix", "M1 ", "M11 1AA", False),
        ("postcode_prefix", "M1 ", "M1 ", False),
        ("postcode_prefix", " M1", "M11 1AA", True),
        ("postcode_prefix", ["IV", "m1  1"], "M1 1AE", True),
        ("postcode_prefix", "e", "e\u0301", False),
        ("postcode_prefix", "\u00e9", "e\u03011", True),
        ("postcode_prefix", " ", "M1 1AE", False),
    ],
)
def test_conditions_compare_the_normal_form(condition: str, wanted: Any, fact: Any, expected: bool) -> None:  # noqa: FBT001  # a row of the table
    """Every text condition; the trailing space of a prefix counts, and a blank prefix matches nothing."""
    name = {"postcode_prefix": "postcode", "tags_any": "tags", "tags_all": "tags"}.get(condition, condition)
    found = matches(Conditions.model_validate({condition: wanted}), Facts(**{name: fact}))
    assert (found is not None) == expected


WORDS = st.lists(st.text("ae\u00e9\u0301\u00c5M1ß", min_size=1, max_size=4), min_size=1, max_size=3)
WHITE = st.text(" \t\n\u00a0\u2003", max_size=2)
FORMS: list[Literal["NFC", "NFD"]] = ["NFC", "NFD"]


@st.composite
def _two_ways(draw: st.DrawFn) -> tuple[str, str]:
    """One text in two Unicode encodings."""
    words = [unicodedata.normalize("NFC", word) for word in draw(WORDS)]
    text = " ".join(words)
    gap = " " + draw(WHITE)
    again = draw(WHITE) + gap.join(words) + draw(WHITE)
    return text, unicodedata.normalize(draw(st.sampled_from(FORMS)), again)


@given(_two_ways(), st.sampled_from(["country", "shipping_method", "currency", "tags_any", "tags_all", "prefix"]))
def test_equivalent_texts_match(ways: tuple[str, str], kind: str) -> None:
    """The condition holds for any encoding of the same text in file and event."""
    when: dict[str, Any]
    facts: dict[str, Any]
    for wanted, fact in (ways, ways[::-1]):
        match kind:
            case "prefix":
                when, facts = {"postcode_prefix": wanted.rstrip()}, {"postcode": fact}
            case "tags_any" | "tags_all":
                when, facts = {kind: wanted}, {"tags": ("other", fact)}
            case _:
                when, facts = {kind: wanted}, {kind: fact}
        assert matches(Conditions.model_validate(when), Facts(**facts)) is not None


def test_a_mark_before_an_event() -> None:
    """An event is parsed the same with a mark, and is rejected for the same reason."""
    whole = json.dumps(event()).encode()
    assert isinstance(parse_order(whole), Order)
    for text in (whole, b"{}", b"{", b'{"specversion": "1.0"', whole.replace(b"created", b"paid"), b""):
        assert parse_order(BOM + text) == parse_order(text)


def test_a_mark_before_a_merchant_file(tmp_path: Path) -> None:
    """A file with a mark is read like any other."""
    path = tmp_path / "acme.toml"
    path.write_bytes(BOM + (V2_API + SERVICE).encode())
    assert isinstance(read(path), Merchant)


@pytest.mark.parametrize("written", ["\ufeffopen-1", "\ufeff open-1\r\n", "open-1"])
def test_a_mark_before_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    """A key never contains one, wherever it is read from; a mark alone is no key."""
    place, path = tmp_path / "key", tmp_path / "acme.toml"
    for source in ('{ env = "ACME_KEY" }', f'{{ file = "{place}" }}'):
        path.write_text(V2_API.replace('{ env = "ACME_KEY" }', source) + SERVICE)
        found = read(path)
        assert isinstance(found, Merchant)
        for text, key in ((written, "open-1"), ("\ufeff", None), ("open\ufeff-1", None)):
            monkeypatch.setenv("ACME_KEY", text)
            place.write_text(text, encoding="utf-8")
            assert find_key(found.file.api.api_key) == key
