"""Celery's broker: kombu's Redis transport, which retries when the server refuses."""

from typing import Any, TypeVar

from celery import Celery
from kombu.exceptions import OperationalError
from kombu.transport import TRANSPORT_ALIASES, redis

from config.celery_options import BATCHES, SWEEPS, celery_options
from config.settings import Settings
from config.urls import server_address
from tasks import allocate
from worker.redis_client.store import ResponseError

App = TypeVar("App", bound=Celery)

_PATIENCE_S = 3


class Channel(redis.Channel):
    """Keeps its publishing client; kombu creates one per command."""

    _publisher: Any = None

    def _create_client(self, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002  # kombu's signature
        if asynchronous:
            return super()._create_client(asynchronous=True)  # type: ignore[misc]  # kombu carries no types
        if self._publisher is None or self._publisher.connection_pool is not self.pool:
            self._publisher = super()._create_client()  # type: ignore[misc]  # likewise
        return self._publisher

    def _connparams(self, *args: Any, **kwargs: Any) -> Any:  # kombu's own
        if self.connection is None:
            # Closed meanwhile; kombu would raise an AttributeError.
            raise ConnectionResetError("the connection to the broker was closed")
        return super()._connparams(*args, **kwargs)  # type: ignore[misc]  # likewise


class Transport(redis.Transport):
    """Treats a server that refuses as unavailable: Celery then reconnects with backoff.

    By default a worker exits when a command is refused while it reads messages. kombu's commands are few and known,
    so an error is always the server's.
    """

    Channel = Channel
    connection_errors = (*redis.Transport.connection_errors, ResponseError)


def configure(app: App, settings: Settings) -> App:
    """Set an application's options and transport."""
    transport = f"{Transport.__module__}:{Transport.__qualname__}"
    TRANSPORT_ALIASES.update(redis=transport, rediss=transport)
    app.conf.update(celery_options(settings), include=[allocate.__name__])
    return app


def queue_depths(app: Celery, settings: Settings) -> dict[str, int] | str:
    """How many messages wait in each queue, or why that is unknown."""
    try:
        with app.connection_for_read() as connection:
            # The default retries forever.
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=_PATIENCE_S)
            return {queue: queue_depth(connection, queue) for queue in (BATCHES, SWEEPS)}
    except (OperationalError, OSError) as error:
        return f"no response from {server_address(settings.broker)}: {error}"


def queue_depth(connection: Any, queue: str) -> int:
    """The number of messages in a queue of the broker; 0 if it does not exist yet.

    Raises OperationalError while the broker is unavailable.
    """
    # By default, opening a channel waits for an unavailable broker forever.
    connection.ensure_connection(max_retries=1, timeout=3)
    try:
        # kombu's method reads the queues of four priorities, in a dozen commands; ours have one.
        return int(connection.default_channel.client.llen(queue))
    except connection.connection_errors as error:
        # A broken or refused connection raises the driver's own error.
        connection.collect()
        raise OperationalError(str(error)) from error
    except connection.channel_errors:
        return 0
