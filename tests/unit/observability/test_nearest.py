"""Known values that are most like an unknown one."""

from worker.observability.nearest import nearest


def test_of_many() -> None:
    """The most similar one is found among many, without comparing all of them in every way."""
    known = [f"sp_{number:05}" for number in range(20_000)]
    found = nearest("sp_10007x", known)
    assert (found[0], len(found)) == ("sp_10007", 10)
    assert nearest("x", []) == []
