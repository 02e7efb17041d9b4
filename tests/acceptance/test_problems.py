"""States that need a person: `allocation status` names each, with the command that helps, and the log has its start."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.system import BIN, System, order_event, running, v2_file, wait_until
from worker.lab.embedded_server import free_port

LINET = '{ carrier_service = "FF_LINET-00001" }'
ROLES = ("intake", "worker", "beat")


def file(url: str, key: str = "SANDBOX_KEY") -> str:
    """A merchant file without a warning: its quiet time is no shorter than a call."""
    return v2_file(url, LINET, more="[retry]\nquiet_seconds = 5\n", key=key, api="timeout_s = 5\n")


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A running system with a merchant that has settled a shipment."""
    with running(tmp_path_factory.mktemp("system"), *ROLES) as system:
        system.merchant("acme", file(system.url))
        system.publish([order_event("acme", ["sp_acme"])])
        system.wait_settled(1)
        wait_until(lambda: status(system)["healthy"], 30, "a healthy system")
        yield system


def run(system: System, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run `allocation` beside the system."""
    return subprocess.run(
        [BIN / "allocation", *words],
        env=system.environment,
        cwd=system.folder,
        capture_output=True,
        text=True,
        check=False,
    )


def status(system: System, *words: str) -> dict[str, Any]:
    """The document of `allocation status`; its exit code says the same."""
    done = run(system, "status", "--json", *words)
    document: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == int(not document["healthy"])
    return document


def find(system: System, slug: str, subject: str) -> dict[str, Any] | None:
    """The problem, if status has it."""
    found = [each for each in status(system)["problems"] if (each["slug"], each["subject"]) == (slug, subject)]
    return found[0] if found else None


def wait_for(system: System, slug: str, subject: str, severity: str, shipments: int | None = None) -> dict[str, Any]:
    """Wait for a problem of this severity; an urgent one makes the exit code 1."""

    def there() -> bool:
        problem = find(system, slug, subject)
        return problem is not None and (problem["severity"], problem["shipments"]) == (severity, shipments)

    wait_until(there, 30, f"{severity} {slug} of {subject}")
    document = status(system)
    assert document["healthy"] is (severity == "attention")
    (problem,) = [each for each in document["problems"] if (each["slug"], each["subject"]) == (slug, subject)]
    return dict(problem)


def publish(system: System, merchant: str, count: int) -> None:
    """Publish an order with this number of shipments."""
    system.publish([order_event(merchant, [f"sp_{merchant}{number}" for number in range(count)])])


def allocated(system: System, merchant: str) -> int:
    """Number of allocated events of the merchant."""
    return sum(event["merchant"] == merchant for event in system.allocated())


def test_a_refused_key(system: System) -> None:
    """The merchant is paused, its shipments wait: urgent, logged once, and over once the key works."""
    key = system.folder / "refused.key"
    key.write_text("not-the-key")
    text = file(system.url).replace('{ env = "SANDBOX_KEY" }', f'{{ file = "{key}" }}')
    system.merchant("refused", text)
    publish(system, "refused", 3)
    problem = wait_for(system, "merchant_paused", "refused", "urgent", 3)
    assert problem["command"] == "allocation resume refused"
    assert problem["since"] is not None
    key.unlink()
    wait_for(system, "key_missing", "refused", "urgent", 3)
    assert find(system, "merchant_paused", "refused") is None
    key.write_text(system.environment["SANDBOX_KEY"])
    wait_until(lambda: status(system)["healthy"], 30, "a healthy system")
    assert system.logged().count("merchant_paused") == 1
    assert system.logged().count("merchant_resumed") == 1


def test_a_missing_key(system: System) -> None:
    """It is the environment of the worker that lacks the key: urgent while shipments wait."""
    system.merchant("keyless", file(system.url, "NO_SUCH_KEY"))
    publish(system, "keyless", 99)
    problem = wait_for(system, "key_missing", "keyless", "urgent", 99)
    assert problem["command"] == "allocation check"
    assert "NO_SUCH_KEY" in run(system, "check").stdout
    system.merchant("keyless", file(system.url))
    wait_until(lambda: status(system)["healthy"], 30, "a healthy system")


def test_a_file_that_never_was_valid(system: System) -> None:
    """Its orders are rejected: urgent; once it is fixed they are requeued, and counted no longer."""
    system.merchant("invalid", "[api")
    before = len(system.rejected())
    publish(system, "invalid", 2)
    wait_until(lambda: len(system.rejected()) == before + 1, 30, "a rejected order")
    problem = wait_for(system, "file_invalid", "invalid", "urgent", 0)
    assert "1 order rejected for it" in problem["text"]
    system.merchant("invalid", file(system.url))
    replayed = run(system, "replay", "--rejected-all", "--reason", "unknown_merchant")
    assert replayed.returncode == 0, replayed.stderr
    wait_until(lambda: allocated(system, "invalid") == 2, 30, "allocated shipments")
    assert find(system, "orders_rejected", "") is None
    assert status(system)["healthy"]


def test_rejected_events(system: System) -> None:
    """They need attention, which `--min-severity` turns into exit code 1, until they are dismissed."""
    system.publish(["{not json"] * 5)
    wait_for(system, "orders_rejected", "", "attention")
    assert run(system, "status", "--min-severity", "attention").returncode == 1
    assert run(system, "status", "--min-severity", "attention", "--except", "orders_rejected").returncode == 0
    assert "bad_json" in run(system, "rejected").stdout
    assert run(system, "dismiss", "--rejected-all", "--reason", "bad_json", "--why", "test events").returncode == 0
    assert find(system, "orders_rejected", "") is None
    assert run(system, "status", "--min-severity", "attention").returncode == 0


def test_an_api_that_fails(system: System) -> None:
    """A breaker opens: status names host and merchants, and the log has a line when it opens and one when it closes."""
    system.merchant("down", file(system.url))
    system.faults({"fault": "status", "status": 503})
    opened = system.logged().count("breaker_opened")
    publish(system, "down", 30)
    host = system.url.removeprefix("http://")
    wait_until(lambda: any(each["slug"] == "breaker_open" for each in status(system)["problems"]), 30, "a breaker")
    (problem,) = [each for each in status(system)["problems"] if each["slug"] == "breaker_open"]
    assert problem["subject"] == host
    assert "down" in problem["text"]
    assert problem["shipments"] >= 30
    wait_until(lambda: system.logged().count("breaker_opened") == opened + 1, 30, "the log line")
    line = next(line for line in system.logged().splitlines() if "breaker_opened" in line)
    assert host in line
    assert "down" in line
    system.faults()
    wait_until(lambda: allocated(system, "down") == 30, 30, "allocated shipments")
    wait_until(lambda: "breaker_closed" in system.logged(), 30, "the log line")
    assert status(system)["healthy"]


def test_a_process_that_ends(system: System) -> None:
    """Status says so at once."""
    assert system.terminate("beat") == 0
    assert status(system)["healthy"] is False
    assert find(system, "process_missing", "beat") is not None
    system.start("beat")
    wait_until(lambda: status(system)["healthy"], 30, "a healthy system")


def test_every_line_is_in_one_format(system: System) -> None:
    """All lines of all four processes are JSON, Celery's and Flower's included, from their start to their end."""
    system.start("flower", ALLOCATION_FLOWER_PORT=str(free_port()))
    wait_until(lambda: '"logger": "flower' in system.logged(), 30, "a line of Flower")
    # Flower may miss a SIGTERM in its first second.
    system.kill("flower")
    for role in ROLES:
        system.terminate(role)
    system.start(*ROLES)
    wait_until(lambda: status(system)["healthy"], 30, "a healthy system")
    for line in system.logged().splitlines():
        assert json.loads(line).keys() >= {"event", "level", "logger", "timestamp"}


def test_a_restart_with_an_invalid_file(system: System) -> None:
    """The last valid version is used: nothing is rejected, and events, explain and status name it."""
    version = json.loads(run(system, "merchants", "--json").stdout)[0]["version"]
    for role in ROLES:
        system.terminate(role)
    system.merchant("acme", "[api")
    system.start(*ROLES)
    before, rejected = allocated(system, "acme"), len(system.rejected())
    system.publish([order_event("acme", ["sp_acme2"])])
    wait_until(lambda: allocated(system, "acme") == before + 1, 30, "an allocated shipment")
    assert len(system.rejected()) == rejected
    assert system.allocated()[-1]["merchant_file"] == version
    assert f"version {version}" in run(system, "explain", "sp_acme2").stdout
    problem = wait_for(system, "file_invalid", "acme", "attention", 0)
    assert f"invalid, version {version} is used" in problem["text"]
    assert "+[api" in run(system, "merchants", "show", "acme").stdout
    assert "merchant_file_restored" in system.logged()
