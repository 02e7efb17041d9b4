"""Valid and invalid settings, in one table, loaded by the function that every process uses."""

import os
from pathlib import Path

import pytest

from config.settings import SettingsError, variable
from worker.commands.check_remarks import of_settings
from worker.processes.environment import load

HOST = "redis.test"

GOOD = [
    ("redis_url", "redis://h"),
    ("redis_url", "redis://h:6380/15"),
    ("redis_url", "redis://[::1]:6379/0"),
    ("redis_url", "redis://me:sesame@h/0"),
    ("redis_url", "redis://:p%23%2F%3A%3F%40%25%20w@h/0"),
    ("redis_url", "redis://h/0\r\n"),
    ("redis_url", "  redis://h/0\t"),
    ("redis_url", "rediss://h/0?ssl_cert_reqs=none"),
    ("broker_url", "redis://h/2"),
    ("broker_url", "rediss://:sesame@h/2?ssl_check_hostname=false"),
    ("broker_url", " "),
    ("merchants_dir", "/nowhere\r"),
    ("merchants_dir", "merchants of \u00fcber"),
    ("orders_stream", "in\r"),
    ("orders_stream", " in \t"),
    ("orders_stream", ""),
    ("sweep_seconds", " 0.5\r"),
    ("concurrency", "3 "),
    ("trim_orders", "on\r"),
    ("flower_address", "::1"),
    ("flower_address", "localhost\r"),
    ("flower_basic_auth", "me:sesame,you:simsim\r"),
    ("allow_http_hosts", "a.internal, b:8080 ,,"),
    ("SENTRY_DSN", "https://sesame@sentry.test/1\r"),
    ("SENTRY_DSN", " "),
]

WRONG = [
    ("redis_url", "sesame"),
    ("redis_url", "sesame://h"),
    ("redis_url", "redis:sesame"),
    ("redis_url", "redis//:sesame\u2100@h"),
    ("redis_url", "redis://:ses\u2100ame@h"),
    ("redis_url", "sentinel://:sesame@h"),
    ("redis_url", "amqp://:sesame@h"),
    ("redis_url", "redis://:sesame#1@h/0"),
    ("redis_url", "redis://:sesame/1@h/0"),
    ("redis_url", "redis://:sesame/x@h/0"),
    ("redis_url", "redis://:sesame?x@h/0"),
    ("redis_url", "redis://:sesame?x=1@h/0"),
    ("redis_url", "redis://:ses ame@h/0"),
    ("redis_url", "redis://:sesame[@h/0"),
    ("redis_url", "redis://h:sesame/0"),
    ("redis_url", "redis://h:65536/0"),
    ("redis_url", "redis://h:0/0"),
    ("redis_url", "redis://h/sesame"),
    ("redis_url", "redis://h/1/2"),
    ("redis_url", "redis://h/-1"),
    ("redis_url", "redis://h/\u00b2"),
    ("redis_url", "redis://h/0?db=1"),
    ("redis_url", "redis://h/0?sesame=1"),
    ("redis_url", "redis://h/0?socket_timeout=sesame"),
    ("redis_url", "redis://h/0#sesame"),
    ("redis_url", "redis://ses\rame@h/0"),
    ("redis_url", "redis://ses\x00ame@h/0"),
    ("redis_url", "redis://h/0?ssl_cert_reqs=none"),
    ("redis_url", "rediss://h/0?ssl_sesame=none"),
    ("redis_url", "unix://run/redis.sock"),
    ("redis_url", "unix:///"),
    ("redis_url", "unix:///run/redis.sock?sesame=1"),
    ("redis_url", "unix:///run/redis.sock?db=sesame"),
    ("redis_url", "\udcff"),
    ("broker_url", "https://:sesame@h"),
    ("broker_url", "amqp://:sesame@h//"),
    ("broker_url", "unix:///tmp/sesame"),
    ("broker_url", "redis+socket:///tmp/sesame"),
    ("broker_url", "sentinel://:sesame@h:26379/1"),
    ("broker_url", "redis://:sesame#1@h/0"),
    ("broker_url", "redis://h/0?db=1"),
    ("broker_url", "redis://h/sesame"),
    ("merchants_dir", "/ses\x00ame"),
    ("merchants_dir", "/ses\udcffame"),
    ("orders_stream", "ses\rame"),
    ("allocated_stream", "sesame\x1b[0m"),
    ("failed_stream", "sesame\u2028x"),
    ("rejected_stream", "sesame" * 50),
    ("sweep_seconds", "0"),
    ("sweep_seconds", "inf"),
    ("lease_seconds", "sesame"),
    ("lease_seconds", "1"),
    ("concurrency", "1.5"),
    ("concurrency", "1" * 5000),
    ("batch", "101"),
    ("keep_days", "-1"),
    ("trim_orders", "sesame"),
    ("flower_address", "0.0.0.0"),  # noqa: S104  # without a login
    ("flower_address", "http://sesame"),
    ("flower_address", "127.0.0.1:5555"),
    ("flower_address", "ses ame"),
    ("flower_port", "0"),
    ("flower_port", "65536"),
    ("flower_basic_auth", "sesame"),
    ("flower_basic_auth", "me:ses,ame"),
    ("flower_basic_auth", ":sesame"),
    ("flower_basic_auth", "me:"),
    ("flower_basic_auth", "me:sesamé"),
    ("allow_http_hosts", "https://sesame"),
    ("allow_http_hosts", "a, sesame/path"),
    ("allow_http_hosts", "a;sesame b"),
    ("SENTRY_DSN", "sesame"),
    ("SENTRY_DSN", "https://sentry.test/sesame"),
    ("SENTRY_DSN", "ftp://sesame@sentry.test/1"),
    ("SENTRY_DSN", "https://sesame@sentry.test:port/1"),
]


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment; a real variable cannot contain NUL."""
    stated = {
        name: value for name, value in os.environ.items() if not name.startswith("ALLOCATION_") and name != "SENTRY_DSN"
    }
    stated["ALLOCATION_REDIS_URL"] = f"redis://{HOST}/0"
    monkeypatch.setattr(os, "environ", stated)
    monkeypatch.chdir(tmp_path)
    return stated


@pytest.mark.parametrize(("setting", "text"), GOOD)
def test_valid_values(environment: dict[str, str], setting: str, text: str) -> None:
    """A valid value is accepted, without surrounding white space, and `check` reports no problem."""
    environment[variable(setting)] = text
    found = load()
    assert [remark for remark in of_settings() if remark.severity == "problem"] == []
    for name in ("orders_stream", "flower_address"):
        assert getattr(found, name) == getattr(found, name).strip() != ""


@pytest.mark.parametrize(("setting", "text"), WRONG)
def test_invalid_values(environment: dict[str, str], setting: str, text: str) -> None:
    """An invalid value is one line: variable, place, advice, no part of the value. `check` reports the same."""
    environment[variable(setting)] = text
    with pytest.raises(SettingsError) as raised:
        load()
    message = str(raised.value)
    assert message.startswith(f"{variable(setting)}: ")
    assert "\n" not in message
    assert message.isprintable()
    assert "sesame" not in message
    assert [str(remark) for remark in of_settings()] == [f"problem: environment: {message}"]


@pytest.mark.parametrize("redis", ["unix:///run/redis.sock", "unix://me:sesame@/run/redis.sock?db=2"])
def test_a_socket(environment: dict[str, str], redis: str) -> None:
    """A server may listen on a Unix socket; then the broker must be set."""
    environment["ALLOCATION_REDIS_URL"] = redis
    with pytest.raises(SettingsError, match=r"^ALLOCATION_BROKER_URL: .* set it$"):
        load()
    environment["ALLOCATION_BROKER_URL"] = "redis://h/1"
    load()


IN_FILE = {
    "latin-1": ("ALLOCATION_ORDERS_STREAM=ses\u00e4me\n".encode("latin-1"), r"^\.env: is not UTF-8"),
    "a wrong value": (b"ALLOCATION_BATCH=sesame\n", r"^ALLOCATION_BATCH: in \.env: "),
    "utf-16": ("ALLOCATION_BATCH=5\n".encode("utf-16"), r"^\.env: is not UTF-8"),
}


@pytest.mark.parametrize(("written", "message"), IN_FILE.values(), ids=IN_FILE.keys())
def test_an_invalid_file(tmp_path: Path, written: bytes, message: str) -> None:
    """A problem of the file `.env`, or in it, is one line, too."""
    (tmp_path / ".env").write_bytes(written)
    with pytest.raises(SettingsError, match=message) as raised:
        load()
    assert "sesame" not in str(raised.value)
    assert [remark.severity for remark in of_settings()] == ["problem"]


def test_an_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system error is reported in its own words; `root`, which can read every file, is refused here too."""
    (tmp_path / ".env").symlink_to("/proc/self/mem")
    monkeypatch.setattr(Path, "is_file", lambda _: True)
    with pytest.raises(SettingsError, match=r"^\.env: cannot be read: .+; check its permissions$"):
        load()


@pytest.mark.parametrize(
    "written", [b"ALLOCATION_BATCH=7\r\n", b"\xef\xbb\xbfALLOCATION_BATCH=7\n", b"ALLOCATION_BATCH = '7'\n"]
)
def test_a_file_from_an_editor(tmp_path: Path, written: bytes) -> None:
    """Windows line ends, a byte order mark and quotes are not part of a value or a name."""
    (tmp_path / ".env").write_bytes(written)
    assert load().batch == 7


def test_unknown_names(environment: dict[str, str], tmp_path: Path) -> None:
    """A name that resembles a setting causes a warning, wherever it is set."""
    environment["ALLOCATION_BATHC"] = "7"
    (tmp_path / ".env").write_text("ALLOCATION_REDISURL=x\nOTHER=1\n")
    assert [(remark.severity, remark.file, remark.key) for remark in of_settings()] == [
        ("warning", "environment", "ALLOCATION_BATHC"),
        ("warning", ".env", "ALLOCATION_REDISURL"),
    ]
