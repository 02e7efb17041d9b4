"""What Celery is told."""

import ast
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.app.defaults import DEFAULTS

from config.celery_options import BATCHES, PATIENCE_S, SWEEP_TASK, SWEEPS, celery_options
from config.settings import Settings


def options(broker: str = "redis://redis.test/1", **settings: Any) -> dict[str, Any]:
    """Celery's options for a broker."""
    return celery_options(
        Settings.model_validate({"redis_url": "redis://redis.test/0", "broker_url": broker, **settings})
    )


def test_celery_knows_every_option() -> None:
    """Celery takes a misspelled option without a word, so each is compared with those it has."""
    assert options().keys() <= DEFAULTS.keys()


def test_messages_are_json_and_results_are_none() -> None:
    """Nothing but JSON is accepted, and no result is kept: the ledger is the truth."""
    told = options()
    assert (told["accept_content"], told["task_serializer"], told["task_ignore_result"]) == (["json"], "json", True)
    assert "result_backend" not in told


def test_the_sweep_has_a_queue_of_its_own() -> None:
    """The sweep never waits behind batches, and is looked for first."""
    told = options()
    assert [queue.name for queue in told["task_queues"]] == [SWEEPS, BATCHES]
    assert told["task_routes"][SWEEP_TASK] == {"queue": SWEEPS}
    assert told["task_default_queue"] == BATCHES
    assert told["broker_transport_options"]["queue_order_strategy"] == "priority"


def test_beat_sends_the_sweep_alone() -> None:
    """Beat sends one task, as often as the settings say."""
    (entry,) = options(sweep_seconds=2)["beat_schedule"].values()
    assert (entry["task"], entry["schedule"]) == (SWEEP_TASK, 2)
    assert entry["options"] == {"queue": SWEEPS}


def test_no_message_expires() -> None:
    """No message carries an expiry: it is a time by the sender's clock, and a worker whose clock is ahead drops all."""
    told = options()
    app = Celery("tests", set_as_current=False)
    app.conf.update(told)
    for entry in told["beat_schedule"].values():
        message = app.amqp.as_task_v2("id", entry["task"], **entry["options"])
        assert message.headers["expires"] is None


ROOT = Path(__file__).parents[3]
MODULES = [path for name in ("tasks", "worker") for path in sorted((ROOT / name).rglob("*.py"))]
SENDERS = [str(path.relative_to(ROOT)) for path in MODULES if "celery" in path.read_text()]


@pytest.mark.parametrize("module", SENDERS)
def test_no_module_asks_for_an_expiry(module: str) -> None:
    """None of the modules that know Celery names an expiry, or another time at which a message is judged."""
    tree = ast.walk(ast.parse((ROOT / module).read_text()))
    named = {node.arg for node in tree if isinstance(node, ast.keyword)}
    assert named & {"expires", "eta", "countdown"} == set()


def test_an_idle_worker_finds_work() -> None:
    """No worker keeps messages in hand that another could work on."""
    told = options(concurrency=3)
    assert (told["worker_prefetch_multiplier"], told["worker_disable_prefetch"]) == (1, True)
    assert told["worker_concurrency"] == 3


def test_no_message_comes_twice_for_its_age() -> None:
    """A message is acknowledged when it is read, so that the visibility timeout brings none back."""
    assert options()["task_acks_late"] is False
    assert options("redis://r/1")["broker_transport_options"]["ack_emulation"] is False


def test_a_task_returns_long_before_it_is_ended() -> None:
    """The limits end only a child that stands still, the soft one first."""
    told = options()
    assert 10 * PATIENCE_S < told["task_soft_time_limit"] < told["task_time_limit"]


@pytest.mark.parametrize("broker", ["redis://r/1", "rediss://r/1"])
def test_redis_connections_do_not_hang(broker: str) -> None:
    """A connection that died is noticed."""
    told = options(broker)
    assert told["broker_transport_options"].keys() >= {"socket_timeout", "socket_keepalive", "health_check_interval"}
    assert told["worker_disable_prefetch"] is True
