"""The progress of a shipment: its serialized form, and compatibility with other versions."""

import json
from dataclasses import fields
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.rules.progress import OpenKind, Progress, ProgressChanges, parse_progress
from tests.factories.records import EVERY, loaded_shipment, record
from tests.factories.shipments import NOW, open_call

TIMES = st.none() | st.floats(0, 2e9)
COUNTS = st.integers(0, 1000)
WORDS = st.none() | st.text(max_size=10)
PROGRESS = st.builds(
    Progress,
    step=st.integers(0, len(EVERY) - 1),
    open_kind=st.none() | st.sampled_from(get_args(OpenKind)),
    open_at=st.floats(0, 2e9),
    quiet_from=st.floats(0, 2e9),
    also_open=st.booleans(),
    last_read=WORDS,
    read_at=st.floats(0, 2e9),
    read_before=WORDS,
    allocating_since=TIMES,
    unread=st.booleans(),
    refusal=WORDS,
    refusal_message=st.text(max_size=10),
    open_calls=COUNTS,
    group_size=st.none() | COUNTS,
    refused_partly=st.booleans(),
    expired_quotes=COUNTS,
    denied_at=TIMES,
    denials=COUNTS,
    repeated_calls=COUNTS,
    repeated_calls_reported=COUNTS,
    waits=COUNTS,
    attempts=COUNTS,
    attempted=st.none() | st.integers(0, 5),
    entries=COUNTS,
    last_refusal=WORDS,
    unknown_fields=st.dictionaries(st.sampled_from(["lately", "moods"]), st.integers() | st.lists(st.text(max_size=3))),
)


@given(PROGRESS)
def test_progress_round_trip(progress: Progress) -> None:
    """The next task reads any progress that a task has written."""
    assert parse_progress(progress.as_json()) == progress
    assert loaded_shipment(progress).progress == progress


def test_progress_of_most_shipments_is_short() -> None:
    """Initial values are omitted, and no value means the initial one."""
    assert Progress().as_json() == "{}"
    assert json.loads(Progress(attempts=1).as_json()) == {"attempts": 1}
    assert parse_progress("") == parse_progress(b"") == parse_progress(None) == Progress()


def test_unknown_fields_are_kept() -> None:
    """Fields of a newer version are unchanged after every change and every report."""
    text = '{"attempts":2,"weather":{"rain":[1,null]},"is_readable":7}'
    of = loaded_shipment(text)
    assert of.progress.attempts == 2
    later = of.called().opened("unknown", NOW).with_progress(step=1)
    kept = json.loads(later.progress.as_json())
    assert (kept["weather"], kept["is_readable"]) == ({"rain": [1, None]}, 7)
    assert (kept["attempts"], kept["open_kind"]) == (3, "unknown")


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        "[]",
        "3",
        '{"step": "first"}',
        '{"step": 99}',
        '{"step": -1}',
        '{"waits": 1.5}',
        '{"attempts": null}',
        '{"open_kind": "promised"}',
        '{"open_at": {"from": 1}}',
    ],
)
def test_unreadable_progress(text: str) -> None:
    """Damaged progress, or progress whose meaning a newer version changed, is marked as unreadable."""
    with pytest.raises((ValueError, TypeError, KeyError, AttributeError)):
        loaded_shipment(text)


@pytest.mark.parametrize("facts", [b"", b"{}", b"[]", b"no", b'{"steps": [{"telepathy": true}], "order": "1"}'])
def test_unreadable_facts(facts: bytes) -> None:
    """The same holds for the intake record, for example with a strategy of a newer version."""
    with pytest.raises((ValueError, TypeError, KeyError, AttributeError)):
        loaded_shipment(**record(intake=facts) | {"progress": None})


def test_an_unreadable_record_is_unchanged() -> None:
    """No progress is written for a shipment with an unreadable record."""
    assert Progress(is_readable=False, attempts=3).as_json() == ""


@pytest.mark.parametrize(
    ("progress", "must"),
    [
        ({}, False),
        (open_call(), True),
        (open_call("queued"), True),
        ({"unread": True}, True),
        ({"refusal": ""}, True),
        ({"open_calls": 3, "open_at": NOW, "last_read": "allocating"}, False),
    ],
)
def test_required_read_backs(progress: dict[str, Any], must: bool) -> None:  # noqa: FBT001  # a row of the table
    """An open call, a refusal that does not count yet, and a doubt require a read-back first."""
    assert Progress(**progress).must_read is must


def test_typed_changes_match_the_fields() -> None:
    """The names that a type checker accepts for a change are the fields, with the same types."""
    field_types = {
        each.name: each.type for each in fields(Progress) if each.name not in ("unknown_fields", "is_readable")
    }
    assert get_type_hints(ProgressChanges).keys() >= field_types.keys()
    hints = get_type_hints(Progress)
    assert {name: hints[name] for name in field_types} == {
        name: get_type_hints(ProgressChanges)[name] for name in field_types
    }
