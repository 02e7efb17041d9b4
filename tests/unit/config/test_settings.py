"""Settings from the environment: names, defaults, and errors."""

import os
from pathlib import Path

import pytest

from config.cpu_limit import usable_cores
from config.settings import Settings, SettingsError, is_loopback
from config.urls import server_address
from worker.processes.environment import load

REDIS = "redis://redis.test:6379/0"


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment with a Redis URL only, in a folder without a `.env`."""
    for name in os.environ:
        if name.startswith("ALLOCATION_") or name == "SENTRY_DSN":
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALLOCATION_REDIS_URL", REDIS)
    return monkeypatch


def test_defaults_match_the_contract() -> None:
    """Every setting but the Redis URL has the default of the contract."""
    settings = load()
    assert settings.broker == "redis://redis.test:6379/1"
    assert settings.merchants_dir == Path("config/merchants")
    assert settings.orders_stream == "orders.created"
    assert settings.allocated_stream == "shipments.allocated"
    assert settings.failed_stream == "shipments.allocation_failed"
    assert settings.rejected_stream == "orders.rejected"
    assert (settings.sweep_seconds, settings.lease_seconds) == (5, 60)
    assert (settings.batch, settings.keep_days, settings.trim_orders) == (100, 7, True)
    assert settings.concurrency == 2 * usable_cores()
    assert (settings.flower_address, settings.flower_port, settings.flower_basic_auth) == ("127.0.0.1", 5555, None)
    assert settings.sentry_dsn is None


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("ALLOCATION_MERCHANTS_DIR", "/etc/merchants", Path("/etc/merchants")),
        ("ALLOCATION_ORDERS_STREAM", "in", "in"),
        ("ALLOCATION_ALLOCATED_STREAM", "out", "out"),
        ("ALLOCATION_FAILED_STREAM", "failed", "failed"),
        ("ALLOCATION_REJECTED_STREAM", "rejected", "rejected"),
        ("ALLOCATION_SWEEP_SECONDS", "0.5", 0.5),
        ("ALLOCATION_LEASE_SECONDS", "30", 30),
        ("ALLOCATION_CONCURRENCY", "3", 3),
        ("ALLOCATION_BATCH", "10", 10),
        ("ALLOCATION_KEEP_DAYS", "0.5", 0.5),
        ("ALLOCATION_TRIM_ORDERS", "on", True),
        ("ALLOCATION_FLOWER_ADDRESS", "127.0.0.2", "127.0.0.2"),
        ("ALLOCATION_FLOWER_PORT", "80", 80),
    ],
)
def test_each_is_read_from_its_variable(
    environment: pytest.MonkeyPatch, name: str, text: str, expected: object
) -> None:
    """A setting is named like its variable, in lower case and without the prefix."""
    environment.setenv(name, text)
    assert getattr(load(), name.removeprefix("ALLOCATION_").lower()) == expected


def test_secrets_are_read_and_hidden(environment: pytest.MonkeyPatch) -> None:
    """Values that may contain a password are readable in code and hidden in every log."""
    environment.setenv("ALLOCATION_REDIS_URL", "redis://me:sesame@redis.test/0")
    environment.setenv("ALLOCATION_BROKER_URL", "redis://me:sesame@broker.test/3")
    environment.setenv("ALLOCATION_FLOWER_BASIC_AUTH", "me:sesame")
    environment.setenv("SENTRY_DSN", "https://sesame@sentry.test/1")
    settings = load()
    assert settings.broker == "redis://me:sesame@broker.test/3"
    assert "sesame" not in f"{settings!r} {settings} {settings.model_dump()}"


def test_the_environment_takes_precedence(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A `.env` file is read too; a set variable takes precedence, and an empty one counts as not set."""
    (tmp_path / ".env").write_text("ALLOCATION_BATCH=7\nALLOCATION_KEEP_DAYS=3\nUNRELATED=1\n")
    environment.setenv("ALLOCATION_KEEP_DAYS", "5")
    environment.setenv("ALLOCATION_SWEEP_SECONDS", "")
    settings = load()
    assert (settings.batch, settings.keep_days, settings.sweep_seconds) == (7, 5, 5)


def test_redis_is_required(environment: pytest.MonkeyPatch) -> None:
    """Without the Redis URL the error names the variable and an example value."""
    environment.delenv("ALLOCATION_REDIS_URL")
    with pytest.raises(SettingsError, match=r"^ALLOCATION_REDIS_URL: is not set; .*redis://localhost:6379/0") as raised:
        load()
    assert "\n" not in str(raised.value)


def test_actions_require_a_login(environment: pytest.MonkeyPatch) -> None:
    """Without a login nobody could be named in the audit log."""
    environment.setenv("ALLOCATION_FLOWER_ACTIONS", "true")
    with pytest.raises(SettingsError, match=r"^ALLOCATION_FLOWER_ACTIONS: needs a login"):
        load()
    environment.setenv("ALLOCATION_FLOWER_BASIC_AUTH", "me:sesame")
    assert load().flower_actions


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ALLOCATION_SWEEP_SECONDS", "0"),
        ("ALLOCATION_SWEEP_SECONDS", "nan"),
        ("ALLOCATION_LEASE_SECONDS", "-1"),
        ("ALLOCATION_LEASE_SECONDS", "sesame"),
        ("ALLOCATION_BATCH", "0"),
        ("ALLOCATION_BATCH", "101"),
        ("ALLOCATION_BATCH", "1.5"),
        ("ALLOCATION_CONCURRENCY", "0"),
        ("ALLOCATION_KEEP_DAYS", "0"),
        ("ALLOCATION_TRIM_ORDERS", "sesame"),
        ("ALLOCATION_FLOWER_PORT", "65536"),
    ],
)
def test_an_invalid_value_is_named_and_not_repeated(environment: pytest.MonkeyPatch, name: str, text: str) -> None:
    """The error names the variable and the expected value, but not the actual one, which may be secret."""
    environment.setenv(name, text)
    with pytest.raises(SettingsError) as raised:
        load()
    variable, _, advice = str(raised.value).partition(": ")
    assert variable == name
    assert advice
    assert "sesame" not in advice


def test_all_invalid_values_are_reported_at_once(environment: pytest.MonkeyPatch) -> None:
    """Several problems are several lines."""
    environment.setenv("ALLOCATION_BATCH", "none")
    environment.setenv("ALLOCATION_KEEP_DAYS", "-1")
    with pytest.raises(SettingsError) as raised:
        load()
    assert [line.split(":")[0] for line in str(raised.value).splitlines()] == [
        "ALLOCATION_BATCH",
        "ALLOCATION_KEEP_DAYS",
    ]


@pytest.mark.parametrize(
    ("redis", "broker"),
    [
        ("redis://redis.test", "redis://redis.test/1"),
        ("redis://redis.test/", "redis://redis.test/1"),
        ("redis:///4", "redis:///5"),
        (
            "rediss://:sesame@redis.test:6380/9/?ssl_cert_reqs=none",
            "rediss://:sesame@redis.test:6380/10?ssl_cert_reqs=none",
        ),
    ],
)
def test_the_broker_is_the_next_database(environment: pytest.MonkeyPatch, redis: str, broker: str) -> None:
    """By default, the broker is the next database of the same server."""
    environment.setenv("ALLOCATION_REDIS_URL", redis)
    assert load().broker == broker


def test_a_broker_that_cannot_be_derived_is_required(environment: pytest.MonkeyPatch) -> None:
    """The broker's client does not support Unix sockets."""
    environment.setenv("ALLOCATION_REDIS_URL", "unix:///run/redis.sock")
    with pytest.raises(SettingsError, match=r"^ALLOCATION_BROKER_URL: .*set it$"):
        load()
    environment.setenv("ALLOCATION_BROKER_URL", "redis://localhost/1")
    assert load().broker == "redis://localhost/1"


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.3.2.1", True),
        ("::1", True),
        ("localhost", True),
        ("LOCALHOST", True),
        ("0.0.0.0", False),  # noqa: S104  # nothing listens
        ("::", False),
        ("10.0.0.1", False),
        ("127.example.com", False),
        ("localhost.example.com", False),
        ("", False),
    ],
)
def test_loopback(environment: pytest.MonkeyPatch, host: str, loopback: bool) -> None:  # noqa: FBT001  # a row of the table
    """Only addresses of this machine are loopback; Flower on any other is exposed."""
    environment.setenv("ALLOCATION_FLOWER_ADDRESS", host or "0")
    environment.setenv("ALLOCATION_FLOWER_BASIC_AUTH", "me:sesame")
    assert is_loopback(host) is loopback
    assert load().flower_is_exposed is not loopback


def test_hosts_without_tls(environment: pytest.MonkeyPatch) -> None:
    """Hosts are separated by commas; their case and surrounding spaces are ignored."""
    environment.setenv("ALLOCATION_ALLOW_HTTP_HOSTS", " carrier.internal, Sandbox ,,")
    assert load().http_hosts == {"carrier.internal", "sandbox"}
    assert Settings.model_fields["allow_http_hosts"].default == ""


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://me:sesame@redis.test:6379/0?password=sesame#sesame", "redis://redis.test:6379/0"),
        ("redis://redis.test", "redis://redis.test"),
        ("unix:///run/redis.sock?password=sesame", "unix:///run/redis.sock"),
    ],
)
def test_place_contains_no_password(url: str, shown: str) -> None:
    """A log line contains the server's address, without credentials."""
    assert server_address(url) == shown
