"""No secret gets out, whatever goes wrong; nothing foreign gets in that could do harm."""

import os
import pty
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.hostile_input import EVIL, KEY_IN_ENV, KEY_IN_FILE, KEY_REFUSED, LINET, SECRETS
from tests.acceptance.recording_servers import Spy
from tests.acceptance.secrets_run import Story, played
from tests.acceptance.system import BIN, ROOT, System, order_event, running, v2_file, wait_until
from tests.acceptance.tls import TlsFront, certificate

PLACES = {
    "logs": "merchant_paused",
    "what the commands print": "all_steps_refused",
    "command lines": "flower",
    "Redis": "sp_redirect",
    "channels of Redis": "task-succeeded",
    "Sentry": "shipment failed: all_steps_refused",
    "Flower": "allocation.allocate",
}
"""Where is looked, and a word that shows that there was something to look at."""

HARMFUL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]")
"""Control characters but the end of a line, and letters that change how others are read."""


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """The run with planted secrets, once for all tests."""
    with played(tmp_path_factory.mktemp("story")) as story:
        yield story


@pytest.mark.parametrize("place", PLACES)
def test_no_secret_is_said(story: Story, place: str) -> None:
    """No planted secret is in the logs, the output, Redis, its channels, Sentry or Flower, whatever went wrong."""
    said = story.said[place]
    assert PLACES[place] in said
    found = {name for name, secret in SECRETS.items() if secret in said}
    # Whoever reports to Sentry says by which key; it opens nothing but that.
    assert found - ({"the key of Sentry"} if place == "Sentry" else set()) == set()


def test_a_key_goes_to_its_api_alone(story: Story) -> None:
    """Each key was used, in its header and nowhere else; a redirect was not followed, with the key or without."""
    keys = {seen.headers.get("x-api-key") or seen.headers.get("ocp-apim-subscription-key") for seen in story.api}
    assert keys == {KEY_IN_ENV, KEY_IN_FILE, KEY_REFUSED}
    assert not [seen for seen in story.api if "Key" in seen.path or b"Key" in seen.body]
    assert story.elsewhere == []


def test_no_trace_headers_reach_the_api(story: Story) -> None:
    """Sentry is on, and the API is told nothing of it."""
    names = {name for seen in story.api for name in seen.headers}
    assert "x-api-version" in names
    assert {name for name in names if "trace" in name or name in {"baggage", "cookie", "authorization"}} == set()


def test_sentry_gets_no_values(story: Story) -> None:
    """A bug is reported with its place in the code, without local variables, arguments or requests."""
    said = story.said["Sentry"]
    assert "KeyError" in said
    assert set(re.findall(r'"kwargs":("[^"]*"|[^"])', said)) == {'"[Filtered]"'}
    assert '"vars"' not in said
    assert '"request"' not in said


@pytest.mark.parametrize("place", ["logs", "what the commands print"])
def test_foreign_text_cannot_steer_a_reader(story: Story, place: str) -> None:
    """Control characters of events and of the API's messages are written out, never passed on."""
    assert "evil" in story.said[place]
    assert {letter.encode("unicode_escape") for letter in HARMFUL.findall(story.said[place])} == set()


@pytest.mark.parametrize("words", [["intake"], ["explain", "sp_echo"], ["failed"]], ids=lambda words: words[0])
def test_foreign_text_cannot_steer_a_terminal(story: Story, words: list[str]) -> None:
    """On a terminal there are our own colours, and nothing that an event or an answer brought along."""
    story.system.publish([order_event(EVIL, ["sp_x"]), order_event("env", [EVIL]), EVIL])
    printed = _on_terminal(words, story.system.environment, end_after="bad_json")
    assert "evil" in printed
    ours = re.sub("\x1b\\[[0-9;]*m|\r\n", "", printed)
    assert {letter.encode("unicode_escape") for letter in HARMFUL.findall(ours)} == set()


def _on_terminal(words: list[str], environment: dict[str, str], end_after: str) -> str:
    """What a command writes to a terminal, until it ends; one that has written `end_after` is told to."""
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
        pass  # Linux' way to say that nobody holds the other end any more.
    process.wait(20)
    os.close(master)
    return printed.decode(errors="replace")


def test_celery_takes_json_only(story: Story) -> None:
    """A pickle on the queue is refused unread, and what was sent after it was worked on."""
    assert not story.marker.exists()
    assert "ContentDisallowed" in story.said["logs"]
    assert "sp_last" in {event["shipment"] for event in story.system.allocated()}


def test_only_web_links_to_labels_go_out(story: Story) -> None:
    """Of the links that an answer brings, those that are not http(s) are dropped."""
    (event,) = [event for event in story.system.allocated() if event["shipment"] == "sp_label"]
    assert {label["href"].partition(":")[0] for label in event["labels"]} == {"http"}


def test_plain_http_is_for_loopback(story: Story) -> None:
    """A base_url that would send the key without TLS makes the file invalid: `check` says so, and no order gets in."""
    assert "plain.toml: api.base_url: sends the key without TLS" in story.said["what the commands print"]
    (rejected,) = [entry for entry in story.system.rejected() if '"plain"' in entry["event"]]
    assert rejected["reason"] == "unknown_merchant"


def test_a_typed_key_is_found(story: Story) -> None:
    """A key in a merchant file is a mistake that is named with its place, without being repeated."""
    checked = story.said["what the commands print"]
    for place in (*(f"typed{number}.toml: api.api_key" for number in range(4)), "typed4.toml: is not TOML"):
        assert place in checked, place


def test_an_api_that_cannot_prove_its_name_gets_no_key(tmp_path: Path) -> None:
    """Whatever the environment says, nothing is sent to such a server; its shipment waits until it can prove it.

    Plain http goes to a host beyond loopback once ALLOCATION_ALLOW_HTTP_HOSTS names it.
    """
    construct = certificate(tmp_path)
    with Spy() as proxy, running(tmp_path / "system", "intake", "beat", **_lax(proxy.url)) as system:
        with TlsFront(construct, int(system.url.rpartition(":")[2])) as front:
            system.merchant("unsigned", v2_file(f"https://localhost:{front.port}", LINET))
            system.merchant("misnamed", v2_file(f"https://127.0.0.1:{front.port}", LINET))
            system.merchant("plain", v2_file(system.url.replace("127.0.0.1", "0.0.0.0"), LINET))  # noqa: S104
            system.start("worker")
            system.publish([order_event(name, [f"sp_{name}"]) for name in ("unsigned", "misnamed", "plain")])
            wait_until(lambda: all(_not_sent(system, name) for name in ("unsigned", "misnamed")), 20, "two tries")
            system.wait_settled(1, 20)
            assert (front.accepted, proxy.seen, system.counts()["puts"]) == (0, [], 1)
            system.terminate("worker")
            system.start("worker", SSL_CERT_FILE=str(construct.path))
            system.wait_settled(2, 30)
        assert {event["merchant"] for event in system.allocated()} == {"plain", "unsigned"}
        assert system.failed() == []


def _not_sent(system: System, merchant: str) -> bool:
    entry = system.redis.hget(f"allocation:shipment:{merchant}:sp_{merchant}", "entry:1")
    return '"not_sent"' in str(entry)


def _lax(proxy: str) -> dict[str, str]:
    """What makes other programs careless, or go by another way."""
    careless = {"PYTHONHTTPSVERIFY": "0", "CURL_CA_BUNDLE": "", "REQUESTS_CA_BUNDLE": "", "SSL_CERT_FILE": ""}
    ways = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"), proxy)
    return {**careless, **ways, "ALLOCATION_ALLOW_HTTP_HOSTS": "elsewhere.test, 0.0.0.0"}


def test_every_promise_is_proved() -> None:
    """Every test that SECURITY.md names is there."""
    named = re.findall(r"`(tests/\S+\.py)::(\w+)`", (ROOT / "SECURITY.md").read_text())
    assert len(named) > 15
    assert [name for file, name in named if f"def {name}(" not in (ROOT / file).read_text()] == []
