"""Where the servers of a load test run: their statuses say it, lists do not."""

import asyncio
from collections import Counter
from typing import NamedTuple

from ..errors import EdgegapError
from ..models.deployment import DeploymentStatus, ReadyDeployment
from ..models.location import Location
from ..session import EdgegapSession
from .report import LocationCount

# Seconds between two servers that are asked for their location: a tenth of the documented
# limit for statuses.
EVERY = 0.5
# Seconds for each answer. The end of the test waits for it.
TIMEOUT = 5.0
# Locations, at most. Edgegap has some hundred.
MOST = 2000


class _LocationKey(NamedTuple):
    city: str
    country: str
    latitude: float
    longitude: float


class Placements:
    """Counts servers by their location. Of those whose location is not known yet, it asks a
    sample.

    Args:
        session: asks for statuses (GET /v1/status).
    """

    def __init__(self, session: EdgegapSession) -> None:
        self._session = session
        self._counts = Counter[_LocationKey]()
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
        key = _LocationKey(
            location.city or "", location.country or "", latitude, longitude
        )
        if key in self._counts or len(self._counts) < MOST:
            self._counts[key] += 1

    def locations(self) -> list[LocationCount]:
        """The locations, that with most servers first."""
        return [
            LocationCount(
                city=key.city,
                country=key.country,
                latitude=key.latitude,
                longitude=key.longitude,
                servers=count,
            )
            for key, count in self._counts.most_common()
        ]
