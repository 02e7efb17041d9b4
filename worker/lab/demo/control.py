"""The demo's HTTP client for the control endpoints of the simulated API."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import aiohttp

from worker.lab.demo.scene import Scene


class Control:
    """The `/_sandbox` endpoints of the simulated API."""

    def __init__(self, http: aiohttp.ClientSession, api: str) -> None:
        """`api`: its address, without a path."""
        self._http = http
        self._control = f"{api}/_sandbox"

    async def prepare(self, scenes: Sequence[Scene]) -> None:
        """Describe the parcels and the faults to the API."""
        parcels = [parcel.as_described() for scene in scenes if scene.order for parcel in scene.order.parcels]
        faults = [dict(fault) for scene in scenes for fault in scene.faults]
        for what, described in (("shipments", parcels), ("faults", faults)):
            async with self._http.post(f"{self._control}/{what}", json=described) as response:
                response.raise_for_status()

    async def counts(self) -> dict[str, Any]:
        """The API's own counts; docs/sandbox.md documents them."""
        async with self._http.get(f"{self._control}/counts") as response:
            response.raise_for_status()
            counted: dict[str, Any] = await response.json()
            return counted

    async def calls(self) -> int:
        """How many calls and read-backs the API has received."""
        counts = await self.counts()
        return int(counts["puts"]) + int(counts["reads"])


async def responds(http: aiohttp.ClientSession, url: str) -> bool:
    """Whether a GET returns 200; false while nothing listens."""
    try:
        async with http.get(url) as response:
            return response.status == HTTPStatus.OK
    except aiohttp.ClientConnectionError:
        return False
