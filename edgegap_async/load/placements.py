"""Where the servers of a load test run: their statuses say it, lists do not."""

import asyncio
from collections import Counter
from typing import NamedTuple

from ..errors import EdgegapError
from ..models.deployment import DeploymentStatus, ReadyDeployment
from ..models.location import Location
from ..session import EdgegapSession
from .report import Place

# Seconds between two servers that are asked for their place: a tenth of the documented
# limit for statuses.
EVERY = 0.5
# Seconds for each answer. The end of the test waits for it.
TIMEOUT = 5.0
# Places, at most. Edgegap has some hundred.
MOST = 2000


class _Spot(NamedTuple):
    city: str
    country: str
    latitude: float
    longitude: float


class Placements:
    """Counts servers by their place. Of those whose place is not known yet, it asks a
    sample.

    Args:
        session: asks for statuses (GET /v1/status).
    """

    def __init__(self, session: EdgegapSession) -> None:
        self._session = session
        self._counts = Counter[_Spot]()
        self._next = 0.0

    def add(self, server: ReadyDeployment, lives: asyncio.TaskGroup) -> None:
        """A server is READY.

        Args:
            lives: owns the task that asks.
        """
        now = asyncio.get_running_loop().time()
        if isinstance(server, DeploymentStatus) and server.location:
            self._count(server.location)
        elif now >= self._next:
            self._next = now + EVERY
            lives.create_task(self._ask(server.request_id))

    async def _ask(self, request_id: str) -> None:
        try:
            status = await self._session.deployments.status(request_id, timeout=TIMEOUT)
        except EdgegapError:
            # It may be stopped by now. It is one of many.
            return
        if status.location:
            self._count(status.location)

    def _count(self, location: Location) -> None:
        latitude, longitude = location.latitude, location.longitude
        if latitude is None or longitude is None:
            return
        if abs(latitude) > 90 or abs(longitude) > 180:
            return
        spot = _Spot(location.city or "", location.country or "", latitude, longitude)
        if spot in self._counts or len(self._counts) < MOST:
            self._counts[spot] += 1

    def places(self) -> list[Place]:
        """The places, that with most servers first."""
        return [
            Place(
                city=spot.city,
                country=spot.country,
                latitude=spot.latitude,
                longitude=spot.longitude,
                servers=count,
            )
            for spot, count in self._counts.most_common()
        ]
