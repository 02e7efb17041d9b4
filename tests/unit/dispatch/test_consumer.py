"""Task events from the worker's parent to Flower: a few broker messages for many events."""

from typing import Any

from kombu import Connection
from kombu.asynchronous import Hub

from worker.dispatch import consumer
from worker.dispatch.consumer import Consumer


class Dispatcher:
    """Counts its flushes."""

    flushed = 0

    def flush(self) -> None:
        """As Celery's, which sends all buffered events."""
        self.flushed += 1


def a_consumer() -> Any:
    """A consumer with a hub and a dispatcher only."""
    construct: Any = Consumer.__new__(Consumer)
    construct.hub, construct.event_dispatcher = Hub(), Dispatcher()
    return construct


def fire_all(hub: Hub) -> None:
    """Fire every timer that is set."""
    while hub.timer.queue:
        hub.fire_timers()


def test_events_share_a_flush() -> None:
    """Events at about the same time cause one flush, and later ones another."""
    telling = a_consumer()
    for _ in range(20):
        telling.on_send_event_buffered()
    fire_all(telling.hub)
    assert telling.event_dispatcher.flushed == 1
    telling._flush_at = 0.0
    telling.on_send_event_buffered()
    fire_all(telling.hub)
    assert telling.event_dispatcher.flushed == 2


def test_a_lost_connection() -> None:
    """If the timers were lost with the connection, a later event sets a new one."""
    telling = a_consumer()
    telling.on_send_event_buffered()
    telling.hub.timer.clear()
    telling._flush_at -= consumer.EVENTS_WITHIN_S
    telling.on_send_event_buffered()
    fire_all(telling.hub)
    assert telling.event_dispatcher.flushed == 1


def test_the_last_events(monkeypatch: Any) -> None:
    """A worker that shuts down sends the buffered events before it disconnects."""
    telling, closed = a_consumer(), []
    telling.connection = Connection("memory://")
    monkeypatch.setattr(
        "celery.worker.consumer.Consumer.shutdown", lambda self: closed.append(self.event_dispatcher.flushed)
    )
    telling.shutdown()
    assert closed == [1]
