"""What outcomes are called, and what they tell about the API."""

from typing import get_args

import pytest

from tasks.rules.outcome import WORDS, BulkRefused, Finding, NotSent, Refused, Signal, Stopped, Unknown, signal_of
from tests.factories.shipments import FINDINGS, FORBIDDEN, FOREIGN, NO_ACCESS, NOT_SENT, THROTTLED, UNKNOWN


def test_each_outcome_has_its_word() -> None:
    """Every outcome that a call or a reading can come to has one word; a refusal in company is a refusal, too."""
    assert set(WORDS) == set(get_args(Finding)) == {type(finding) for finding in FINDINGS}
    assert WORDS[BulkRefused] == WORDS[Refused]
    assert len(set(WORDS.values())) == len(WORDS) - 1


NO_GOOD_SIGNS = (THROTTLED, NOT_SENT, FOREIGN, UNKNOWN, NO_ACCESS, FORBIDDEN)


@pytest.mark.parametrize("finding", [finding for finding in FINDINGS if finding not in NO_GOOD_SIGNS])
def test_an_answer_is_a_good_sign(finding: Finding) -> None:
    """Whatever the API decided, also against the shipment, it is there and answers."""
    assert signal_of(finding) == "good"


@pytest.mark.parametrize(
    ("finding", "expected"),
    [
        (THROTTLED, "throttled"),
        (NOT_SENT, "bad"),
        (NotSent(reason="permit_expired"), "bad"),
        (FOREIGN, "foreign"),
        (NO_ACCESS, "denied"),
        (FORBIDDEN, "denied"),
        (Stopped(reason="forbidden_here"), "denied"),
        (Unknown(reason="timeout"), "bad"),
        (Unknown(reason="server_error"), "bad"),
        (Unknown(reason="lost_response"), "bad"),
        (Unknown(reason="invalid_state"), "good"),
    ],
)
def test_what_is_no_good_sign(finding: Finding, expected: Signal) -> None:
    """No answer, or a server's error, speaks against the API; an answer that leaves a doubt does not."""
    assert signal_of(finding) == expected
