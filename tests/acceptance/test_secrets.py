"""No secret leaks, whatever fails, and no foreign input does harm."""

import os
import pty
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.hostile_input import EVIL, KEY_IN_ENV, KEY_IN_FILE, KEY_REFUSED, LINET, SECRETS
from tests.acceptance.recording_servers import RecordingServer
from tests.acceptance.secrets_run import SecretsRun, secrets_run
from tests.acceptance.system import BIN, ROOT, System, order_event, running, v2_file, wait_until
from tests.acceptance.tls import TlsProxy, certificate

PLACES = {
    "logs": "merchant_paused",
    "what the commands print": "all_steps_refused",
    "command lines": "flower",
    "Redis": "sp_redirect",
    "channels of Redis": "task-succeeded",
    "Sentry": "shipment failed: all_steps_refused",
    "Flower": "allocation.allocate",
}
"""The places to search, and a word that proves that each had content."""

HARMFUL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]")
"""Control characters except line ends, and characters that change the display of others."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecretsRun]:
    """The run with planted secrets, once for all tests."""
    with secrets_run(tmp_path_factory.mktemp("secrets")) as run:
        yield run


@pytest.mark.parametrize("place", PLACES)
def test_no_secret_leaks(run: SecretsRun, place: str) -> None:
    """No planted secret is in the logs, the output, Redis, its channels, Sentry or Flower, whatever failed."""
    outputs = run.outputs[place]
    assert PLACES[place] in outputs
    found = {name for name, secret in SECRETS.items() if secret in outputs}
    # Reports to Sentry contain its key, which gives access to nothing else.
    assert found - ({"the key of Sentry"} if place == "Sentry" else set()) == set()


def test_a_key_is_sent_only_to_its_api(run: SecretsRun) -> None:
    """Each key was used, in its header and nowhere else; a redirect was not followed, with the key or without."""
    keys = {seen.headers.get("x-api-key") or seen.headers.get("ocp-apim-subscription-key") for seen in run.api}
    assert keys == {KEY_IN_ENV, KEY_IN_FILE, KEY_REFUSED}
    assert not [seen for seen in run.api if "Key" in seen.path or b"Key" in seen.body]
    assert run.other_server == []


def test_no_trace_headers_are_sent_to_the_api(run: SecretsRun) -> None:
    """Although Sentry is on, requests to the API have none of its headers."""
    names = {name for seen in run.api for name in seen.headers}
    assert "x-api-version" in names
    assert {name for name in names if "trace" in name or name in {"baggage", "cookie", "authorization"}} == set()


def test_sentry_gets_no_values(run: SecretsRun) -> None:
    """A bug is reported with its place in the code, without local variables, arguments or requests."""
    outputs = run.outputs["Sentry"]
    assert "KeyError" in outputs
    assert set(re.findall(r'"kwargs":("[^"]*"|[^"])', outputs)) == {'"[Filtered]"'}
    assert '"vars"' not in outputs
    assert '"request"' not in outputs


@pytest.mark.parametrize("place", ["logs", "what the commands print"])
def test_foreign_text_is_escaped(run: SecretsRun, place: str) -> None:
    """Control characters of events and of the API's messages are escaped in every output."""
    assert "evil" in run.outputs[place]
    assert {letter.encode("unicode_escape") for letter in HARMFUL.findall(run.outputs[place])} == set()


@pytest.mark.parametrize("words", [["intake"], ["explain", "sp_echo"], ["failed"]], ids=lambda words: words[0])
def test_foreign_text_cannot_control_a_terminal(run: SecretsRun, words: list[str]) -> None:
    """A terminal gets only the program's own colours, and no control sequence of an event or a response."""
    run.system.publish([order_event(EVIL, ["sp_x"]), order_event("env", [EVIL]), EVIL])
    printed = _on_terminal(words, run.system.environment, end_after="bad_json")
    assert "evil" in printed
    ours = re.sub("\x1b\\[[0-9;]*m|\r\n", "", printed)
    assert {letter.encode("unicode_escape") for letter in HARMFUL.findall(ours)} == set()


def _on_terminal(words: list[str], environment: dict[str, str], end_after: str) -> str:
    """The terminal output of a command; one that has written `end_after` is terminated."""
    master, slave = pty.openpty()
    command = [str(BIN / "allocation"), *words]
    wide = {**environment, "COLUMNS": "500"}
    process = subprocess.Popen(command, env=wide, cwd=ROOT, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    printed = b""
    try:
        while chunk := os.read(master, 4096):
            printed += chunk
            if end_after in printed.decode(errors="replace"):
                process.send_signal(signal.SIGTERM)
    except OSError:
        pass  # On Linux, reading fails once the other end is closed.
    process.wait(20)
    os.close(master)
    return printed.decode(errors="replace")


def test_celery_accepts_json_only(run: SecretsRun) -> None:
    """A pickle on the queue is rejected without loading it, and later messages are processed."""
    assert not run.marker.exists()
    assert "ContentDisallowed" in run.outputs["logs"]
    assert "sp_last" in {event["shipment"] for event in run.system.allocated()}


def test_only_http_links_to_labels_are_published(run: SecretsRun) -> None:
    """Links of a response that are not http(s) are dropped."""
    (event,) = [event for event in run.system.allocated() if event["shipment"] == "sp_label"]
    assert {label["href"].partition(":")[0] for label in event["labels"]} == {"http"}


def test_plain_http_requires_loopback(run: SecretsRun) -> None:
    """A base_url that sends the key without TLS makes the file invalid: `check` reports it, orders are rejected."""
    assert "plain.toml: api.base_url: sends the key without TLS" in run.outputs["what the commands print"]
    (rejected,) = [entry for entry in run.system.rejected() if '"plain"' in entry["event"]]
    assert rejected["reason"] == "unknown_merchant"


def test_a_key_in_a_merchant_file_is_reported(run: SecretsRun) -> None:
    """A key in a merchant file is a problem with its place, without its value."""
    checked = run.outputs["what the commands print"]
    for place in (*(f"typed{number}.toml: api.api_key" for number in range(4)), "typed4.toml: is not TOML"):
        assert place in checked, place


def test_an_api_without_a_valid_certificate_gets_no_key(tmp_path: Path) -> None:
    """Whatever the environment, nothing is sent to such a server; the shipment waits until its certificate is valid.

    Plain http is allowed for a host beyond loopback that ALLOCATION_ALLOW_HTTP_HOSTS contains.
    """
    construct = certificate(tmp_path)
    with (
        RecordingServer() as proxy,
        running(tmp_path / "system", "intake", "beat", **_lax_environment(proxy.url)) as system,
    ):
        with TlsProxy(construct, int(system.url.rpartition(":")[2])) as front:
            system.merchant("unsigned", v2_file(f"https://localhost:{front.port}", LINET))
            system.merchant("misnamed", v2_file(f"https://127.0.0.1:{front.port}", LINET))
            system.merchant("plain", v2_file(system.url.replace("127.0.0.1", "0.0.0.0"), LINET))  # noqa: S104
            system.start("worker")
            system.publish([order_event(name, [f"sp_{name}"]) for name in ("unsigned", "misnamed", "plain")])
            wait_until(lambda: all(_not_sent(system, name) for name in ("unsigned", "misnamed")), 20, "two tries")
            system.wait_settled(1, 20)
            assert (front.accepted, proxy.requests, system.counts()["puts"]) == (0, [], 1)
            system.terminate("worker")
            system.start("worker", SSL_CERT_FILE=str(construct.path))
            system.wait_settled(2, 30)
        assert {event["merchant"] for event in system.allocated()} == {"plain", "unsigned"}
        assert system.failed() == []


def _not_sent(system: System, merchant: str) -> bool:
    entry = system.redis.hget(f"allocation:shipment:{merchant}:sp_{merchant}", "entry:1")
    return '"not_sent"' in str(entry)


def _lax_environment(proxy: str) -> dict[str, str]:
    """Variables that disable certificate checks, or set a proxy, for other programs."""
    careless = {"PYTHONHTTPSVERIFY": "0", "CURL_CA_BUNDLE": "", "REQUESTS_CA_BUNDLE": "", "SSL_CERT_FILE": ""}
    ways = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"), proxy)
    return {**careless, **ways, "ALLOCATION_ALLOW_HTTP_HOSTS": "elsewhere.test, 0.0.0.0"}


def test_every_test_in_security_md_exists() -> None:
    """Every test that SECURITY.md names exists."""
    named = re.findall(r"`(tests/\S+\.py)::(\w+)`", (ROOT / "SECURITY.md").read_text())
    assert len(named) > 15
    assert [name for file, name in named if f"def {name}(" not in (ROOT / file).read_text()] == []
