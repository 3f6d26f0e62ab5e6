"""`session.private_fleets`: deploy to hosts of your own, and list them."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Unpack

from .._deploys.batch import DeployBlock, DeployStream
from .._deploys.batch_plan import Plan, Requests
from .._deploys.blocks import OUTCOMES, SERVER
from .._deploys.leases import OwnedDeployment
from .._deploys.manager import DeployManager
from .._limits.queue import Priority
from .._transport.client import Transport
from .._transport.options import CallOptions, hidden_headers
from .._transport.retry import Retry
from ..endpoints import FLEET_DEPLOY, FLEET_HOSTS
from ..models._check import DeploymentId, deployment_id, whole_number
from ..models.deploy import DeploymentAccepted, FleetDeployRequest, User
from ..models.fleet import FleetHost, FleetHosts
from ._in_use import BlockInUse, OpenSession
from ._options import (
    READY_TIMEOUT,
    DeployOptions,
    all_rows,
    call_options,
    deploy_options,
    page_query,
)


class PrivateFleets:
    """Deployments on private hosts. Every method takes `timeout`, seconds for the whole
    call.
    """

    def __init__(
        self, transport: Transport, manager: DeployManager, session: OpenSession
    ) -> None:
        self._transport, self._session = transport, session
        self._manager = manager

    async def deploy(
        self,
        application: str,
        version: str,
        *,
        private_host_ids: Sequence[str],
        users: Sequence[User],
        once: bool | None = None,
        **options: Unpack[DeployOptions],
    ) -> DeploymentAccepted:
        """Start a deployment on a private fleet (POST /v2/private-fleets:deploy, which
        the API has renamed since).

        If the path is answered 404 or 405, the new one is tried, and used from then on
        if it answers otherwise.

        Args:
            private_host_ids: hosts in order of preference, at least one. What they
                can't take overflows to the cloud.

        The other arguments, and what it raises, are those of `deployments.deploy`.
        """
        asked, call = deploy_options(self.deploy, options)
        body = FleetDeployRequest(
            application=application,
            version=version,
            private_host_ids=private_host_ids,
            users=users,
            **asked,
        )
        return await self._manager.runner.deploy(FLEET_DEPLOY, body, call, once=once)

    def running(
        self,
        application: str,
        version: str,
        *,
        private_host_ids: Sequence[str],
        users: Sequence[User],
        ready_timeout: float | None = READY_TIMEOUT,
        max_seconds: float | None = None,
        once: bool | None = None,
        **options: Unpack[DeployOptions],
    ) -> AbstractAsyncContextManager[OwnedDeployment]:
        """The same as `deployments.running`, on a private fleet."""
        asked, call = deploy_options(self.running, options)
        body = FleetDeployRequest(
            application=application,
            version=version,
            private_host_ids=private_host_ids,
            users=users,
            **asked,
        )
        block = self._manager.running(
            FLEET_DEPLOY,
            body,
            call,
            ready_timeout=ready_timeout,
            max_seconds=max_seconds,
            once=once,
        )
        return BlockInUse(self._session, block, "private_fleets.running", SERVER)

    def deploy_many(
        self,
        requests: Requests,
        *,
        until_ready: bool = True,
        ready_timeout: float | None = READY_TIMEOUT,
        stop_on_failure: bool = True,
        concurrency: int | None = None,
        max_running: int | None = None,
        priority: Priority = "foreground",
        retry: Retry | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AbstractAsyncContextManager[DeployStream]:
        """The same as `deployments.deploy_many`, on private fleets.

        Args:
            requests: an iterable, asynchronous or not, of `FleetDeployRequest`.

        The other arguments, and what it raises, are those of `deployments.deploy_many`.
        """
        headers = hidden_headers(headers)
        plan = Plan(
            until_ready=until_ready,
            ready_timeout=ready_timeout,
            stop_on_failure=stop_on_failure,
            concurrency=concurrency,
            max_running=max_running,
            priority=priority,
            retry=retry,
            headers=headers,
        )
        block = DeployBlock(
            self._manager, FLEET_DEPLOY, FleetDeployRequest, requests, plan
        )
        return BlockInUse(self._session, block, "private_fleets.deploy_many", OUTCOMES)

    def adopt(
        self,
        request_id: DeploymentId,
        *,
        ready_timeout: float | None = READY_TIMEOUT,
        max_seconds: float | None = None,
    ) -> AbstractAsyncContextManager[OwnedDeployment]:
        """The same as `deployments.adopt`: a deployment on a private fleet is polled and
        stopped like any other.

        Args:
            ready_timeout: seconds until it is READY; None: no end.
            max_seconds: as for `running`.
        """
        block = self._manager.adopted(
            deployment_id("request_id", request_id), ready_timeout, max_seconds
        )
        return BlockInUse(self._session, block, "private_fleets.adopt", SERVER)

    async def hosts(
        self,
        fleet_name: str,
        *,
        page: int | None = None,
        limit: int | None = None,
        **options: Unpack[CallOptions],
    ) -> FleetHosts:
        """The hosts of a private fleet (GET /v2/private-fleets/{fleet_name}/hosts).

        Args:
            page, limit: which page, and rows per page, from 1, if the API pages them.
            timeout: seconds for the whole call.

        Raises:
            EdgegapError: see the tree in `errors`.
        """
        return await self._transport.call(
            FLEET_HOSTS,
            {"fleet_name": fleet_name},
            query=page_query(page, limit),
            **call_options(self.hosts, options),
        )

    def iterate_hosts(
        self,
        fleet_name: str,
        *,
        page_size: int = 100,
        **options: Unpack[CallOptions],
    ) -> AsyncIterator[FleetHost]:
        """All hosts of a private fleet, page by page, none of them twice (GET
        /v2/private-fleets/{fleet_name}/hosts).

        Args:
            page_size: rows to ask for at once; the API may return fewer, or all.
            timeout: seconds for each page.
        """
        whole_number("page_size", page_size, 1)
        call_options(self.iterate_hosts, options)

        async def ask(number: int) -> FleetHosts:
            return await self.hosts(
                fleet_name,
                page=number,
                limit=page_size,
                **options,
            )

        return all_rows(
            FLEET_HOSTS, ask, lambda page: page.data, lambda row: row.host_id
        )
