"""Celery options."""

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
    """Celery ignores misspelled options, so each is compared with the known ones."""
    assert options().keys() <= DEFAULTS.keys()


def test_messages_are_json_and_results_are_not_kept() -> None:
    """Only JSON is accepted, and no result is kept: the ledger is the source of truth."""
    configured = options()
    assert (configured["accept_content"], configured["task_serializer"], configured["task_ignore_result"]) == (
        ["json"],
        "json",
        True,
    )
    assert "result_backend" not in configured


def test_the_sweep_has_a_separate_queue() -> None:
    """The sweep never waits behind batches, and its queue is read first."""
    configured = options()
    assert [queue.name for queue in configured["task_queues"]] == [SWEEPS, BATCHES]
    assert configured["task_routes"][SWEEP_TASK] == {"queue": SWEEPS}
    assert configured["task_default_queue"] == BATCHES
    assert configured["broker_transport_options"]["queue_order_strategy"] == "priority"


def test_beat_sends_only_the_sweep() -> None:
    """Beat sends one task, at the interval in the settings."""
    (entry,) = options(sweep_seconds=2)["beat_schedule"].values()
    assert (entry["task"], entry["schedule"]) == (SWEEP_TASK, 2)
    assert entry["options"] == {"queue": SWEEPS}


def test_no_message_expires() -> None:
    """No message has an expiry: it is a time of the sender's clock, and a worker whose clock is ahead drops all."""
    configured = options()
    app = Celery("tests", set_as_current=False)
    app.conf.update(configured)
    for entry in configured["beat_schedule"].values():
        message = app.amqp.as_task_v2("id", entry["task"], **entry["options"])
        assert message.headers["expires"] is None


ROOT = Path(__file__).parents[3]
MODULES = [path for name in ("tasks", "worker") for path in sorted((ROOT / name).rglob("*.py"))]
SENDERS = [str(path.relative_to(ROOT)) for path in MODULES if "celery" in path.read_text()]


@pytest.mark.parametrize("module", SENDERS)
def test_no_module_sets_an_expiry(module: str) -> None:
    """No module that uses Celery sets an expiry, or another time that is compared with a clock."""
    tree = ast.walk(ast.parse((ROOT / module).read_text()))
    named = {node.arg for node in tree if isinstance(node, ast.keyword)}
    assert named & {"expires", "eta", "countdown"} == set()


def test_messages_are_not_prefetched() -> None:
    """No worker holds messages that another one could process."""
    configured = options(concurrency=3)
    assert (configured["worker_prefetch_multiplier"], configured["worker_disable_prefetch"]) == (1, True)
    assert configured["worker_concurrency"] == 3


def test_no_message_is_redelivered_for_its_age() -> None:
    """A message is acknowledged when it is read, so the visibility timeout never redelivers it."""
    assert options()["task_acks_late"] is False
    assert options("redis://r/1")["broker_transport_options"]["ack_emulation"] is False


def test_time_limits_exceed_the_duration_of_a_task() -> None:
    """The time limits end only a stalled child, the soft one first."""
    configured = options()
    assert 10 * PATIENCE_S < configured["task_soft_time_limit"] < configured["task_time_limit"]


@pytest.mark.parametrize("broker", ["redis://r/1", "rediss://r/1"])
def test_redis_connections_have_timeouts(broker: str) -> None:
    """A dead connection is detected."""
    configured = options(broker)
    assert configured["broker_transport_options"].keys() >= {
        "socket_timeout",
        "socket_keepalive",
        "health_check_interval",
    }
    assert configured["worker_disable_prefetch"] is True
