"""`session.tags`: the tags of a deployment. None of them reaches a container that
already runs.
"""

from collections.abc import AsyncIterator

from msgspec import UNSET

from .._limits.queue import Priority
from .._transport.client import Timeout, Transport
from ..endpoints import CREATE_TAG, DELETE_TAG, TAG, TAGS, UPDATE_TAG
from ..models._check import DeploymentId, whole_number
from ..models.tag import DeploymentTag, DeploymentTags, TagRequest
from ._in_use import OpenSession
from ._options import all_rows, page_query


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
        timeout: Timeout = UNSET,
        priority: Priority = "foreground",
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
            timeout=timeout,
            priority=priority,
        )

    def iterate(
        self,
        request_id: DeploymentId,
        *,
        page_size: int = 100,
        timeout: Timeout = UNSET,
        priority: Priority = "foreground",
    ) -> AsyncIterator[DeploymentTag]:
        """All tags of a deployment, page by page, none of them twice (GET
        /v1/deployments/{request_id}/tags).

        Args:
            page_size: rows to ask for at once; the API may return fewer, or all.
            timeout: seconds for each page.
        """
        whole_number("page_size", page_size, 1)

        async def ask(number: int) -> DeploymentTags:
            return await self.list(
                request_id,
                page=number,
                limit=page_size,
                timeout=timeout,
                priority=priority,
            )

        return all_rows(TAGS, ask, lambda page: page.tags, lambda row: row.name)

    async def get(
        self,
        request_id: DeploymentId,
        tag_name: str,
        *,
        timeout: Timeout = UNSET,
        priority: Priority = "foreground",
    ) -> DeploymentTag:
        """One tag of a deployment (GET /v1/deployments/{request_id}/tags/{tag_name})."""
        path_params = {"request_id": request_id, "tag_name": tag_name}
        return await self._transport.call(
            TAG, path_params, timeout=timeout, priority=priority
        )

    async def create(
        self,
        request_id: DeploymentId,
        name: str,
        *,
        timeout: Timeout = UNSET,
        priority: Priority = "foreground",
    ) -> DeploymentTag:
        """Give a deployment a tag of at most 40 characters (POST
        /v1/deployments/{request_id}/tags).
        """
        body = TagRequest(name)
        return await self._transport.call(
            CREATE_TAG,
            {"request_id": request_id},
            body=body,
            timeout=timeout,
            priority=priority,
        )

    async def update(
        self,
        request_id: DeploymentId,
        tag_name: str,
        *,
        name: str,
        timeout: Timeout = UNSET,
        priority: Priority = "foreground",
    ) -> DeploymentTag:
        """Rename a tag of a deployment to `name` (PATCH
        /v1/deployments/{request_id}/tags/{tag_name}).
        """
        path_params = {"request_id": request_id, "tag_name": tag_name}
        return await self._transport.call(
            UPDATE_TAG,
            path_params,
            body=TagRequest(name),
            timeout=timeout,
            priority=priority,
        )

    async def delete(
        self,
        request_id: DeploymentId,
        tag_name: str,
        *,
        timeout: Timeout = UNSET,
        priority: Priority = "foreground",
    ) -> None:
        """Take a tag from a deployment (DELETE
        /v1/deployments/{request_id}/tags/{tag_name}).
        """
        path_params = {"request_id": request_id, "tag_name": tag_name}
        await self._transport.call(
            DELETE_TAG, path_params, timeout=timeout, priority=priority
        )
