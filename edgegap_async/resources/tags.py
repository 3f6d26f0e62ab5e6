"""`session.tags`: the tags of a deployment. None of them reaches a container that
already runs.
"""

from collections.abc import AsyncIterator
from typing import Unpack

from .._transport.client import Transport
from .._transport.options import CallOptions
from ..endpoints import CREATE_TAG, DELETE_TAG, TAG, TAGS, UPDATE_TAG
from ..models._check import DeploymentId, whole_number
from ..models.tag import DeploymentTag, DeploymentTags, TagRequest
from ._in_use import OpenSession
from ._options import all_rows, call_options, page_query


class Tags:
    """Tags of deployments. Every method takes `timeout`, seconds for the whole call,
    and raises `EdgegapError`.
    """

    def __init__(self, transport: Transport, session: OpenSession) -> None:
        self._transport, self._session = transport, session

    async def list(
        self,
        request_id: DeploymentId,
        *,
        page: int | None = None,
        limit: int | None = None,
        **options: Unpack[CallOptions],
    ) -> DeploymentTags:
        """The tags of a deployment (GET /v1/deployments/{request_id}/tags): all of them,
        or a page, if the API pages them.

        Args:
            page, limit: which page, and rows per page, from 1. Not given: the API
                decides.
            timeout: seconds for the whole call.
        """
        return await self._transport.call(
            TAGS,
            {"request_id": request_id},
            query=page_query(page, limit),
            **call_options(self.list, options),
        )

    def iterate(
        self,
        request_id: DeploymentId,
        *,
        page_size: int = 100,
        **options: Unpack[CallOptions],
    ) -> AsyncIterator[DeploymentTag]:
        """All tags of a deployment, page by page, none of them twice (GET
        /v1/deployments/{request_id}/tags).

        Args:
            page_size: rows to ask for at once; the API may return fewer, or all.
            timeout: seconds for each page.
        """
        whole_number("page_size", page_size, 1)
        call_options(self.iterate, options)

        async def ask(number: int) -> DeploymentTags:
            return await self.list(
                request_id,
                page=number,
                limit=page_size,
                **options,
            )

        return all_rows(TAGS, ask, lambda page: page.tags, lambda row: row.name)

    async def get(
        self,
        request_id: DeploymentId,
        tag_name: str,
        **options: Unpack[CallOptions],
    ) -> DeploymentTag:
        """One tag of a deployment (GET /v1/deployments/{request_id}/tags/{tag_name})."""
        path_params = {"request_id": request_id, "tag_name": tag_name}
        return await self._transport.call(
            TAG, path_params, **call_options(self.get, options)
        )

    async def create(
        self,
        request_id: DeploymentId,
        name: str,
        **options: Unpack[CallOptions],
    ) -> DeploymentTag:
        """Give a deployment a tag of at most 40 characters (POST
        /v1/deployments/{request_id}/tags).
        """
        body = TagRequest(name)
        return await self._transport.call(
            CREATE_TAG,
            {"request_id": request_id},
            body=body,
            **call_options(self.create, options),
        )

    async def update(
        self,
        request_id: DeploymentId,
        tag_name: str,
        *,
        name: str,
        **options: Unpack[CallOptions],
    ) -> DeploymentTag:
        """Rename a tag of a deployment to `name` (PATCH
        /v1/deployments/{request_id}/tags/{tag_name}).
        """
        path_params = {"request_id": request_id, "tag_name": tag_name}
        return await self._transport.call(
            UPDATE_TAG,
            path_params,
            body=TagRequest(name),
            **call_options(self.update, options),
        )

    async def delete(
        self,
        request_id: DeploymentId,
        tag_name: str,
        **options: Unpack[CallOptions],
    ) -> None:
        """Take a tag from a deployment (DELETE
        /v1/deployments/{request_id}/tags/{tag_name}).
        """
        path_params = {"request_id": request_id, "tag_name": tag_name}
        await self._transport.call(
            DELETE_TAG, path_params, **call_options(self.delete, options)
        )
