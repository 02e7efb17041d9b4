"""Valid merchant files: the values of each key, and the defaults."""

from pathlib import Path

import pytest

from config.merchant_files.api import find_key
from config.merchant_files.merchant_file import Merchant
from config.merchant_files.reading import read_all
from config.strategies.strategy import V1, V2, Flavour
from tests.factories.merchant_files import SERVICE, V1_API, V2_API, file_of, problems, read_text, rule

STRATEGIES = {
    '{ virtual_service = "REF" }': {V2},
    '{ carrier_service = "REF" }': {V2, V1},
    '{ service_group = "REF" }': {V2, V1},
    "{ default_rules = true }": {V2, V1},
    "{ cheapest_quote = true }": {V2, V1},
    '{ filters = { direction = "outbound", pickup = false, drop_off = true } }': {V2, V1},
    '{ filters = { direction = "outbound", tags = ["Oil"] } }': {V2},
    '{ quote = "cheapest" }': {V2, V1},
    '{ quote = "earliest" }': {V2, V1},
}
APIS: dict[Flavour, str] = {V2: V2_API, V1: V1_API}


def test_defaults_match_the_contract() -> None:
    """Omitted keys have the defaults of the contract."""
    file = file_of(V2_API + SERVICE)
    assert (file.api.format, file.api.bulk, file.api.timeout_s) == ("json", False, 20)
    assert (file.retry.attempts, file.retry.deadline_hours) == (8, 48)
    assert (file.retry.quiet_seconds, file.retry.queue_s) == (60, 900)
    assert (file.limits.in_flight, file.limits.per_second) == (0, 0)
    assert file.allocation.fallback == ()
    assert file.rules == ()


def test_everything_can_be_stated() -> None:
    """A file with every key is read as written; whole numbers are accepted wherever a number is expected."""
    file = file_of(
        V2_API
        + 'bulk = true\nformat = "json"\ntimeout_s = 5\n'
        + SERVICE
        + 'fallback = [{ service_group = "g" }]\n'
        + rule("{ shipments = { at_least = 2 } }", more='fallback = [{ quote = "cheapest" }]\n')
        + "[retry]\nattempts = 3\ndeadline_hours = 12\nquiet_seconds = 90\nqueue_seconds = 600\n"
        + "[limits]\nin_flight = 50\nper_second = 2.5\n"
    )
    assert (file.api.bulk, file.api.timeout_s) == (True, 5.0)
    assert [(rule.name, len(rule.fallback)) for rule in file.rules] == [("heavy", 1)]
    assert (file.retry.attempts, file.retry.deadline_hours) == (3, 12)
    assert (file.retry.quiet_seconds, file.retry.queue_seconds) == (90, 600)
    assert (file.limits.in_flight, file.limits.per_second) == (50, 2.5)


@pytest.mark.parametrize("flavour", [V2, V1])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_strategies_of_a_flavour(tmp_path: Path, strategy: str, flavour: Flavour) -> None:
    """A strategy is valid exactly where its flavour has it, as the first step, as a fallback and in a rule."""
    first = f"[allocation]\nstrategy = {strategy}\n"
    last = f"{SERVICE}fallback = [{{ default_rules = true }}, {strategy}]\n"
    in_rule = SERVICE + rule('{ country = "GB" }', strategy)
    keys = [[p.key for p in problems(tmp_path, APIS[flavour] + text)] for text in (first, last, in_rule)]
    places = [["allocation.strategy"], ["allocation.fallback.1"], ["rules.0.strategy"]]
    assert keys == ([[], [], []] if flavour in STRATEGIES[strategy] else places)


def test_xml_is_for_v1_only(tmp_path: Path) -> None:
    """The format xml is valid for consignments-v1 and a problem for shipments-v2."""
    assert file_of(V1_API + 'format = "xml"\n' + SERVICE).api.format == "xml"
    assert [p.key for p in problems(tmp_path, V2_API + 'format = "xml"\n' + SERVICE)] == ["api.format"]


def test_bulk_is_for_v2_only(tmp_path: Path) -> None:
    """A consignments-v1 file must not set bulk."""
    assert file_of(V1_API + "bulk = false\n" + SERVICE).api.bulk is False
    assert [p.key for p in problems(tmp_path, V1_API + "bulk = true\n" + SERVICE)] == ["api.bulk"]


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("https://api.sorted.com/pro", True),
        ("http://localhost:8080/pro", True),
        ("http://127.0.0.2:8080", True),
        ("http://[::1]:8080", True),
        ("http://carrier.internal", True),
        ("http://api.sorted.com/pro", False),
        ("http://127.0.0.1.example.com", False),
        ("http://localhost.example.com", False),
    ],
)
def test_the_key_requires_tls(tmp_path: Path, url: str, good: bool) -> None:  # noqa: FBT001  # a row of the table
    """Plain http is valid for loopback and for the hosts in the settings, and for no other."""
    text = V2_API.replace("https://api.test/pro", url) + SERVICE
    found = read_text(tmp_path, text, http_hosts=frozenset({"carrier.internal"}))
    assert isinstance(found, Merchant) is good


def test_a_merchant_is_named_after_its_file(tmp_path: Path) -> None:
    """The name is the file's without its suffix, and the digest changes only with the content."""
    first = read_text(tmp_path, V2_API + SERVICE)
    again = read_text(tmp_path, V2_API + SERVICE, name="other.toml")
    changed = read_text(tmp_path, V2_API + SERVICE + "\n")
    assert isinstance(first, Merchant)
    assert isinstance(again, Merchant)
    assert isinstance(changed, Merchant)
    assert (first.name, again.name) == ("acme", "other")
    assert first.digest == again.digest != changed.digest


def test_an_invalid_file_affects_only_its_merchant(tmp_path: Path) -> None:
    """Valid files are read beside invalid ones, and other files are ignored."""
    (tmp_path / "good.toml").write_text(V2_API + SERVICE)
    (tmp_path / "broken.toml").write_text("[api")
    (tmp_path / "empty.toml").write_text("")
    (tmp_path / "README.md").write_text("not ours")
    good, wrong = read_all(tmp_path)
    assert list(good) == ["good"]
    assert {problem.file for problem in wrong} == {"broken.toml", "empty.toml"}


def key_of(tmp_path: Path, source: str) -> str | None:
    """The key read from a file with this source."""
    found = read_text(tmp_path, V2_API.replace('{ env = "ACME_KEY" }', source) + SERVICE)
    assert isinstance(found, Merchant)
    return find_key(found.file.api.api_key)


def test_key_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key is read from its variable when it is needed; a missing or empty one is no key, but the file is valid."""
    monkeypatch.delenv("ACME_KEY", raising=False)
    assert key_of(tmp_path, '{ env = "ACME_KEY" }') is None
    for text, key in [
        ("open-1", "open-1"),
        (" open-2\n", "open-2"),
        ("", None),
        ("  ", None),
        ("ö", None),
        ("a\nb", None),
    ]:
        monkeypatch.setenv("ACME_KEY", text)
        assert key_of(tmp_path, '{ env = "ACME_KEY" }') == key


def test_key_from_a_file(tmp_path: Path) -> None:
    """A key is read from its file, without the line end; an unreadable one is no key, but the file is valid."""
    place = tmp_path / "key"
    source = f'{{ file = "{place}" }}'
    assert key_of(tmp_path, source) is None
    for content, key in [(b"open-1\n", "open-1"), (b"", None), (b"\xff", None), (b"a\x00b", None)]:
        place.write_bytes(content)
        assert key_of(tmp_path, source) == key
    assert key_of(tmp_path, f'{{ file = "{tmp_path}" }}') is None
    assert key_of(tmp_path, '{ file = "a\\u0000b" }') is None
