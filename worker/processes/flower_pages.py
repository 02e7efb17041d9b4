"""What this project adds to Flower's server: metrics, behind the same login."""

import tornado.web
from flower.urls import handlers
from flower.views import BaseHandler

from config.settings import Settings
from worker.observability.metrics import CONTENT_TYPE
from worker.processes.metrics import PATH, MetricsSource
from worker.redis_client.store import RedisError, Store, connect


class Sources:
    """The source that all requests share. Its connections belong to Flower's event loop, so it is created there."""

    def __init__(self, settings: Settings) -> None:
        """Connects nothing yet."""
        self._settings = settings
        self._metrics: MetricsSource | None = None

    def metrics(self) -> MetricsSource:
        """The source of metrics."""
        if self._metrics is None:
            self._metrics = MetricsSource(Store(connect(self._settings)), self._settings)
        return self._metrics


class MetricsPage(BaseHandler):  # type: ignore[misc]  # Flower carries no types
    """The metrics."""

    def initialize(self, sources: Sources) -> None:
        """Tornado's way to pass arguments to a handler."""
        self._sources = sources

    @tornado.web.authenticated
    async def get(self) -> None:
        """Respond with the metrics; 503 while the server is unavailable."""
        try:
            text = await self._sources.metrics().text()
        except (RedisError, OSError):
            self.set_status(503)
            self.finish("no response from Redis\n")
            return
        self.set_header("Content-Type", CONTENT_TYPE)
        self.finish(text)


def install(settings: Settings) -> None:
    """Add the pages to Flower's, before its last one, which matches any path."""
    handlers.insert(0, tornado.web.url(PATH, MetricsPage, {"sources": Sources(settings)}, name="allocation_metrics"))
