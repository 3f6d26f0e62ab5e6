"""Sends a deploy, under the path that the API serves it at."""

import asyncio
from typing import Generic, TypeVar

from ._endpoint import Endpoint
from ._lanes import Priority
from ._request import Voyage
from ._transport import Transport
from .errors import ApiError, EdgegapError, UnexpectedAnswer
from .models.deploy import DeploymentAccepted, DeployRequest

# what a path that was renamed is answered
NOT_HERE = (404, 405)

D = TypeVar("D", bound=DeployRequest)


class Posting(Generic[D]):
    """A row that starts servers. Where its path is answered 404 or 405 and the row was
    renamed, the newer one is tried once, and used from then on if it answers otherwise;
    if both say so, the first error is raised.
    """

    def __init__(self, row: Endpoint[D, DeploymentAccepted]) -> None:
        self._row = row

    async def send(
        self,
        transport: Transport,
        body: D,
        *,
        timeout: float | None,
        priority: Priority,
        voyage: Voyage | None = None,
    ) -> DeploymentAccepted:
        """Send it; `timeout` in seconds."""
        started = asyncio.get_running_loop().time()
        row = self._row
        try:
            return await transport.call(
                row, body=body, timeout=timeout, priority=priority, voyage=voyage
            )
        except ApiError as error:
            if row.renamed is None or error.status not in NOT_HERE:
                raise
            first, newer = error, row.renamed
        left = timeout
        if timeout is not None:
            left = max(timeout - (asyncio.get_running_loop().time() - started), 0.001)
        try:
            accepted = await transport.call(
                newer, body=body, timeout=left, priority=priority, voyage=voyage
            )
        except EdgegapError as error:
            if isinstance(error, ApiError) and error.status in NOT_HERE:
                raise first from None
            if isinstance(error.__cause__ or error, ApiError | UnexpectedAnswer):
                # it is there, whatever it says
                self._row = newer
            raise
        self._row = newer
        return accepted
