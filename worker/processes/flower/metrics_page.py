"""The metrics."""

from worker.observability.metrics import CONTENT_TYPE
from worker.processes.flower.page import Page
from worker.redis_client.store import RedisError


class MetricsPage(Page):
    """Prometheus text."""

    async def get(self) -> None:
        """Respond with the metrics; 503 while the server is unavailable."""
        try:
            text = await self.sources.readings.metrics()
        except (RedisError, OSError):
            self.set_status(503)
            self.finish("no response from Redis\n")
            return
        self.set_header("Content-Type", CONTENT_TYPE)
        self.finish(text)
