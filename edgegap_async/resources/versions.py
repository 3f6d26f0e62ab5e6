"""`session.versions`: versions of an application. A deploy names one of them."""

from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Unpack

from msgspec import UNSET, UnsetType

from .._masking import Secret, revealed, secret_of
from .._transport.client import Transport
from .._transport.options import CallOptions, hide_headers
from ..endpoints import (
    CREATE_VERSION,
    DELETE_VERSION,
    UPDATE_VERSION,
    VERSION,
    VERSIONS,
)
from ..models._check import whole_number
from ..models.deploy import EnvironmentVariables
from ..models.version import (
    AppVersion,
    AppVersionDeleted,
    AppVersionPort,
    AppVersionRequest,
    AppVersionResult,
    AppVersions,
    AppVersionUpdate,
    PortSpec,
    RestartPolicy,
    credential,
)
from ._in_use import OpenSession
from ._options import all_rows, body_and_call, call_options, page_query


class VersionOptions(CallOptions, total=False):
    """What a version may be given, and `CallOptions`.

    Attributes:
        is_active: whether it can be deployed.
        verify_image: let the API check first that it can pull the image.
        force_cache: keep the image in all locations, which makes deploys faster.
        time_to_deploy: seconds that the download of the image may take.
        max_duration: minutes until a deployment ends, from -1 to 1440; -1: it does not.
        restart_policy: what follows when the server process exits: always, never or
            on_failure.
        termination_grace_period_seconds: the time between SIGTERM and the end, from 5
            to 3600.
        will_deploy_in_mainland_china: deploy in China only.
        dns_config: the name of a DNS configuration.
        ports: `PortSpec` structs, or the `ports` of another version.
        envs: environment variables: a mapping, or `EnvironmentVariable` structs.
        endpoint_storage: the name of the storage that keeps the logs.
    """

    is_active: bool
    verify_image: bool
    force_cache: bool
    time_to_deploy: int
    max_duration: int
    restart_policy: RestartPolicy
    termination_grace_period_seconds: int
    will_deploy_in_mainland_china: bool
    dns_config: str | None
    ports: Sequence[PortSpec | AppVersionPort]
    envs: EnvironmentVariables
    endpoint_storage: str | None


class VersionChanges(VersionOptions, total=False):
    """What `versions.update` changes: also the name and the image.

    Attributes:
        name: a new name, of 1 to 64 characters.
        docker_repository, docker_image, docker_tag: as for `versions.create`.
    """

    name: str
    docker_repository: str
    docker_image: str
    docker_tag: str


class Versions:
    """Versions of an application. Every method takes `timeout`, seconds for the whole
    call, and raises `EdgegapError`.
    """

    def __init__(self, transport: Transport, session: OpenSession) -> None:
        self._transport, self._session = transport, session

    async def list(
        self,
        app_name: str,
        *,
        page: int | None = None,
        limit: int | None = None,
        **options: Unpack[CallOptions],
    ) -> AppVersions:
        """One page of the versions of an application (GET /v1/app/{app_name}/versions).

        Args:
            page, limit: which page, and rows per page, from 1. The API documents its
                answer as a page, and not these parameters.
            timeout: seconds for the whole call.
        """
        return await self._transport.call(
            VERSIONS,
            {"app_name": app_name},
            query=page_query(page, limit),
            **call_options(self.list, options),
        )

    def iterate(
        self, app_name: str, *, page_size: int = 100, **options: Unpack[CallOptions]
    ) -> AsyncIterator[AppVersion]:
        """All versions of an application, page by page, none of them twice (GET
        /v1/app/{app_name}/versions).

        Args:
            page_size: rows to ask for at once; the API may return fewer, or all.
            timeout: seconds for each page.
        """
        whole_number("page_size", page_size, 1)
        call_options(self.iterate, options)

        async def ask(number: int) -> AppVersions:
            return await self.list(app_name, page=number, limit=page_size, **options)

        return all_rows(VERSIONS, ask, lambda page: page.versions, lambda row: row.name)

    async def get(
        self, app_name: str, version_name: str, **options: Unpack[CallOptions]
    ) -> AppVersion:
        """One version (GET /v1/app/{app_name}/version/{version_name})."""
        return await self._transport.call(
            VERSION,
            {"app_name": app_name, "version_name": version_name},
            **call_options(self.get, options),
        )

    async def create(
        self,
        app_name: str,
        name: str,
        *,
        req_cpu: int,
        req_memory: int,
        docker_repository: str,
        docker_image: str,
        docker_tag: str,
        private_username: str | None = None,
        private_token: str | None = None,
        req_video: int | None = None,
        **options: Unpack[VersionOptions],
    ) -> AppVersionResult:
        """Create a version (POST /v1/app/{app_name}/version). A request whose answer was
        lost is not sent again.

        Args:
            name: 1 to 64 characters.
            req_cpu: CPU units, at least 100; 1024 are one core.
            req_memory: MB, at least 100 and at most twice `req_cpu`.
            docker_repository: the host of the registry.
            docker_image, docker_tag: the image there.
            private_username, private_token: for the registry. No repr, log or error
                shows them.
            req_video: GPU units.

        The other arguments are those of `VersionOptions`.

        Raises:
            Conflict: there is one with this name.
            ApiError: 424, if the image can't be pulled.
        """
        hide_headers(options)
        username = _secret("private_username", private_username)
        token = _secret("private_token", private_token)
        del private_username, private_token
        settings = {
            **options,
            "name": name,
            "req_cpu": req_cpu,
            "req_memory": req_memory,
            "req_video": UNSET if req_video is None else req_video,
            "docker_repository": docker_repository,
            "docker_image": docker_image,
            "docker_tag": docker_tag,
            "private_username": _revealed(username),
            "private_token": _revealed(token),
        }
        body, call = body_and_call(self.create, settings, AppVersionRequest)
        return await self._transport.call(
            CREATE_VERSION, {"app_name": app_name}, body=body, **call
        )

    async def update(
        self,
        app_name: str,
        version_name: str,
        *,
        private_username: str | UnsetType | None = UNSET,
        private_token: str | UnsetType | None = UNSET,
        **options: Unpack[VersionChanges],
    ) -> AppVersionResult:
        """Change a version (PATCH /v1/app/{app_name}/version/{version_name}). CPU, memory
        and GPU can't be changed. A request whose answer was lost is not sent again.

        Settings that are not given stay as they are. None removes a text: a credential,
        `dns_config` or `endpoint_storage`.

        Args:
            private_username, private_token: for the registry. No repr, log or error
                shows them.

        The other arguments are those of `VersionChanges`.
        """
        hide_headers(options)
        username = _secret("private_username", private_username)
        token = _secret("private_token", private_token)
        del private_username, private_token
        settings = {
            **options,
            "private_username": _revealed(username),
            "private_token": _revealed(token),
        }
        body, call = body_and_call(self.update, settings, AppVersionUpdate)
        return await self._transport.call(
            UPDATE_VERSION,
            {"app_name": app_name, "version_name": version_name},
            body=body,
            **call,
        )

    async def delete(
        self, app_name: str, version_name: str, **options: Unpack[CallOptions]
    ) -> AppVersionDeleted:
        """Delete a version (DELETE /v1/app/{app_name}/version/{version_name})."""
        return await self._transport.call(
            DELETE_VERSION,
            {"app_name": app_name, "version_name": version_name},
            **call_options(self.delete, options),
        )


def _secret(
    argument: str, given: str | UnsetType | None
) -> Secret | ValueError | UnsetType | None:
    """What `secret_of` returns, if anything was given."""
    if given is None or isinstance(given, UnsetType):
        return given
    return secret_of(partial(credential, argument), given)


def _revealed(
    secret: Secret | ValueError | UnsetType | None,
) -> Secret | UnsetType | None:
    if secret is None or isinstance(secret, UnsetType):
        return secret
    return revealed(secret)
