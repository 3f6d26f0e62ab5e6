"""`session.private_fleets`: deploy to hosts of your own, and list them."""

import asyncio
from collections.abc import Sequence

from msgspec import UNSET

from .._endpoint import Endpoint
from .._lanes import Priority
from .._transport import Timeout, Transport
from ..endpoints import FLEET_DEPLOY, FLEET_HOSTS
from ..errors import ApiError, EdgegapError, UnexpectedAnswer
from ..models.deploy import (
    DeploymentAccepted,
    EnvironmentVariables,
    FleetDeployRequest,
    Resources,
    User,
    Webhook,
)
from ..models.fleet import FleetHosts
from ._paging import page_query

NOT_HERE = (404, 405)  # what a path that was renamed is answered


class PrivateFleets:
    """Deployments on private hosts. Every method takes `timeout`, seconds for the whole call."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._deploy = FLEET_DEPLOY

    async def deploy(
        self,
        application: str,
        version: str,
        *,
        private_host_ids: Sequence[str],
        users: Sequence[User],
        environment_variables: EnvironmentVariables | None = None,
        tags: Sequence[str] | None = None,
        require_cached_locations: bool | None = None,
        resources: Resources | None = None,
        webhook_on_ready: Webhook | str | None = None,
        webhook_on_error: Webhook | str | None = None,
        webhook_on_terminated: Webhook | str | None = None,
        timeout: Timeout = UNSET,
        priority: Priority = "foreground",
    ) -> DeploymentAccepted:
        """Start a deployment on a private fleet (POST /v2/private-fleets:deploy, renamed by the API since).

        Where the page's path is answered 404 or 405, the newer one is tried once, and used from then on if it answers
        otherwise.

        Args:
            private_host_ids: hosts in order of preference, at least one; what they can't take overflows to the cloud.

        The other arguments, and what it raises, are those of `deployments.deploy`.
        """
        body = FleetDeployRequest(
            application=application,
            version=version,
            private_host_ids=private_host_ids,
            users=users,
            environment_variables=environment_variables,
            tags=tags,
            require_cached_locations=require_cached_locations,
            resources=resources,
            webhook_on_ready=webhook_on_ready,
            webhook_on_error=webhook_on_error,
            webhook_on_terminated=webhook_on_terminated,
        )
        started = asyncio.get_running_loop().time()
        row = self._deploy
        try:
            return await self._transport.call(row, body=body, timeout=timeout, priority=priority)
        except ApiError as error:
            if row.renamed is None or error.status not in NOT_HERE:
                raise
            first = error
        return await self._deploy_newer(row.renamed, body, timeout, priority, started, first)

    async def _deploy_newer(
        self,
        newer: Endpoint[FleetDeployRequest, DeploymentAccepted],
        body: FleetDeployRequest,
        timeout: Timeout,
        priority: Priority,
        started: float,
        first: ApiError,
    ) -> DeploymentAccepted:
        """Try the newer path, in what the first one has left of the timeout."""
        left = self._transport.timeout_of(timeout)
        if left is not None:
            left = max(left - (asyncio.get_running_loop().time() - started), 0.001)
        try:
            accepted = await self._transport.call(newer, body=body, timeout=left, priority=priority)
        except EdgegapError as error:
            if isinstance(error, ApiError) and error.status in NOT_HERE:
                raise first from None
            if isinstance(error.__cause__ or error, ApiError | UnexpectedAnswer):
                self._deploy = newer  # it is there, whatever it says
            raise
        self._deploy = newer
        return accepted

    async def hosts(
        self,
        fleet_name: str,
        *,
        page: int | None = None,
        limit: int | None = None,
        timeout: Timeout = UNSET,
        priority: Priority = "foreground",
    ) -> FleetHosts:
        """The hosts of a private fleet (GET /v2/private-fleets/{fleet_name}/hosts).

        Args:
            page, limit: which page and how many a page, from 1, where the API pages them.
            timeout: seconds for the whole call.

        Raises:
            EdgegapError: as the tree in `errors` tells.
        """
        query = page_query(page, limit)
        return await self._transport.call(
            FLEET_HOSTS, {"fleet_name": fleet_name}, query=query, timeout=timeout, priority=priority
        )
