"""The overview: health, and a row per merchant."""

from worker.processes.flower.overview_rows import merchant_rows
from worker.processes.flower.page import Page

FRESH_S = 1.0
"""How old the figures of a page may be."""

_SHOWN = 50
"""Merchants and problems that a page lists unless all are wanted."""


class OverviewPage(Page):
    """Problems on top, merchants below, the worst first."""

    async def get(self) -> None:
        """Arguments: `find`, a part of a merchant's name; `all`, to list every merchant and problem."""
        readings = await self.sources.readings.readings(FRESH_S)
        find, everything = self.query("find"), self.query("all") is not None
        found = [row for row in merchant_rows(readings) if find is None or find.lower() in row.name.lower()]
        rows = found if everything or find else [row for row in found if not row.is_idle][:_SHOWN]
        problems = sorted(readings.problems, key=lambda problem: problem.severity != "urgent")
        self.show(
            "overview.html",
            overview=readings.overview,
            problems=problems if everything else problems[:_SHOWN],
            more_problems=0 if everything else max(0, len(problems) - _SHOWN),
            rows=rows,
            hidden=len(found) - len(rows),
            find=find,
            is_healthy=not any(problem.severity == "urgent" for problem in problems),
        )
