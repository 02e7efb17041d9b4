"""`allocation status`: counts of everything, and what is not healthy."""

from typing import Any

from tasks.rules.outcome import Feedback
from tasks.work.ports import Pause, Report
from tests.integration.commands.cli_harness import Scene, order
from worker.ledger import keys
from worker.observability.heartbeat import publish_heartbeat
from worker.processes.maintenance import run_maintenance
from worker.processes.merchant_files import MerchantFiles
from worker.streams.orders import OrdersStream


def sweep(scene: Scene) -> None:
    """Keep house, as the sweep does, with an intake and a worker alive."""
    merchants = MerchantFiles(scene.settings.merchants_dir, frozenset())
    scene.do(lambda store, ledger: run_maintenance(store, ledger, merchants, scene.settings))
    for role in ("intake", "worker"):
        scene.do(lambda store, _ledger, role=role: publish_heartbeat(store, role, 1, "5-1"))  # type: ignore[misc]


def test_every_shipment_is_counted_once(scene: Scene) -> None:
    """Failed, allocated, parked, working and due: each shipment is in one column, of its own merchant."""
    scene.merchant()
    scene.merchant("beta")
    scene.accept(order("f1", "f2", "f3"))
    scene.fail()
    scene.accept(order("a1", "a2"))
    scene.allocate()
    scene.accept(order("p1"))
    scene.park(wait_s=60)
    scene.accept(order("w1"), order("w2", merchant="beta"))
    scene.claim()
    scene.accept(order("d1", "d2"), order("x", type="order.paid"), b"{")
    sweep(scene)
    said = scene.run("status", "--json")
    assert said.code == 0, said.out
    assert said.document["healthy"]
    acme, beta = said.document["merchants"]
    assert 0 <= acme.pop("oldest_due_s") < 30
    counts = {"due": 2, "parked": 1, "working": 1, "allocated": 2, "failed": 3, "paused": None}
    assert acme == {"merchant": "acme", "repeated_calls": 0, "carrier_changed": 0, **counts}
    assert (beta["working"], beta["due"], beta["oldest_due_s"]) == (1, 0, None)
    assert (said.document["rejected"], said.document["ignored"]) == (1, 1)
    assert said.document["queues"] == {"allocation": 0, "allocation.sweep": 0}


def test_the_table_tells_the_same(scene: Scene) -> None:
    """A paused merchant shows why, the words of an API do no harm, and no sweep at all is not healthy."""
    scene.merchant()
    scene.do(lambda _, ledger: ledger.pause("acme", Pause(why="401: [red]\x1b[31mno"), ""))
    said = scene.run("status")
    assert said.code == 1
    assert r"401: [red]\x1b[31mno" in said.out
    assert "\x1b" not in said.out
    assert "problem: no sweep has run yet" in said.out
    assert "no intake has run yet" in said.out


def test_what_lies_unread_is_counted(scene: Scene) -> None:
    """Entries that no intake has read, and entries that one has read but not yet taken."""

    async def read_one(store: Any, _: Any) -> None:
        orders = OrdersStream(store, scene.settings.orders_stream, 60)
        await orders.make_group()
        for number in range(3):
            await store.redis.xadd(scene.settings.orders_stream, {"event": str(number)})
            if number == 0:
                await orders.read()

    scene.do(read_one)
    orders = scene.run("status", "--json").document["orders"]
    assert orders == {"undelivered": 2, "unacknowledged": 1, "has_group": True}


def test_lateness_is_not_healthy(scene: Scene) -> None:
    """A sweep that does not come, and shipments that nobody takes, are named; so is a broker that is away."""
    scene.merchant()
    scene.accept(order("a"))

    async def long_ago(store: Any, _: Any) -> None:
        await store.redis.set(keys.LAST_SWEEP, 1_000_000_000_000)
        await store.redis.zadd("allocation:schedule:acme", {"a": 1_000_000_000_000})

    scene.do(long_ago)
    said = scene.run("status", "--json", ALLOCATION_BROKER_URL="redis://127.0.0.1:1/0")
    assert said.code == 1
    broker, swept, intake, worker, due = said.document["problems"]
    assert intake.startswith("no intake has sent a heartbeat")
    assert worker.startswith("no worker has sent a heartbeat")
    assert broker.startswith("broker: no response from redis://127.0.0.1:1/0")
    assert swept.startswith("the last sweep was ")
    assert due.startswith("acme: a shipment has been due for ")
    assert said.document["queues"] is None


def test_what_holds_shipments_back_is_told(scene: Scene) -> None:
    """An open breaker is a problem and says when it is tried again; a merchant throttled lately says how slow."""
    scene.merchant()
    scene.accept(order(*(f"s{n}" for n in range(20))))
    claim = scene.claim()

    async def answer(_: Any, ledger: Any) -> None:
        for number, shipment in enumerate(claim):
            how: Any = "throttled" if number == 0 else "bad"
            report = Report(
                shipment=shipment,
                lease_token="nobody",
                verdict="keep",
                api="api.test#1",
                feedback=Feedback(how, "allocate"),
            )
            await ledger.report(report)

    scene.do(answer)
    sweep(scene)
    said = scene.run("status", "--json")
    assert said.code == 1
    assert [slow["merchant"] for slow in said.document["slowed"]] == ["acme"]
    assert [breaker["api"] for breaker in said.document["breakers"]] == ["api.test#1"]
    assert "throttled: acme: 429" in scene.run("status").out


def test_a_server_that_is_away_is_an_answer(scene: Scene) -> None:
    """The document is there all the same, and says why nothing is known; no password is."""
    said = scene.run("status", "--json", ALLOCATION_REDIS_URL="redis://user:pa55word@127.0.0.1:1/0")
    assert said.code == 1
    assert said.document["problems"][0].startswith("no response from redis://127.0.0.1:1/0")
    assert "pa55word" not in said.out + said.err
