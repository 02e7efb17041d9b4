"""Links of a fallback chain, also with a broker that is unavailable when one is to be sent."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import Retry
from pydantic import SecretStr
from structlog.testing import capture_logs

from config.celery_options import BATCHES
from config.settings import Settings
from tasks.allocate import ALLOCATE_TASK, FALLBACK_TASKS, start_fallback
from tasks.work.messages import FellBack
from tests.factories.queues import AT_ONCE, application, depth
from tests.factories.shipments import GROUP, SERVICE, shipment
from worker.lab.embedded_server import free_port
from worker.processes.child import ChildRuntime


@pytest.fixture
def unavailable(settings: Settings) -> Iterator[Celery]:
    """An application whose broker is unavailable."""
    url = SecretStr(f"redis://127.0.0.1:{free_port()}/1")
    with application(
        settings.model_copy(update={"broker_url": url}),
        broker_connection_retry=False,
        task_publish_retry_policy=AT_ONCE,
    ) as app:
        yield app


def sent(app: Celery) -> list[str]:
    """The log lines about links that were not sent, when a chain is started."""
    with capture_logs() as logged:
        start_fallback(app, [FellBack(shipment(SERVICE, GROUP), "token")])
    return [line["task"] for line in logged if line["event"] == "link_not_sent"]


def test_a_link_is_sent(app: Celery) -> None:
    """With a broker, a chain starts with one message."""
    assert sent(app) == []
    assert depth(app, BATCHES) == 1


def test_a_link_that_cannot_be_sent(unavailable: Celery) -> None:
    """Without a broker one line is logged, and nothing is raised: the task before it has done its work."""
    assert sent(unavailable) == [FALLBACK_TASKS[SERVICE.name].name]


@pytest.mark.parametrize("name", [ALLOCATE_TASK, FALLBACK_TASKS[SERVICE.name].name])
async def test_a_message_is_requeued_as_often_as_needed(app: Celery, child: ChildRuntime, name: str) -> None:
    """A child reserved for an isolated shipment requeues messages, as often as it gets them."""
    vars(app)["runtime"] = child
    task: Any = app.tasks[name]
    here = {"delivery_info": {"routing_key": BATCHES}, "called_directly": False, "is_eager": False}

    def requeues_once() -> None:
        arguments: list[Any] = [] if name == ALLOCATE_TASK else [{"claims": []}]
        task.push_request(id="a", args=arguments, kwargs={}, retries=50, ignore_result=True, **here)
        try:
            task.run(*arguments)
        finally:
            task.pop_request()

    with child._in_flight.reserved(), pytest.raises(Retry):
        await asyncio.to_thread(requeues_once)
    assert depth(app, BATCHES) == 1
