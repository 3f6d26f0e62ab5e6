"""`session.private_fleets`: deploy to hosts of your own, and list them."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Unpack

from msgspec import UNSET

from .._deploys.leases import OwnedDeployment
from .._lanes import Priority
from .._posting import Posting
from .._transport import Timeout, Transport
from ..endpoints import FLEET_DEPLOY, FLEET_HOSTS
from ..models.deploy import (
    DeploymentAccepted,
    EnvironmentVariables,
    FleetDeployRequest,
    Resources,
    User,
    Webhook,
)
from ..models.fleet import FleetHosts
from ..ownership import Ownership
from ._awaited import READY_TIMEOUT
from ._owned import DeployOptions
from ._paging import page_query


class PrivateFleets:
    """Deployments on private hosts. Every method takes `timeout`, seconds for the whole
    call.
    """

    def __init__(self, transport: Transport, ownership: Ownership) -> None:
        self._transport = transport
        self._ownership = ownership
        self._posting = Posting(FLEET_DEPLOY)

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
        once: bool | None = None,
    ) -> DeploymentAccepted:
        """Start a deployment on a private fleet (POST /v2/private-fleets:deploy,
        renamed by the API since).

        Where the page's path is answered 404 or 405, the newer one is tried once, and
        used from then on if it answers otherwise.

        Args:
            private_host_ids: hosts in order of preference, at least one; what they
                can't take overflows to the cloud.

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
        return await self._ownership.deploy(
            self._posting, body, timeout=timeout, priority=priority, once=once
        )

    def running(
        self,
        application: str,
        version: str,
        *,
        private_host_ids: Sequence[str],
        users: Sequence[User],
        ready_timeout: float | None = READY_TIMEOUT,
        timeout: Timeout = UNSET,
        priority: Priority = "foreground",
        once: bool | None = None,
        **options: Unpack[DeployOptions],
    ) -> AbstractAsyncContextManager[OwnedDeployment]:
        """As `deployments.running`, on a private fleet."""
        body = FleetDeployRequest(
            application=application,
            version=version,
            private_host_ids=private_host_ids,
            users=users,
            **options,
        )
        return self._ownership.running(
            self._posting,
            body,
            ready_timeout=ready_timeout,
            timeout=timeout,
            priority=priority,
            once=once,
        )

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
            page, limit: which page and how many a page, from 1, where the API pages
                them.
            timeout: seconds for the whole call.

        Raises:
            EdgegapError: as the tree in `errors` tells.
        """
        query = page_query(page, limit)
        return await self._transport.call(
            FLEET_HOSTS,
            {"fleet_name": fleet_name},
            query=query,
            timeout=timeout,
            priority=priority,
        )
