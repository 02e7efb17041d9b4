"""Celery queues on the test server, without a worker."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery import Celery
from kombu import pools

from config.settings import Settings
from worker.dispatch.broker import configure, queue_depth

AT_ONCE = {"max_retries": 1, "interval_start": 0, "interval_step": 0}
"""Transport options: an unavailable broker is reported at once."""


@contextmanager
def application(settings: Settings, **options: Any) -> Iterator[Celery]:
    """An application for the broker of the settings; `options`: more Celery options."""
    app = configure(Celery("tests", set_as_current=False), settings)
    app.conf.update(options)
    try:
        yield app
    finally:
        _connections(app).force_close_all()
        pools.reset()
        app.close()


def _connections(app: Celery) -> Any:
    """Celery's connection pool; its stubs declare a pool of producers."""
    return app.pool


def depth(app: Celery, queue: str) -> int:
    """Number of messages in a queue."""
    with _connections(app).acquire(block=True) as connection:
        return queue_depth(connection, queue)


def drain_links(app: Celery, queue: str) -> list[dict[str, Any]]:
    """Remove all chain links from a queue; returns their arguments."""
    found = []
    with _connections(app).acquire(block=True) as connection:
        while message := connection.default_channel.basic_get(queue, no_ack=True):
            arguments, *_ = message.decode()
            found += arguments
    return found


def drain(app: Celery, queue: str) -> list[dict[str, Any]]:
    """Remove all messages from a queue; returns their keyword arguments."""
    found = []
    with _connections(app).acquire(block=True) as connection:
        while message := connection.default_channel.basic_get(queue, no_ack=True):
            _, keywords, _ = message.decode()
            found.append(keywords)
    return found
