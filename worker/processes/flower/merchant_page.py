"""Not written yet."""

from worker.processes.flower.page import Page


class MerchantPage(Page):
    """Not written yet."""

    async def get(self, *_: str) -> None:
        """Respond."""
        self.show("error.html", status=501, message="")
