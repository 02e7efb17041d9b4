"""What outcomes are called, and what they tell about the API."""

from typing import get_args

import pytest

from tasks.outcome import WORDS, Finding, Health, Unknown, health
from tests.rules.made import FINDINGS, NOT_SENT, THROTTLED, UNKNOWN


def test_each_outcome_has_its_word() -> None:
    """Every outcome that a call or a reading can come to has one word, of its own."""
    assert set(WORDS) == set(get_args(Finding)) == {type(finding) for finding in FINDINGS}
    assert len(set(WORDS.values())) == len(WORDS)


@pytest.mark.parametrize("finding", [f for f in FINDINGS if f not in (THROTTLED, NOT_SENT, UNKNOWN)])
def test_an_answer_is_a_good_sign(finding: Finding) -> None:
    """Whatever the API decided, also against the shipment, it is there and answers."""
    assert health(finding) == "good"


@pytest.mark.parametrize(
    ("finding", "expected"),
    [
        (THROTTLED, "throttled"),
        (NOT_SENT, "bad"),
        (Unknown(reason="timeout"), "bad"),
        (Unknown(reason="server_error"), "bad"),
        (Unknown(reason="lost_answer"), "bad"),
        (Unknown(reason="invalid_state"), "good"),
        (Unknown(reason="refused_together"), "good"),
    ],
)
def test_no_answer_is_a_bad_sign(finding: Finding, expected: Health) -> None:
    """No answer, or a server's error, speaks against the API; an answer that leaves a doubt does not."""
    assert health(finding) == expected
