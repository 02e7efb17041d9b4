"""The broker as Celery sees it: kombu's Redis transport, made to wait out a server that refuses."""

from typing import Any, TypeVar

from celery import Celery
from kombu.exceptions import OperationalError
from kombu.transport import TRANSPORT_ALIASES, redis

from config.celery_options import celery_options
from config.settings import Settings
from worker.redis_client.store import ResponseError

App = TypeVar("App", bound=Celery)


class Channel(redis.Channel):
    """Keeps the client it publishes with: as it comes, kombu builds one anew for every command."""

    _publisher: Any = None

    def _create_client(self, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002  # kombu's signature
        if asynchronous:
            return super()._create_client(asynchronous=True)  # type: ignore[misc]  # kombu carries no types
        if self._publisher is None or self._publisher.connection_pool is not self.pool:
            self._publisher = super()._create_client()  # type: ignore[misc]  # likewise
        return self._publisher

    def _connparams(self, *args: Any, **kwargs: Any) -> Any:  # kombu's own
        if self.connection is None:
            # Somebody closed it meanwhile; kombu stumbles over that as over a bug.
            raise ConnectionResetError("the connection to the broker was closed")
        return super()._connparams(*args, **kwargs)  # type: ignore[misc]  # likewise


class Transport(redis.Transport):
    """Takes a server that says no for one that is away: Celery then connects anew, with backoff.

    As it comes, a worker that is refused while it reads a message takes that for a bug, and exits. kombu's own commands
    are few and well known, so whatever the server says to one of them, it is the server's trouble.
    """

    Channel = Channel
    connection_errors = (*redis.Transport.connection_errors, ResponseError)


def configure(app: App, settings: Settings) -> App:
    """Give an application its options and our transport."""
    TRANSPORT_ALIASES.update(redis="worker.dispatch.broker:Transport", rediss="worker.dispatch.broker:Transport")
    app.conf.update(celery_options(settings))
    return app


def queue_depth(connection: Any, queue: str) -> int:
    """How many messages wait in a queue of the broker; 0 when there is no such queue yet.

    Raises OperationalError while the broker is away.
    """
    # Left to itself, opening a channel waits for an absent broker for ever.
    connection.ensure_connection(max_retries=1, timeout=3)
    try:
        # kombu's own way looks at the queues of four priorities, in a dozen commands; ours have one.
        return int(connection.default_channel.client.llen(queue))
    except connection.connection_errors as error:
        # An open connection that broke, or was refused, brings the driver's own error.
        connection.collect()
        raise OperationalError(str(error)) from error
    except connection.channel_errors:
        return 0
