"""`session.registry`: the tags of images in Edgegap's container registry."""

from collections.abc import AsyncIterator, Sequence
from typing import Unpack, cast

from .._transport.client import Transport
from .._transport.options import CallOptions
from ..endpoints import DELETE_IMAGE_TAG, DELETE_IMAGE_TAGS, IMAGE_TAGS
from ..models._check import whole_number
from ..models.registry import (
    ImageTag,
    ImageTagDeleted,
    ImageTags,
    ImageTagsDeleted,
    ImageTagsRequest,
)
from ._in_use import OpenSession
from ._options import all_rows, call_options, page_query


class Registry:
    """Edgegap's container registry. The name of an image has its project, such as
    `my-org-cv2l3w3vy6fg/my-game-server`. Every method takes `timeout`, seconds for the
    whole call, and raises `EdgegapError`.
    """

    def __init__(self, transport: Transport, session: OpenSession) -> None:
        self._transport, self._session = transport, session

    async def tags(
        self,
        image_name: str,
        *,
        page: int | None = None,
        limit: int | None = None,
        **options: Unpack[CallOptions],
    ) -> ImageTags:
        """One page of the tags of an image (GET
        /v1/container-registry/images/{image_name}/tags).

        Args:
            page, limit: which page, and rows per page, from 1. Not given: the API
                decides.
            timeout: seconds for the whole call.
        """
        return await self._transport.call(
            IMAGE_TAGS,
            {"image_name": image_name},
            query=page_query(page, limit),
            **call_options(self.tags, options),
        )

    def iterate_tags(
        self, image_name: str, *, page_size: int = 100, **options: Unpack[CallOptions]
    ) -> AsyncIterator[ImageTag]:
        """All tags of an image, page by page, none of them twice (GET
        /v1/container-registry/images/{image_name}/tags). Collect them before you delete
        any, as a deletion moves the rows of later pages.

        Args:
            page_size: rows to ask for at once; the API may return fewer.
            timeout: seconds for each page.
        """
        whole_number("page_size", page_size, 1)
        call_options(self.iterate_tags, options)

        async def ask(number: int) -> ImageTags:
            return await self.tags(image_name, page=number, limit=page_size, **options)

        return all_rows(IMAGE_TAGS, ask, lambda page: page.data, lambda it: it.tag)

    async def delete_tag(
        self, image_name: str, tag_name: str, **options: Unpack[CallOptions]
    ) -> ImageTagDeleted:
        """Delete a tag and its build (DELETE
        /v1/container-registry/images/{image_name}/tags/{tag_name}). The answer says
        whether the build was deleted. Deploys of versions that use it may fail from then
        on.
        """
        return await self._transport.call(
            DELETE_IMAGE_TAG,
            {"image_name": image_name, "tag_name": tag_name},
            **call_options(self.delete_tag, options),
        )

    async def delete_tags(
        self, image_name: str, tags: Sequence[str], **options: Unpack[CallOptions]
    ) -> ImageTagsDeleted:
        """Delete several tags (POST
        /v1/container-registry/images/{image_name}/tags/bulk-delete). It raises nothing if
        some or all can't be deleted: see `results` and `summary` of the answer. A request
        whose answer was lost is not sent again.

        Args:
            tags: at least one.
            timeout: seconds for the whole call.
        """
        return await self._transport.call(
            DELETE_IMAGE_TAGS,
            {"image_name": image_name},
            body=ImageTagsRequest(cast("tuple[str, ...]", tags)),
            **call_options(self.delete_tags, options),
        )
