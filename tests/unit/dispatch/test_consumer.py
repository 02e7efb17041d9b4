"""How the worker's parent tells Flower of its tasks: a few messages to the broker for many events."""

from typing import Any

from kombu import Connection
from kombu.asynchronous import Hub

from worker.dispatch import consumer
from worker.dispatch.consumer import Consumer


class Dispatcher:
    """Counts how often it was flushed."""

    flushed = 0

    def flush(self) -> None:
        """As Celery's, which sends all that has gathered."""
        self.flushed += 1


def a_consumer() -> Any:
    """One that has a loop and a dispatcher, and nothing to consume."""
    construct: Any = Consumer.__new__(Consumer)
    construct.hub, construct.event_dispatcher = Hub(), Dispatcher()
    return construct


def fire_all(hub: Hub) -> None:
    """Let every timer ring that was set."""
    while hub.timer.queue:
        hub.fire_timers()


def test_events_go_together() -> None:
    """Any number of events at about the same time make one flush, and later ones another."""
    telling = a_consumer()
    for _ in range(20):
        telling.on_send_event_buffered()
    fire_all(telling.hub)
    assert telling.event_dispatcher.flushed == 1
    telling._flush_at = 0.0
    telling.on_send_event_buffered()
    fire_all(telling.hub)
    assert telling.event_dispatcher.flushed == 2


def test_a_connection_that_was_lost() -> None:
    """When the timers were lost with the connection, the next event after a moment sets a new one."""
    telling = a_consumer()
    telling.on_send_event_buffered()
    telling.hub.timer.clear()
    telling._flush_at -= consumer.EVENTS_WITHIN_S
    telling.on_send_event_buffered()
    fire_all(telling.hub)
    assert telling.event_dispatcher.flushed == 1


def test_the_last_events(monkeypatch: Any) -> None:
    """A worker that ends sends what has gathered before it closes."""
    telling, closed = a_consumer(), []
    telling.connection = Connection("memory://")
    monkeypatch.setattr(
        "celery.worker.consumer.Consumer.shutdown", lambda self: closed.append(self.event_dispatcher.flushed)
    )
    telling.shutdown()
    assert closed == [1]
