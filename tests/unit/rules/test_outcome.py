"""Names of outcomes, and the signals that they are about the API."""

from typing import get_args

import pytest

from tasks.rules.outcome import WORDS, BulkRefused, Finding, NotSent, Refused, Signal, Stopped, Unknown, signal_of
from tests.factories.shipments import FINDINGS, FORBIDDEN, FOREIGN, NO_ACCESS, NOT_SENT, THROTTLED, UNKNOWN


def test_each_outcome_has_a_name() -> None:
    """Every outcome of a call or a read-back has one name; a bulk refusal is a refusal, too."""
    assert set(WORDS) == set(get_args(Finding)) == {type(finding) for finding in FINDINGS}
    assert WORDS[BulkRefused] == WORDS[Refused]
    assert len(set(WORDS.values())) == len(WORDS) - 1


NO_GOOD_SIGNS = (THROTTLED, NOT_SENT, FOREIGN, UNKNOWN, NO_ACCESS, FORBIDDEN)


@pytest.mark.parametrize("finding", [finding for finding in FINDINGS if finding not in NO_GOOD_SIGNS])
def test_good_signals(finding: Finding) -> None:
    """Any decision of the API, also a refusal of the shipment, is a good signal."""
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
def test_bad_and_missing_signals(finding: Finding, expected: Signal) -> None:
    """A missing response or a server error is a bad signal; an uncertain response is none."""
    assert signal_of(finding) == expected
