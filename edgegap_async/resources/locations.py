"""`session.locations`: where servers can run, and what players can ping there."""

from collections.abc import AsyncIterator
from typing import Unpack

from .._transport.client import Transport
from .._transport.options import CallOptions
from ..endpoints import BEACONS, LOCATIONS
from ..models._check import optional_switch, optional_text, whole_number
from ..models.location import AvailableLocation, PingBeacon, PingBeacons
from ..models.location import Locations as LocationsAnswer
from ._in_use import OpenSession
from ._options import all_rows, call_options, page_query


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
        page: int | None = None,
        limit: int | None = None,
        **options: Unpack[CallOptions],
    ) -> LocationsAnswer:
        """The locations that can be deployed to (GET /v1/locations): all of them, or a
        page, if the API pages them.

        Args:
            app, version: only those with room for this version of this application.
            type: only those of this type.
            tags: True to have the tags of each in the answer.
            page, limit: which page, and rows per page, from 1. Not given: the API
                decides.
            timeout: seconds for the whole call.

        Raises:
            EdgegapError: see the tree in `errors`.
        """
        query = {
            "app": optional_text("app", app),
            "version": optional_text("version", version),
            "type": optional_text("type", type),
            "tags": optional_switch("tags", tags, "a text of the API's own"),
            **page_query(page, limit),
        }
        return await self._transport.call(
            LOCATIONS, query=query, **call_options(self.list, options)
        )

    def iterate(
        self,
        *,
        app: str | None = None,
        version: str | None = None,
        type: str | None = None,
        tags: bool | str | None = None,
        page_size: int = 100,
        **options: Unpack[CallOptions],
    ) -> AsyncIterator[AvailableLocation]:
        """All locations that can be deployed to, page by page, none of them twice (GET
        /v1/locations).

        Args:
            app, version, type, tags: as for `list`.
            page_size: rows to ask for at once; the API may return fewer, or all.
            timeout: seconds for each page.
        """
        whole_number("page_size", page_size, 1)
        call_options(self.iterate, options)

        async def ask(number: int) -> LocationsAnswer:
            return await self.list(
                app=app,
                version=version,
                type=type,
                tags=tags,
                page=number,
                limit=page_size,
                **options,
            )

        # A location has no ID.
        return all_rows(LOCATIONS, ask, lambda page: page.locations, lambda row: row)

    async def beacons(
        self,
        *,
        page: int | None = None,
        limit: int | None = None,
        **options: Unpack[CallOptions],
    ) -> PingBeacons:
        """The ping beacons that are active, or a page of them (GET
        /v1/locations/beacons). A game client pings them, and its matchmaker places
        players by what they have measured.

        Args:
            page, limit: which page, and rows per page, from 1. Not given: the API
                decides.
            timeout: seconds for the whole call.

        Raises:
            EdgegapError: see the tree in `errors`.
        """
        return await self._transport.call(
            BEACONS,
            query=page_query(page, limit),
            **call_options(self.beacons, options),
        )

    def iterate_beacons(
        self, *, page_size: int = 100, **options: Unpack[CallOptions]
    ) -> AsyncIterator[PingBeacon]:
        """All ping beacons that are active, page by page, none of them twice (GET
        /v1/locations/beacons).

        Args:
            page_size: rows to ask for at once; the API may return fewer, or all.
            timeout: seconds for each page.
        """
        whole_number("page_size", page_size, 1)
        call_options(self.iterate_beacons, options)

        async def ask(number: int) -> PingBeacons:
            return await self.beacons(page=number, limit=page_size, **options)

        return all_rows(
            BEACONS, ask, lambda page: page.locations, lambda beacon: beacon.host
        )
