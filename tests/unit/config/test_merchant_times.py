"""Merchant files: quiet time, queue time and deadline, separately and combined."""

from pathlib import Path

import pytest

from config.merchant_files.merchant_file import Merchant
from config.merchant_files.retry import Retry
from tests.factories.merchant_files import SERVICE, V2_API, file_of, problems, read_text


def text(retry: str, timeout_s: float = 20) -> str:
    """A file with these lines in [retry], and this call timeout."""
    return f"{V2_API}timeout_s = {timeout_s}\n{SERVICE}[retry]\n{retry}"


@pytest.mark.parametrize(
    ("retry", "queue_s"),
    [
        ("", 900),
        ("deadline_hours = 48\n", 900),
        ("deadline_hours = 0.5\n", 900),
        ("deadline_hours = 0.2\n", 360),
        ("deadline_hours = 0.03\n", 60),
        ("quiet_seconds = 3600\n", 3600),
        ("quiet_seconds = 5\n", 900),
        ("queue_seconds = 90\n", 90),
    ],
)
def test_queue_time(retry: str, queue_s: float) -> None:
    """The queue time is the stated one, or 900 s or half the deadline, and never less than the quiet time."""
    found = file_of(text(retry)).retry
    assert found.queue_s == pytest.approx(queue_s)
    assert found.queue_s >= found.quiet_s


def test_times_are_seconds() -> None:
    """Quiet time and deadline are parsed into seconds, with their defaults and as stated."""
    assert (Retry().quiet_s, Retry().deadline_s, Retry().queue_seconds) == (60, 48 * 3600, None)
    stated = file_of(text("quiet_seconds = 2.5\ndeadline_hours = 0.5\n")).retry
    assert (stated.quiet_s, stated.deadline_s) == (2.5, 1800)


@pytest.mark.parametrize(
    ("retry", "key", "advice"),
    [
        ("quiet_seconds = 0.9\n", "retry.quiet_seconds", "greater than or equal to 1"),
        ("quiet_seconds = 3601\n", "retry.quiet_seconds", "less than or equal to 3600"),
        ("quiet_seconds = nan\n", "retry.quiet_seconds", "less than or equal to 3600"),
        ("quiet_seconds = true\n", "retry.quiet_seconds", "number"),
        ('quiet_seconds = "60"\n', "retry.quiet_seconds", "number"),
        ("queue_seconds = 0\n", "retry.queue_seconds", "greater than or equal to 1"),
        ("queue_seconds = inf\n", "retry.queue_seconds", "less than or equal to 31536000"),
        ("queue_seconds = true\n", "retry.queue_seconds", "number"),
        ("queue_seconds = 59\n", "retry.queue_seconds", "59 s is below quiet_seconds (60 s); raise it or remove it"),
        ("quiet_seconds = 9\nqueue_seconds = 8.5\n", "retry.queue_seconds", "8.5 s is below quiet_seconds (9 s)"),
    ],
)
def test_bounds(tmp_path: Path, retry: str, key: str, advice: str) -> None:
    """A time out of bounds, or a queue time below the quiet time, is one problem at its key."""
    (problem,) = problems(tmp_path, text(retry))
    assert problem.key == key
    assert advice in problem.text


@pytest.mark.parametrize("retry", ["quiet_seconds = 1\nqueue_seconds = 1\n", "quiet_seconds = 3600\n"])
def test_bounds_are_valid(tmp_path: Path, retry: str) -> None:
    """The bounds themselves are valid, and so is a queue time equal to the quiet time."""
    assert problems(tmp_path, text(retry)) == []


@pytest.mark.parametrize(
    ("retry", "good"),
    [
        ("quiet_seconds = 15\ndeadline_hours = 0.01\n", True),
        ("quiet_seconds = 16\ndeadline_hours = 0.01\n", False),
        ("quiet_seconds = 3600\ndeadline_hours = 1\n", False),
        ("quiet_seconds = 1\nqueue_seconds = 16\ndeadline_hours = 0.01\n", True),
        ("quiet_seconds = 1\nqueue_seconds = 17\ndeadline_hours = 0.01\n", False),
        ("deadline_hours = 0.03\n", True),
        ("deadline_hours = 0.02\n", False),
    ],
)
def test_times_within_the_deadline(tmp_path: Path, retry: str, *, good: bool) -> None:
    """With a call of 20 s the quiet time ends before the deadline, and the queue time not after it."""
    assert isinstance(read_text(tmp_path, text(retry)), Merchant) is good


def test_the_problem_is_at_the_stated_key(tmp_path: Path) -> None:
    """Times that do not fit are reported in seconds, with advice, at the quiet time or the deadline, if stated."""
    call = "a call of up to 20 s (api.timeout_s) and a quiet time of"
    so = "so no call would be made; raise deadline_hours or lower quiet_seconds"
    found = problems(tmp_path, text("quiet_seconds = 16\ndeadline_hours = 0.01\n"))
    why = f"{call} 16 s do not end before the deadline (36 s), {so}"
    assert [str(problem) for problem in found] == [f"acme.toml: retry.quiet_seconds: {why}"]
    found = problems(tmp_path, text("deadline_hours = 0.01\n"))
    why = f"{call} 60 s do not end before the deadline (36 s), {so}"
    assert [str(problem) for problem in found] == [f"acme.toml: retry.deadline_hours: {why}"]


def test_a_queue_time_that_does_not_fit(tmp_path: Path) -> None:
    """A queue time that does not fit is reported with the longest one that would."""
    (problem,) = problems(tmp_path, text("queue_seconds = 3600\ndeadline_hours = 1\n"))
    assert problem.key == "retry.queue_seconds"
    assert "3600 s in the API's queue do not end before the deadline (3600 s)" in problem.text
    assert "lower it to 3580 s at most or raise deadline_hours" in problem.text


def test_all_times_that_do_not_fit_are_reported(tmp_path: Path) -> None:
    """A quiet time and a queue time that do not fit are two problems, each at its key; no advice is below 0."""
    retry = "quiet_seconds = 50\nqueue_seconds = 50\ndeadline_hours = 0.01\n"
    found = problems(tmp_path, text(retry, timeout_s=40))
    assert [problem.key for problem in found] == ["retry.quiet_seconds", "retry.queue_seconds"]
    assert not any("-" in problem.text for problem in found)


def test_a_default_queue_time_fits() -> None:
    """If calls take more than half of the deadline, the default queue time is the rest of it."""
    retry = "quiet_seconds = 5\ndeadline_hours = 0.1\n"
    assert file_of(text(retry, timeout_s=180)).retry.queue_s == pytest.approx(180)
    assert file_of(text(retry, timeout_s=300)).retry.queue_s == pytest.approx(60)


def test_times_are_not_checked_with_an_invalid_timeout(tmp_path: Path) -> None:
    """A file with an invalid timeout_s has that problem only."""
    found = problems(tmp_path, text("deadline_hours = 0.01\n", timeout_s=0))
    assert [problem.key for problem in found] == ["api.timeout_s"]
