"""How intake classifies entries: each is accepted, rejected or ignored as a whole."""

import json
from base64 import b64decode
from pathlib import Path

import pytest

from tests.factories.classified_events import classify_all
from tests.integration.processes.test_merchant_files import FILE
from worker.processes.merchant_files import MerchantFiles


def event(**changes: object) -> bytes:
    """An event with two shipments."""
    data = {"merchant": "acme", "order": "1", "shipments": [{"reference": "a"}, {"reference": "b"}]}
    envelope = {"specversion": "1.0", "id": "evt", "source": "urn:x", "type": "order.created", "data": data}
    return json.dumps({**envelope, **changes}).encode()


@pytest.fixture
def merchants(tmp_path: Path) -> MerchantFiles:
    """One merchant."""
    (tmp_path / "acme.toml").write_text(FILE.format(timeout_s=20, key='{ env = "KEY" }'))
    return MerchantFiles(tmp_path, frozenset())


def test_every_entry_is_classified_once(merchants: MerchantFiles) -> None:
    """Each entry of a mixed read is classified once; rejected ones carry their stream id and reason."""
    entries = [
        ("1-0", {b"event": event()}),
        ("2-0", {b"event": event(type="order.cancelled")}),
        ("3-0", {b"event": b"{"}),
        ("4-0", {}),
        ("5-0", {b"evt": event()}),
        ("6-0", {b"event": event(data={"merchant": "unknown", "order": "1", "shipments": [{"reference": "a"}]})}),
        ("7-0", {b"event": b""}),
        ("8-0", {b"event": b"\xff\xfe"}),
    ]
    found = classify_all(entries, merchants)
    assert [shipment.reference for shipment in found.accepted] == ["a", "b"]
    assert found.ignored == 1
    assert [(rejected.stream_id, rejected.reason) for rejected in found.rejected] == [
        ("3-0", "bad_json"),
        ("4-0", "bad_envelope"),
        ("5-0", "bad_envelope"),
        ("6-0", "unknown_merchant"),
        ("7-0", "bad_json"),
        ("8-0", "bad_json"),
    ]
    assert all(rejected.error for rejected in found.rejected)


def test_other_fields_are_ignored(merchants: MerchantFiles) -> None:
    """An entry may carry fields in addition to its event."""
    found = classify_all([("1-0", {b"trace": b"x", b"event": event(), b"event2": b"{"})], merchants)
    assert len(found.accepted) == 2
    assert found.rejected == []


def test_an_entry_without_an_event_keeps_its_fields(merchants: MerchantFiles) -> None:
    """A rejected row contains the whole event, or all fields of an entry without one."""
    odd = event(type=5)
    found = classify_all([("1-0", {b"evt": b"x"}), ("2-0", {b"event": odd})], merchants)
    assert [rejected.event for rejected in found.rejected] == ['{"evt":"x"}', odd.decode()]


@pytest.mark.parametrize("event", [b'{"id": "\xe4"}', b"\xff\xfe{\x00}\x00", b"\xed\xa0\x80", b"{\xc3"])
def test_invalid_utf8_is_kept_as_text_and_bytes(merchants: MerchantFiles, event: bytes) -> None:
    """Clients that decode text can read the rejected stream; the bytes are there as well."""
    (rejected,) = classify_all([("1-0", {b"event": event})], merchants).rejected
    assert "\ufffd" in rejected.event
    assert b64decode(rejected.event_base64) == event


def test_a_large_event_is_cut_between_characters(merchants: MerchantFiles) -> None:
    """The kept beginning of a text event is text."""
    large = ("ä" * 600_000).encode()
    (rejected,) = classify_all([("1-0", {b"event": b" " + large})], merchants).rejected
    assert rejected.event == " " + "ä" * (32 * 1024 - 1)
    assert rejected.event_base64 == ""


def test_too_large_an_event(merchants: MerchantFiles) -> None:
    """Of an event over a mebibyte the first 64 KiB are kept; one of exactly a mebibyte is accepted."""
    room = 1024 * 1024 - len(event(padding=""))
    fits, too_large = event(padding="x" * room), event(padding="x" * (room + 1))
    found = classify_all([("1-0", {b"event": fits}), ("2-0", {b"event": too_large})], merchants)
    assert len(found.accepted) == 2
    (rejected,) = found.rejected
    assert (rejected.reason, rejected.event) == ("event_too_large", too_large[: 64 * 1024].decode())


def test_a_plan_is_fixed_with_its_facts(merchants: MerchantFiles) -> None:
    """The intake record has rule, plan and facts, and no address."""
    shipment = {"reference": "a", "destination": {"country": "GB", "postcode": "M1 1AE", "name": "A. Person"}}
    data = {"merchant": "acme", "order": "1", "shipments": [shipment]}
    (accepted,) = classify_all([("1-0", {b"event": event(data=data)})], merchants).accepted
    assert json.loads(accepted.intake)["rule"] == "default"
    assert accepted.strategy == "default_rules"
    assert "Person" not in accepted.intake


@pytest.mark.parametrize(
    ("time", "earliest_at"),
    [("2026-11-21T10:00:00Z", 1795255200.0), ("2040-01-01T00:00:00Z", 1800000000.0), (None, 1800000000.0)],
)
def test_the_earliest_time_of_an_order(merchants: MerchantFiles, time: str | None, earliest_at: float) -> None:
    """The time of its entry or of its event, whichever is earlier."""
    changes = {} if time is None else {"time": time}
    for accepted in classify_all([("1800000000000-7", {b"event": event(**changes)})], merchants).accepted:
        assert accepted.earliest_at == earliest_at
