"""`allocation check`: every problem is reported, and only problems cause a failure."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.integration.commands.cli_harness import ALLOCATION, API, FILE, CliHarness
from worker.lab.embedded_server import EmbeddedServer, embedded_server


def texts(remarks: list[dict[str, str]]) -> dict[tuple[str, str], str]:
    """Remarks by file and key."""
    return {(remark["file"], remark["key"]): remark["text"] for remark in remarks}


def test_valid_files_pass(cli: CliHarness) -> None:
    """A valid folder has exit code 0, and for each merchant its api, steps and rules."""
    cli.merchant()
    result = cli.run("check")
    assert result.code == 0
    assert "acme" in result.out
    assert "shipments-v2" in result.out
    assert "virtual_service V, then carrier_service C" in result.out
    assert "heavy" in result.out
    assert "1 merchant valid, 0 problems" in result.out
    assert "\x1b" not in result.out


def test_every_problem_is_reported(cli: CliHarness) -> None:
    """All problems of all files are reported at once, with file and key; valid merchants are listed too."""
    cli.merchant()
    cli.merchant("ACME")
    cli.merchant("wrong", API.replace("shipments-v2", "v3") + ALLOCATION + "[retry]\ntries = 2\n")
    cli.merchant("toml", "[api")
    cli.merchant("bad name")
    (cli.settings.merchants_dir / "other.TOML").write_text(FILE)
    result = cli.run("check", "--json")
    assert result.code == 1
    problems = texts(result.document["problems"])
    assert {("wrong.toml", "api.flavour"), ("wrong.toml", "retry.tries")} <= problems.keys()
    assert "is not TOML" in problems["toml.toml", ""]
    assert "rename" in problems["bad name.toml", ""]
    assert "only in case" in problems["acme.toml", ""]
    assert ("other.TOML", "") in texts(result.document["warnings"])
    assert [merchant["merchant"] for merchant in result.document["merchants"]] == ["ACME", "acme"]


def test_plain_http_is_a_problem(cli: CliHarness, tmp_path: Path) -> None:
    """A key is never sent without TLS, unless the host is allowed; the folder may be an argument."""
    folder = tmp_path / "shops"
    folder.mkdir()
    for name in ("acme", "beta"):
        (folder / f"{name}.toml").write_text(FILE.replace("127.0.0.1:9", f"{name}.shop"))
    result = cli.run("check", "shops", ALLOCATION_ALLOW_HTTP_HOSTS="beta.shop")
    assert result.code == 1
    assert "problem: acme.toml: api.base_url: " in result.out
    assert "1 merchant valid, 1 problem" in result.out


def test_a_missing_key_is_a_warning(cli: CliHarness) -> None:
    """A merchant without a key would be paused, which is no problem of the file."""
    cli.merchant()
    result = cli.run("check", ACME_KEY="", ALLOCATION_REDIS_URL="")
    assert result.code == 0
    assert "warning: acme.toml: api.api_key: the environment variable ACME_KEY" in result.out


def test_a_key_in_place_of_a_variable_name(cli: CliHarness) -> None:
    """An invalid variable name may be the key itself: it is refused, and not repeated."""
    cli.merchant(text=FILE.replace("ACME_KEY", "sk_live_0123"))
    result = cli.run("check", ALLOCATION_REDIS_URL="")
    assert result.code == 1
    assert "problem: acme.toml: api.api_key.env: " in result.out
    assert "sk_live_0123" not in result.out


def test_a_key_is_never_printed(cli: CliHarness) -> None:
    """The value of a key is printed nowhere, nor a password within a URL."""
    cli.merchant()
    result = cli.run("check", ALLOCATION_REDIS_URL="http://user:pa55word@host")
    assert result.code == 1
    assert "ALLOCATION_REDIS_URL" in result.out
    assert "opens-nothing" not in result.out + result.err
    assert "pa55word" not in result.out + result.err


def test_settings_are_checked(cli: CliHarness) -> None:
    """An invalid setting is a problem, a misspelt one a warning; files can be checked without a server."""
    cli.merchant()
    result = cli.run("check", "--json", ALLOCATION_REDIS_URL="", ALLOCATION_BATCH="1000", ALLOCATION_BATHC="7")
    assert result.code == 1
    assert texts(result.document["problems"]).keys() == {("environment", "ALLOCATION_BATCH")}
    assert texts(result.document["warnings"]).keys() == {("environment", "ALLOCATION_BATHC")}
    assert texts(result.document["notes"]).keys() == {("environment", "ALLOCATION_REDIS_URL")}


def test_no_merchant_is_a_problem(cli: CliHarness) -> None:
    """An empty folder fails, with advice."""
    result = cli.run("check")
    assert result.code == 1
    assert "no merchant file; create" in result.out


@pytest.mark.parametrize(("quiet_s", "timeout_s", "warned"), [(60, 60.5, True), (10, 20, True), (20, 20, False)])
def test_a_short_quiet_time_is_a_warning(cli: CliHarness, quiet_s: float, timeout_s: float, *, warned: bool) -> None:
    """A quiet time shorter than a call is a warning with both in seconds, which causes no failure."""
    cli.merchant("acme", f"{API}timeout_s = {timeout_s}\n{ALLOCATION}[retry]\nquiet_seconds = {quiet_s}\n")
    result = cli.run("check", "--json")
    assert result.code == 0
    warning = texts(result.document["warnings"]).get(("acme.toml", "retry.quiet_seconds"))
    assert (warning is not None) is warned
    if warning is not None:
        assert f"the quiet time ({quiet_s:g} s) is shorter than api.timeout_s ({timeout_s:g} s)" in warning
        assert "be allocated twice; make it longer" in warning


def test_times_that_do_not_fit_are_a_problem(cli: CliHarness) -> None:
    """A deadline without enough time for a call causes a failure."""
    cli.merchant("acme", FILE + "[retry]\ndeadline_hours = 0.01\n")
    result = cli.run("check")
    assert result.code == 1
    assert "problem: acme.toml: retry.deadline_hours: a call of up to 20 s" in result.out


@pytest.fixture
def primary(tmp_path: Path) -> Iterator[redis.Redis]:
    """A server with one replica."""
    with embedded_server(tmp_path / "primary") as server, _replica(tmp_path, server), _client(server) as client:
        deadline = time.monotonic() + 20
        while not _replicas_of(client):
            assert time.monotonic() < deadline, "the replica did not connect"
            time.sleep(0.05)
        yield client


@contextmanager
def _replica(folder: Path, server: EmbeddedServer) -> Iterator[None]:
    replica = EmbeddedServer(folder / "replica")
    try:
        replica.start("--replicaof", "127.0.0.1", str(server.port))
        yield
    finally:
        replica.stop()


@contextmanager
def _client(server: EmbeddedServer) -> Iterator[redis.Redis]:
    with redis.Redis(port=server.port) as client:
        yield client


def _replicas_of(client: redis.Redis) -> int:
    found: Any = client.info("replication")
    return int(found["connected_slaves"])


def replicas_warning(cli: CliHarness, client: redis.Redis) -> str | None:
    """The warnings about this server's replicas; they are never problems."""
    port = client.connection_pool.connection_kwargs["port"]
    result = cli.run("check", "--json", ALLOCATION_REDIS_URL=f"redis://127.0.0.1:{port}/0")
    assert result.code == 0
    return texts(result.document["warnings"]).get(("environment", "ALLOCATION_REDIS_URL"))


def test_replicas_may_lag_for_less_than_the_quiet_time(cli: CliHarness, primary: redis.Redis) -> None:
    """If replicas may lag for too long, there is a warning for the merchant with the shortest margin."""
    cli.merchant()
    cli.merchant("beta", FILE + "[retry]\nquiet_seconds = 25.5\n")
    warning = replicas_warning(cli, primary)
    assert warning is not None
    assert "set min-replicas-to-write to at least 1 and min-replicas-max-lag to at most 5 " in warning
    assert "(retry.quiet_seconds less api.timeout_s of beta.toml)" in warning
    for replicas, lag_s, good in [(1, 5, True), (1, 6, False), (1, 0, False), (0, 5, False)]:
        primary.config_set("min-replicas-to-write", replicas)
        primary.config_set("min-replicas-max-lag", lag_s)
        assert (replicas_warning(cli, primary) is None) is good


def test_a_quiet_time_without_a_margin(cli: CliHarness, primary: redis.Redis) -> None:
    """If a quiet time exceeds a call by less than a second, the warning advises to raise it first."""
    cli.merchant("acme", FILE + "[retry]\nquiet_seconds = 20.5\n")
    assert "of acme.toml, which must first be raised above 1 s" in (replicas_warning(cli, primary) or "")


def test_a_user_without_config_access(cli: CliHarness, primary: redis.Redis) -> None:
    """Without permission to read the server's settings, there is no warning."""
    cli.merchant()
    primary.acl_setuser("default", enabled=True, nopass=True, commands=["-config"])
    assert replicas_warning(cli, primary) is None


def test_a_server_without_replicas(cli: CliHarness) -> None:
    """Without replicas, or without a server, there is no warning."""
    cli.merchant()
    for url in (cli.settings.redis_url.get_secret_value(), "redis://127.0.0.1:1/0"):
        result = cli.run("check", ALLOCATION_REDIS_URL=url)
        assert (result.code, "replica" in result.out, result.err) == (0, False, "")


def test_a_silent_server(cli: CliHarness) -> None:
    """A server that accepts a connection and never replies does not block the command."""
    cli.merchant()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        result = cli.run("check", ALLOCATION_REDIS_URL=f"redis://127.0.0.1:{listening.getsockname()[1]}/0")
    assert (result.code, "replica" in result.out, result.err) == (0, False, "")
