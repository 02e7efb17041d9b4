"""The broker's connection: one that broke is told like a broker that is away, and is opened again."""

from pathlib import Path

import pytest
from celery import Celery
from kombu.exceptions import OperationalError
from pydantic import SecretStr

from config.celery_options import BATCHES
from config.settings import Settings
from worker.dispatch.broker import configure, queue_depth
from worker.lab.embedded_server import EmbeddedServer


def test_a_connection_that_broke(tmp_path: Path) -> None:
    """A queue's depth cannot be told over a connection whose server is gone, and can be when the server is back."""
    server = EmbeddedServer(tmp_path)
    server.start()
    settings = Settings(_env_file=None, redis_url=SecretStr(server.url))
    app = configure(Celery("test-broker"), settings)
    try:
        with app.pool.acquire(block=True, timeout=5) as connection:
            assert queue_depth(connection, BATCHES) == 0
            server.kill()
            with pytest.raises(OperationalError):
                queue_depth(connection, BATCHES)
            server.start()
            assert queue_depth(connection, BATCHES) == 0
    finally:
        app.close()
        server.kill()
