"""Parsing the parts of a response: JSON, numbers, `Retry-After`, texts."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.carrier_api.responses import NOW, api_response
from worker.carrier_api.bodies import parse_json
from worker.carrier_api.fields import instant, message, slug, text
from worker.carrier_api.prices import decimal_text
from worker.carrier_api.response import LONGEST_WAIT_S, retry_after_s


def test_numbers_keep_their_text() -> None:
    """A number keeps its digits, with trailing zeros and without a conversion to float."""
    body = b'{"net": 2.00, "gross": 0.10000000000000000001, "whole": 12, "big": 1e400}'
    assert parse_json(body) == {"net": "2.00", "gross": "0.10000000000000000001", "whole": "12", "big": "1e400"}


def test_nan_is_null() -> None:
    """NaN and Infinity are not JSON, and no numbers."""
    assert parse_json(b"[NaN, Infinity, -Infinity]") == [None, None, None]


def test_byte_order_mark_is_skipped() -> None:
    """A byte order mark before the JSON is skipped."""
    assert parse_json(b"\xef\xbb\xbf{}") == {}


@pytest.mark.parametrize("body", [b"", b"<html>", b"{", b"\xff\xfe{", b"[" * 200_000, b'{"a": 1}}'])
def test_invalid_json_is_none(body: bytes) -> None:
    """Invalid JSON is None, also when it is deep enough to exhaust a stack."""
    assert parse_json(body) is None


@given(st.binary(max_size=200))
def test_parsing_never_raises(body: bytes) -> None:
    """Any bytes can be parsed."""
    parse_json(body)


_LEAVES = st.none() | st.booleans() | st.text(max_size=5)


@settings(max_examples=30)
@given(st.recursive(_LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner), max_leaves=8))
def test_json_round_trip(value: Any) -> None:
    """JSON without numbers is parsed as written."""
    assert parse_json(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    ("value", "wait_s"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("nan", None),
        ("1e3", None),
        ("٣", None),
        ("0", 0.0),
        (" 30 ", 30.0),
        ("1.5", 1.5),
        ("86400", LONGEST_WAIT_S),
        ("9" * 12, LONGEST_WAIT_S),
        ("9" * 400, LONGEST_WAIT_S),
        ("Sat, 21 Nov 2026 10:01:00 GMT", 60.0),
        ("Sat, 21 Nov 2026 10:01:00 -0000", 60.0),
        ("Sat, 21 Nov 2026 09:00:00 GMT", 0.0),
        ("Sun, 21 Nov 2027 10:00:00 GMT", LONGEST_WAIT_S),
        ("Sat, 21 Nov 2026 25:61:00 GMT", None),
        ("Sat, 31 Feb 2026 10:00:00 GMT", None),
    ],
)
def test_retry_after(value: str | None, wait_s: float | None) -> None:
    """Seconds or an HTTP date; nothing negative, nothing above an hour, and nothing from invalid text."""
    assert retry_after_s(value, NOW) == wait_s


@given(
    st.text(max_size=40) | st.from_regex(r"\w{3}, \d{1,2} \w{3} \d{1,5} \d\d:\d\d:\d\d [-+]?\w{1,6}", fullmatch=True)
)
def test_retry_after_never_raises(value: str) -> None:
    """Any header gives None or a wait of at most an hour."""
    wait_s = retry_after_s(value, NOW)
    assert wait_s is None or 0 <= wait_s <= LONGEST_WAIT_S


@given(st.integers(0, 3600))
def test_date_and_seconds_agree(seconds: int) -> None:
    """A date that is so many seconds ahead gives that number of seconds."""
    header = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
    assert retry_after_s(header, NOW) == retry_after_s(str(seconds), NOW) == seconds


@pytest.mark.parametrize(
    ("date", "moment"),
    [
        (None, NOW),
        ("soon", NOW),
        ("Sat, 31 Feb 2026 10:00:00 GMT", NOW),
        ("Sat, 21 Nov 2026 09:00:00 GMT", NOW - timedelta(hours=1)),
        ("Sat, 21 Nov 2026 11:00:00 -0000", NOW + timedelta(hours=1)),
    ],
)
def test_response_time(date: str | None, moment: datetime) -> None:
    """The time of a response is its `Date`; without a valid one, now."""
    assert (api_response(200, date=date).written_at or NOW) == moment


@given(st.text())
def test_text_can_always_be_encoded(value: str) -> None:
    """A parsed text contains no control character and can be encoded."""
    found = text(value)
    assert found is None or not any(ord(char) < 32 for char in found.encode().decode())


def test_text_keeps_what_is_printed() -> None:
    """Letters of any script and hard spaces are kept; control characters and lone surrogates are removed."""
    assert text("Tracked\u00a048\u00a0") == "Tracked\u00a048\u00a0"
    assert text("a\r\nb\ud800c") == "a b c"
    assert [text(value) for value in ("", "\n", None, 5, {1})] == [None] * 5


@pytest.mark.parametrize(
    "value",
    ["2", "2.00", "-1.5", "1E+2", "0.000000", ".5", "+3", "35,65", "1.234,50", "1,234.50", "1 234,50", "1\u00a0234"],
)
def test_decimal_text_is_kept(value: str) -> None:
    """A decimal number is unchanged, without surrounding text."""
    assert decimal_text(value) == decimal_text(f" {value}\r\n") == value


@pytest.mark.parametrize(
    "value", ["", "two", "NaN", "1_000", "٣", "1e99999", "1,2,3", "£5", "5\n6", "9" * 99, True, None, 2.0, ["2"]]
)
def test_invalid_decimal_is_none(value: object) -> None:
    """Text without a decimal number is no price."""
    assert decimal_text(value) is None


def test_slug() -> None:
    """A code is lower case and short; a sentence is no code."""
    assert slug("Shipment_Not_Found") == "shipment_not_found"
    assert [slug(value) for value in ("no such thing", "", "x" * 65, None, {1})] == [None] * 5


def test_message_is_one_short_line() -> None:
    """A message contains each part once and has at most 300 characters."""
    assert message("a", None, "", "b", "a") == "a; b"
    assert len(message("x" * 299, "y")) == 300


def test_instant_is_aware() -> None:
    """Every time is aware, seven decimals of a second are parsed, and invalid text is None."""
    assert instant("2026-11-21T10:00:00.0000000+00:00") == instant("2026-11-21T10:00:00") == NOW
    assert instant("2026-11-21T10:00:00Z") == datetime(2026, 11, 21, 10, tzinfo=UTC)
    assert [instant(value) for value in ("", "soon", None, 5)] == [None] * 4
