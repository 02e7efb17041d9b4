"""Waits: bounds, growth, and `Retry-After`."""

from hypothesis import given
from hypothesis import strategies as st

from tasks.rules.backoff import (
    PARK_FIRST_S,
    PARK_MOST_S,
    RETRY_AFTER_MOST_S,
    SHORT_MOST_S,
    SHORT_TRIES,
    RetryBudget,
    park,
    short,
)

RANDOM = st.floats(0, 1, exclude_max=True)
COUNTS = st.integers(0, 100_000)


@given(COUNTS, RANDOM)
def test_a_visit_is_short(tries: int, random: float) -> None:
    """Within a visit every pause is below a second, and after a few tries the shipment is parked."""
    pause_s = short(tries, random)
    if tries >= SHORT_TRIES:
        assert pause_s is None
    else:
        assert pause_s is not None
        assert 0 <= pause_s <= SHORT_MOST_S


@given(COUNTS, RANDOM)
def test_waits_have_a_lower_bound(waits: int, random: float) -> None:
    """For any random value, a wait is at least half of its bound, and never exceeds it."""
    assert PARK_FIRST_S / 2 <= park(waits, random) <= PARK_MOST_S


@given(COUNTS, RANDOM)
def test_waits_grow(waits: int, random: float) -> None:
    """With the same random value, the next wait is never shorter."""
    assert park(waits, random) <= park(waits + 1, random)


def test_waits_double_up_to_their_bounds() -> None:
    """The pauses of a visit are short, and a shipment that waited often waits for minutes."""
    assert [short(tries, 0.5) for tries in range(5)] == [0.05, 0.1, 0.2, 0.4, None]
    assert [park(waits, 0.0) for waits in (0, 1, 2, 100)] == [1, 2, 4, 150]
    assert park(100, 0.5) == 225


@given(COUNTS, RANDOM, st.floats(0, 1e9))
def test_retry_after_is_honoured(waits: int, random: float, asked_s: float) -> None:
    """No wait is shorter than `Retry-After`, up to an hour, nor than the backoff's own time."""
    wait_s = park(waits, random, asked_s)
    assert wait_s >= min(asked_s, RETRY_AFTER_MOST_S)
    assert wait_s >= park(waits, random)
    assert wait_s <= RETRY_AFTER_MOST_S == 3600


@given(st.lists(st.sampled_from(["good", "bad"]), max_size=300))
def test_retries_are_a_tenth_of_good_calls(calls: list[str]) -> None:
    """After the first few, at most a tenth of the good calls is repeated at once."""
    budget, good, repeated = RetryBudget(), 0, 0
    for call in calls:
        if call == "good":
            budget.earn()
            good += 1
        else:
            repeated += budget.spend()
    assert repeated <= RetryBudget.MOST + good * RetryBudget.EARNED_BY_A_GOOD_CALL + 1e-6


def test_an_empty_budget_fills_again() -> None:
    """An empty budget allows another call after ten good ones, and is never larger than at the start."""
    budget = RetryBudget()
    assert [budget.spend() for _ in range(21)] == [True] * 20 + [False]
    for _ in range(11):
        budget.earn()
    assert (budget.spend(), budget.spend()) == (True, False)
    for _ in range(1000):
        budget.earn()
    assert sum(budget.spend() for _ in range(100)) == 20
