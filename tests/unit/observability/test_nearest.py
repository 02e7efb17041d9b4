"""Known values that are most like an unknown one."""

from worker.observability.nearest import nearest


def test_of_many() -> None:
    """The most similar ones are found among many, without comparing all of them in every way."""
    known = [f"sp_{number:05}" for number in range(20_000)]
    assert sorted(nearest("sp_1O007", known)) == [f"sp_1{digit}007" for digit in range(10)]
    assert nearest("x", []) == []
