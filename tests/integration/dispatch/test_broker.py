"""The broker's connection: a lost one is reported like an unavailable broker, and is opened again."""

from pathlib import Path

import pytest
from celery import Celery
from kombu.exceptions import OperationalError
from pydantic import SecretStr

from config.celery_options import BATCHES
from config.settings import Settings
from worker.dispatch.broker import configure, queue_depth
from worker.lab.embedded_server import EmbeddedServer


def test_a_lost_connection(tmp_path: Path) -> None:
    """Reading a queue's depth fails while the server is unavailable, and works again afterwards."""
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
