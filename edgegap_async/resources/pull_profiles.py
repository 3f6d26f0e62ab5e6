"""`session.pull_profiles`: what containers get from an endpoint storage when they start."""

from collections.abc import AsyncIterator
from typing import Unpack

from .._transport.client import Transport
from .._transport.options import CallOptions
from ..endpoints import (
    CREATE_PULL_PROFILE,
    DELETE_PULL_PROFILE,
    LINK_PULL_PROFILE,
    PULL_PROFILE,
    PULL_PROFILES,
    UNLINK_PULL_PROFILE,
    UPDATE_PULL_PROFILE,
)
from ..models._check import whole_number
from ..models.pull_profile import (
    PullProfile,
    PullProfileLink,
    PullProfilePage,
    PullProfileRequest,
    PullProfileUpdate,
    SourceType,
)
from ._in_use import OpenSession
from ._options import all_rows, body_and_call, call_options, page_query


class PullProfileChanges(CallOptions, total=False):
    """The changes of `pull_profiles.update`, and `CallOptions`. The rest stays as it is.

    Attributes:
        name: a new name.
        source: the path in the bucket.
        source_type: of the source, File or Folder.
        destination: the path in the container.
    """

    name: str
    source: str
    source_type: SourceType
    destination: str


class PullProfiles:
    """Pull profiles of endpoint storages: a file or a folder that Edgegap copies from the
    bucket into containers when they start. Only the deployments of versions that are
    linked to a profile get its files. Every method takes `timeout`, seconds for the
    whole call, and raises `EdgegapError`.
    """

    def __init__(self, transport: Transport, session: OpenSession) -> None:
        self._transport, self._session = transport, session

    async def list(
        self,
        endpoint_name: str,
        *,
        page: int | None = None,
        limit: int | None = None,
        **options: Unpack[CallOptions],
    ) -> PullProfilePage:
        """One page of the pull profiles of a storage (GET
        /v1/storage/endpoint/{endpoint_name}/pull-profiles).

        Args:
            endpoint_name: the name of the storage.
            page, limit: which page, and rows per page, from 1. Not given: the API
                decides.
            timeout: seconds for the whole call.
        """
        return await self._transport.call(
            PULL_PROFILES,
            {"endpoint_name": endpoint_name},
            query=page_query(page, limit),
            **call_options(self.list, options),
        )

    def iterate(
        self,
        endpoint_name: str,
        *,
        page_size: int = 100,
        **options: Unpack[CallOptions],
    ) -> AsyncIterator[PullProfile]:
        """All pull profiles of a storage, page by page, none of them twice (GET
        /v1/storage/endpoint/{endpoint_name}/pull-profiles).

        Args:
            endpoint_name: the name of the storage.
            page_size: rows to ask for at once; the API may return fewer.
            timeout: seconds for each page.
        """
        whole_number("page_size", page_size, 1)
        call_options(self.iterate, options)

        async def ask(number: int) -> PullProfilePage:
            return await self.list(
                endpoint_name, page=number, limit=page_size, **options
            )

        return all_rows(
            PULL_PROFILES, ask, lambda page: page.pull_profiles, lambda it: it.name
        )

    async def get(
        self,
        endpoint_name: str,
        pull_profile_name: str,
        **options: Unpack[CallOptions],
    ) -> PullProfile:
        """One pull profile (GET
        /v1/storage/endpoint/{endpoint_name}/pull-profile/{pull_profile_name}).
        """
        return await self._transport.call(
            PULL_PROFILE,
            _named(endpoint_name, pull_profile_name),
            **call_options(self.get, options),
        )

    async def create(
        self,
        endpoint_name: str,
        name: str,
        *,
        source: str,
        source_type: SourceType,
        destination: str,
        **options: Unpack[CallOptions],
    ) -> PullProfile:
        """Create a pull profile (POST /v1/storage/endpoint/{endpoint_name}/pull-profile).
        A request whose answer was lost is not sent again.

        Args:
            endpoint_name: the name of the storage.
            source: the path in the bucket.
            source_type: of the source, File or Folder.
            destination: the path in the container. A normal user must be able to write
                there: with a protected one, such as `/etc/`, deployments fail.
            timeout: seconds for the whole call.
        """
        body = PullProfileRequest(
            name=name, source=source, source_type=source_type, destination=destination
        )
        return await self._transport.call(
            CREATE_PULL_PROFILE,
            {"endpoint_name": endpoint_name},
            body=body,
            **call_options(self.create, options),
        )

    async def update(
        self,
        endpoint_name: str,
        pull_profile_name: str,
        **options: Unpack[PullProfileChanges],
    ) -> PullProfile:
        """Change a pull profile (PATCH
        /v1/storage/endpoint/{endpoint_name}/pull-profile/{pull_profile_name}). A request
        whose answer was lost is not sent again.

        Args:
            name: a new name.
            source: the path in the bucket.
            source_type: of the source, File or Folder.
            destination: the path in the container.
            timeout: seconds for the whole call.
        """
        asked, call = body_and_call(self.update, options, PullProfileUpdate)
        return await self._transport.call(
            UPDATE_PULL_PROFILE,
            _named(endpoint_name, pull_profile_name),
            body=asked,
            **call,
        )

    async def delete(
        self,
        endpoint_name: str,
        pull_profile_name: str,
        **options: Unpack[CallOptions],
    ) -> None:
        """Delete a pull profile (DELETE
        /v1/storage/endpoint/{endpoint_name}/pull-profile/{pull_profile_name}). The
        storage and its bucket stay.
        """
        await self._transport.call(
            DELETE_PULL_PROFILE,
            _named(endpoint_name, pull_profile_name),
            **call_options(self.delete, options),
        )

    async def link(
        self,
        endpoint_name: str,
        pull_profile_name: str,
        app_name: str,
        version_name: str,
        **options: Unpack[CallOptions],
    ) -> PullProfileLink:
        """Link a pull profile to a version of an application, whose later deployments get
        the files (PUT
        /v1/storage/endpoint/{endpoint_name}/pull-profile/{pull_profile_name}/app/{app_name}/version/{version_name}).
        A request whose answer was lost is not sent again.
        """
        return await self._transport.call(
            LINK_PULL_PROFILE,
            {
                **_named(endpoint_name, pull_profile_name),
                "app_name": app_name,
                "version_name": version_name,
            },
            **call_options(self.link, options),
        )

    async def unlink(
        self,
        endpoint_name: str,
        pull_profile_name: str,
        app_name: str,
        version_name: str,
        **options: Unpack[CallOptions],
    ) -> None:
        """Unlink a pull profile from a version of an application (DELETE
        /v1/storage/endpoint/{endpoint_name}/pull-profile/{pull_profile_name}/app/{app_name}/version/{version_name}).
        The profile stays.
        """
        await self._transport.call(
            UNLINK_PULL_PROFILE,
            {
                **_named(endpoint_name, pull_profile_name),
                "app_name": app_name,
                "version_name": version_name,
            },
            **call_options(self.unlink, options),
        )


def _named(endpoint_name: str, pull_profile_name: str) -> dict[str, str]:
    return {"endpoint_name": endpoint_name, "pull_profile_name": pull_profile_name}
