"""`session.tags`: the tags of a deployment. None of them reaches a container that
already runs.
"""

from msgspec import UNSET

from .._limits.queue import Priority
from .._transport.client import Timeout, Transport
from ..endpoints import CREATE_TAG, DELETE_TAG, TAG, TAGS, UPDATE_TAG
from ..models.tag import DeploymentTag, DeploymentTags, TagRequest
from ._in_use import OpenSession


class Tags:
    """Tags of deployments. Every method takes `timeout`, seconds for the whole call,
    and raises `EdgegapError`.
    """

    def __init__(self, transport: Transport, session: OpenSession) -> None:
        self._transport, self._session = transport, session

    async def list(
        self,
        request_id: str,
        *,
        timeout: Timeout = UNSET,
        priority: Priority = "foreground",
    ) -> DeploymentTags:
        """The tags of a deployment (GET /v1/deployments/{request_id}/tags)."""
        return await self._transport.call(
            TAGS, {"request_id": request_id}, timeout=timeout, priority=priority
        )

    async def get(
        self,
        request_id: str,
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
        request_id: str,
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
        request_id: str,
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
        request_id: str,
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
