"""`session.apps`: applications, which are groups of versions."""

from collections.abc import AsyncIterator
from typing import Unpack

from .._transport.client import Transport
from .._transport.options import CallOptions
from ..endpoints import APP, APPS, CREATE_APP, DELETE_APP, UPDATE_APP
from ..models._check import whole_number
from ..models.app import Application, Applications, AppRequest, AppUpdate
from ._in_use import OpenSession
from ._options import all_rows, body_and_call, call_options, page_query


class AppChanges(CallOptions, total=False):
    """The changes of `apps.update`, and `CallOptions`. The rest stays as it is.

    Attributes:
        name: a new name, of 3 to 64 characters.
        is_active: whether its versions can be deployed.
        image: a picture as base64 text.
    """

    name: str
    is_active: bool
    image: str


class Apps:
    """Applications. Every method takes `timeout`, seconds for the whole call, and raises
    `EdgegapError`.
    """

    def __init__(self, transport: Transport, session: OpenSession) -> None:
        self._transport, self._session = transport, session

    async def list(
        self,
        *,
        page: int | None = None,
        limit: int | None = None,
        **options: Unpack[CallOptions],
    ) -> Applications:
        """One page of the organization's applications (GET /v1/apps).

        Args:
            page, limit: which page, and rows per page, from 1. Not given: the API
                decides.
            timeout: seconds for the whole call.
        """
        return await self._transport.call(
            APPS, query=page_query(page, limit), **call_options(self.list, options)
        )

    def iterate(
        self, *, page_size: int = 100, **options: Unpack[CallOptions]
    ) -> AsyncIterator[Application]:
        """All applications, page by page, none of them twice (GET /v1/apps).

        Args:
            page_size: rows to ask for at once; the API may return fewer.
            timeout: seconds for each page.
        """
        whole_number("page_size", page_size, 1)
        call_options(self.iterate, options)

        async def ask(number: int) -> Applications:
            return await self.list(page=number, limit=page_size, **options)

        return all_rows(APPS, ask, lambda page: page.applications, lambda app: app.name)

    async def get(self, app_name: str, **options: Unpack[CallOptions]) -> Application:
        """One application (GET /v1/app/{app_name})."""
        return await self._transport.call(
            APP, {"app_name": app_name}, **call_options(self.get, options)
        )

    async def create(
        self,
        name: str,
        *,
        image: str,
        is_active: bool = True,
        **options: Unpack[CallOptions],
    ) -> Application:
        """Create an application (POST /v1/app). A request whose answer was lost is not
        sent again.

        Args:
            name: 3 to 64 characters.
            image: a picture as base64 text, which the API requires.
            is_active: whether its versions can be deployed.
            timeout: seconds for the whole call.

        Raises:
            Conflict: there is one with this name.
        """
        body = AppRequest(name, image, is_active)
        return await self._transport.call(
            CREATE_APP, body=body, **call_options(self.create, options)
        )

    async def update(self, app_name: str, **options: Unpack[AppChanges]) -> Application:
        """Change an application (PATCH /v1/app/{app_name}). A request whose answer was
        lost is not sent again.

        Args:
            name: a new name, of 3 to 64 characters.
            is_active: whether its versions can be deployed.
            image: a picture as base64 text.
            timeout: seconds for the whole call.

        Raises:
            Conflict: there is another one with the new name.
        """
        asked, call = body_and_call(self.update, options, AppUpdate)
        return await self._transport.call(
            UPDATE_APP, {"app_name": app_name}, body=asked, **call
        )

    async def delete(self, app_name: str, **options: Unpack[CallOptions]) -> None:
        """Delete an application and all its versions (DELETE /v1/app/{app_name})."""
        await self._transport.call(
            DELETE_APP, {"app_name": app_name}, **call_options(self.delete, options)
        )
