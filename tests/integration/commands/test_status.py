"""`allocation status`: counts of everything, and health problems."""

import time
from typing import Any

from tasks.rules.outcome import Feedback
from tasks.work.ports import Pause, Report
from tests.integration.commands.cli_harness import FILE, CliHarness, order
from worker.ledger import keys
from worker.observability.heartbeat import publish_heartbeat
from worker.processes.maintenance import run_maintenance
from worker.processes.merchant_files import MerchantFiles
from worker.streams.orders import OrdersStream


def sweep(cli: CliHarness) -> None:
    """Run maintenance as the sweep does, with a live intake and a live worker."""
    merchants = MerchantFiles(cli.settings.merchants_dir, frozenset())
    cli.do(lambda store, ledger: run_maintenance(store, ledger, merchants, cli.settings))
    for role in ("intake", "worker", "beat"):
        cli.do(lambda store, _ledger, role=role: publish_heartbeat(store, role, 1, "5-1"))  # type: ignore[misc]


def test_every_shipment_is_counted_once(cli: CliHarness) -> None:
    """Failed, allocated, parked, working and due: each shipment is in one column, of its own merchant."""
    cli.merchant()
    cli.merchant("beta")
    cli.accept(order("f1", "f2", "f3"))
    cli.fail()
    cli.accept(order("a1", "a2"))
    cli.allocate()
    cli.accept(order("p1"))
    cli.park(wait_s=60)
    cli.accept(order("w1"), order("w2", merchant="beta"))
    cli.claim()
    cli.accept(order("d1", "d2"), order("x", type="order.paid"), b"{")
    sweep(cli)
    result = cli.run("status", "--json")
    assert result.code == 0, result.out
    assert result.document["healthy"]
    acme, beta = result.document["merchants"]
    assert 0 <= acme.pop("oldest_due_s") < 30
    assert abs(time.time() - acme.pop("failed_since")) < 60
    counts = {"due": 2, "parked": 1, "working": 1, "allocated": 2, "failed": 3}
    stops = {
        "merchant_file": None,
        "paused": None,
        "paused_since": None,
        "on_hold": None,
        "on_hold_since": None,
        "in_quiet_time": 0,
        "near_deadline": 0,
        "limit_in_flight": 0,
        "limit_per_second": 0.0,
    }
    assert acme.pop("window") >= 200
    assert acme == {"merchant": "acme", "repeated_calls": 0, "carrier_changed": 0, **counts, **stops}
    assert (beta["working"], beta["due"], beta["oldest_due_s"]) == (1, 0, None)
    (rejected,) = result.document["rejected"]
    assert abs(time.time() - rejected.pop("since")) < 60
    assert rejected == {"reason": "bad_json", "merchant": "", "events": 1}
    assert result.document["ignored"] == 1
    assert result.document["queues"] == {"allocation": 0, "allocation.sweep": 0}


def test_the_table_has_the_same_content(cli: CliHarness) -> None:
    """A paused merchant has its reason, messages of an API are escaped, and a missing sweep is a health problem."""
    cli.merchant()
    cli.do(lambda _, ledger: ledger.pause("acme", Pause(why="401: [red]\x1b[31mno"), ""))
    result = cli.run("status")
    assert result.code == 1
    assert r"401: [red]\x1b[31mno" in result.out
    assert "\x1b" not in result.out
    assert "urgent: sweep_late: no sweep has run yet" in result.out
    assert "no intake has run yet" in result.out


def test_unread_entries_are_counted(cli: CliHarness) -> None:
    """Entries that no intake has read, and entries that were read but not accepted yet."""

    async def read_one(store: Any, _: Any) -> None:
        orders = OrdersStream(store, cli.settings.orders_stream, 60)
        await orders.make_group()
        for number in range(3):
            await store.redis.xadd(cli.settings.orders_stream, {"event": str(number)})
            if number == 0:
                await orders.read()

    cli.do(read_one)
    orders = cli.run("status", "--json").document["orders"]
    assert 0 <= orders.pop("oldest_s") < 30
    assert orders == {"undelivered": 2, "unacknowledged": 1, "has_group": True}


def test_delays_are_problems(cli: CliHarness) -> None:
    """A missing sweep and overdue shipments are reported; so is an unavailable broker."""
    cli.merchant()
    cli.accept(order("a"))

    async def long_ago(store: Any, _: Any) -> None:
        await store.redis.set(keys.LAST_SWEEP, 1_000_000_000_000)
        await store.redis.zadd("allocation:schedule:acme", {"a": 1_000_000_000_000})

    cli.do(long_ago)
    result = cli.run("status", "--json", ALLOCATION_BROKER_URL="redis://127.0.0.1:1/0")
    assert result.code == 1
    texts = {(each["slug"], each["subject"]): each["text"] for each in result.document["problems"]}
    assert texts["process_missing", "intake"].startswith("no intake has sent a heartbeat")
    assert texts["process_missing", "worker"].startswith("no worker has sent a heartbeat")
    assert texts["broker_unavailable", ""].startswith("broker: no response from redis://127.0.0.1:1/0")
    assert texts["sweep_late", ""].startswith("the last sweep was ")
    assert texts["due_late", "acme"].startswith("acme: a shipment has been due for ")
    assert result.document["queues"] is None


def test_delaying_conditions_are_shown(cli: CliHarness) -> None:
    """An open breaker is a problem, with its next probe; a recently throttled merchant has its current rate."""
    cli.merchant()
    cli.accept(order(*(f"s{n}" for n in range(20))))
    claim = cli.claim()

    async def report_responses(_: Any, ledger: Any) -> None:
        for number, shipment in enumerate(claim):
            how: Any = "throttled" if number == 0 else "bad"
            report = Report(
                shipment=shipment,
                lease_token="unknown",
                verdict="keep",
                api="api.test#1",
                feedback=Feedback(how, "allocate"),
            )
            await ledger.report(report)

    cli.do(report_responses)
    sweep(cli)
    result = cli.run("status", "--json", "--min-severity", "attention")
    assert result.code == 1
    (breaker,) = [each for each in result.document["problems"] if each["slug"] == "breaker_open"]
    assert (breaker["severity"], breaker["subject"]) == ("attention", "api.test")
    assert [slow["merchant"] for slow in result.document["slowed"]] == ["acme"]
    assert [breaker["api"] for breaker in result.document["breakers"]] == ["api.test#1"]
    assert "throttled: acme: 429" in cli.run("status").out


def test_an_unavailable_server(cli: CliHarness) -> None:
    """The document is complete, and states why nothing is known, without a password."""
    result = cli.run("status", "--json", ALLOCATION_REDIS_URL="redis://user:pa55word@127.0.0.1:1/0")
    assert result.code == 1
    assert result.document["problems"][0]["text"].startswith("no response from redis://127.0.0.1:1/0")
    assert "pa55word" not in result.out + result.err


def test_settings_with_warnings(cli: CliHarness) -> None:
    """A variable that is no setting, and a quiet time that is shorter than a call, need attention."""
    cli.merchant(text=FILE + "[retry]\nquiet_seconds = 1\n")
    found = cli.run("status", "--json", ALLOCATION_LAESE_SECONDS="30").document["problems"]
    (problem,) = [each for each in found if each["slug"] == "settings_warnings"]
    assert problem["severity"] == "attention"
    assert problem["text"].startswith("environment: ALLOCATION_LAESE_SECONDS: is not a setting")
    assert problem["text"].endswith("(and 1 more)")


def test_one_merchant_has_the_problems_of_the_system(cli: CliHarness) -> None:
    """Without processes no merchant goes on, and without a server nothing is known; other merchants' are left out."""
    cli.merchant()
    cli.merchant("beta")
    cli.do(lambda _, ledger: ledger.pause("beta", Pause(why="401"), ""))
    of_acme = cli.run("status", "--merchant", "acme", "--json")
    slugs = {each["slug"] for each in of_acme.document["problems"]}
    assert (of_acme.code, "process_missing" in slugs, "merchant_paused" in slugs) == (1, True, False)
    away = cli.run("status", "--merchant", "acme", ALLOCATION_REDIS_URL="redis://127.0.0.1:1/0")
    assert away.code == 1
    assert "urgent: redis_unavailable" in away.out
    assert "redis-cli -u redis://127.0.0.1:1/0 ping" in away.out


def test_many_unknown_merchants_are_one_problem(cli: CliHarness) -> None:
    """Invented names do not fill the screen, and one with colons is counted like any other."""
    cli.accept(*(order("sp_1", merchant=f"no{number}") for number in range(30)), order("sp_1", merchant="gh:o:st"))
    found = [each for each in cli.run("status", "--json").document["problems"] if each["slug"] == "file_missing"]
    (problem,) = found
    assert problem["text"].endswith("and 26 more; 31 orders rejected for it")
    assert cli.run("dismiss", "--rejected-all", "--why", "tests").out == "dismissed 31 rejected events\n"
    assert cli.run("status", "--json").document["rejected"] == []
