"""Properties of reading merchant files: any content is read or has problems."""

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.merchant_files.merchant_file import Merchant
from tests.factories.merchant_files import SERVICE, V2_API, problems, read_text, rule

LITERALS = [
    "1",
    "-1",
    "1.5",
    "nan",
    "inf",
    "true",
    '"x"',
    '""',
    "[]",
    "[1]",
    "{}",
    "{ x = 1 }",
    "2026-11-21",
    "10:00:00",
]
LINES = (
    V2_API
    + SERVICE
    + "fallback = []\n"
    + rule('{ country = "GB" }')
    + "[retry]\nattempts = 1\nquiet_seconds = 1\nqueue_seconds = 2\n[limits]\nin_flight = 1\n"
).splitlines()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([i for i, line in enumerate(LINES) if "=" in line]), st.sampled_from(LITERALS))
def test_any_value_at_any_key(tmp_path: Path, line: int, literal: str) -> None:
    """For any value at a key, the file is valid, or each of its problems is at that key."""
    name = LINES[line].split(" = ")[0]
    text = "\n".join([*LINES[:line], f"{name} = {literal}", *LINES[line + 1 :]])
    for problem in problems(tmp_path, text):
        assert name in problem.key.split(".")
        assert problem.text


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=60))
def test_any_text_is_read(tmp_path: Path, text: str) -> None:
    """Reading never raises, whatever the text."""
    assert not isinstance(read_text(tmp_path, text.encode(errors="ignore").decode()), Merchant)
