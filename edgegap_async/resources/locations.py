"""`session.locations`: where servers can run."""

from msgspec import UNSET

from .._limits.queue import Priority
from .._transport.client import Timeout, Transport
from ..endpoints import LOCATIONS
from ..models._check import optional_text
from ..models.location import Locations as LocationsAnswer
from ._in_use import OpenSession


class Locations:
    """Where servers can run."""

    def __init__(self, transport: Transport, session: OpenSession) -> None:
        self._transport, self._session = transport, session

    async def list(
        self,
        *,
        app: str | None = None,
        version: str | None = None,
        type: str | None = None,
        tags: bool | str | None = None,
        timeout: Timeout = UNSET,
        priority: Priority = "foreground",
    ) -> LocationsAnswer:
        """The locations that can be deployed to (GET /v1/locations).

        Args:
            app, version: only those with room for this version of this application.
            type: only those of this type.
            tags: True to have the tags of each in the answer.
            timeout: seconds for the whole call.

        Raises:
            EdgegapError: see the tree in `errors`.
        """
        query = {
            "app": optional_text("app", app),
            "version": optional_text("version", version),
            "type": optional_text("type", type),
            "tags": str(tags).lower()
            if isinstance(tags, bool)
            else optional_text("tags", tags),
        }
        return await self._transport.call(
            LOCATIONS, query=query, timeout=timeout, priority=priority
        )
