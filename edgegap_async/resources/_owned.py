"""The part of `session.deployments` that starts servers and answers for them."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import TypedDict, Unpack

from msgspec import UNSET

from .._deploys.batch import DeployStream, Plan, Requests, deploy_stream
from .._deploys.leases import OwnedDeployment
from .._lanes import Priority
from .._posting import Posting
from .._transport import Timeout, Transport
from ..endpoints import DEPLOY
from ..listing import under_tags
from ..models._check import fail, flag, sequence, tag_name, text
from ..models.deploy import (
    DeploymentAccepted,
    DeployRequest,
    EnvironmentVariables,
    Resources,
    User,
    Webhook,
)
from ..models.deployment import DeploymentSummary
from ..ownership import Ownership
from ._awaited import READY_TIMEOUT, AwaitedDeployments

# seconds to list what is to be reaped, and for each stop
REAP_TIMEOUT = 60.0


class DeployOptions(TypedDict, total=False):
    """What `running` asks of the deployment, all as `deploy` does."""

    environment_variables: EnvironmentVariables | None
    tags: Sequence[str] | None
    require_cached_locations: bool | None
    resources: Resources | None
    webhook_on_ready: Webhook | str | None
    webhook_on_error: Webhook | str | None
    webhook_on_terminated: Webhook | str | None


class OwnedDeployments(AwaitedDeployments):
    """Starting servers, and answering for them until somebody else does."""

    def __init__(self, transport: Transport, ownership: Ownership) -> None:
        super().__init__(ownership)
        self._transport = transport
        self._posting = Posting(DEPLOY)

    async def deploy(
        self,
        application: str,
        version: str,
        *,
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
        """Start a deployment (POST /v2/deployments). It is not ready yet when this
        returns.

        Args:
            application, version: what to run.
            users: the players it is placed for, at least one: IP addresses (text, or of
                `ipaddress`), pairs (latitude, longitude), or structs.
            environment_variables: a mapping, or `EnvironmentVariable` structs; a value
                holds up to 4 KB.
            tags: at most 40 characters each.
            require_cached_locations: only where the image is cached: quicker, with less
                choice.
            resources: in place of the version's.
            webhook_on_ready, webhook_on_error, webhook_on_terminated: URLs that Edgegap
                calls once, unsigned.
            timeout: seconds for the whole call.
            once: where the outcome is unknown, find out under a tag of its own, `once-`
                and 15 hex digits, and deploy again only if nothing was started. Not
                given: as the session was told. The tag is visible in `status.tags`, in
                the container, in webhooks and in the dashboard, and is the answer's
                `once_tag`. Whoever leaves early, by cancellation or deadline, leaves no
                server: it is stopped as soon as it is known. With False nothing is
                added, and an unknown outcome is raised.

        Raises:
            AllocationFailed: no server could be allocated; what is left under its
                `request_id` is stopped, with `once`.
            ApiError, UnexpectedAnswer: it was refused or redirected; it is not retried.
                A gateway may have refused it after a server was started
                (`from_api=False`, any redirect): with `once` that server is stopped
                if it turns up within a search window; without it, look yourself.
            DeployOutcomeUnknown: it was sent, and nobody knows whether a server was
                started; or three attempts in a row failed and started none. The last
                failure is its `__cause__`.
            EdgegapError: as the tree in `errors` tells.
        """
        body = DeployRequest(
            application=application,
            version=version,
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
        users: Sequence[User],
        ready_timeout: float | None = READY_TIMEOUT,
        timeout: Timeout = UNSET,
        priority: Priority = "foreground",
        once: bool | None = None,
        **options: Unpack[DeployOptions],
    ) -> AbstractAsyncContextManager[OwnedDeployment]:
        """A server for as long as the block lasts: deployed, ready, and stopped on
        every way out of it.

            async with edgegap.deployments.running("my-game", "1.0", users=players) as
            server:
                ...
                server.keep()  # hand it over: it is not stopped

        Leaving waits until the stop is accepted, at most the session's
        `cleanup_timeout`; then the session goes on by itself. A stop that fails never
        replaces the block's own exception.

        Args:
            ready_timeout: seconds until it is ready; None waits as long as it takes.
            timeout: seconds for the deploy.

        The other arguments are those of `deploy`; it raises what `deploy` and
        `wait_until_ready` raise.
        """
        body = DeployRequest(
            application=application, version=version, users=users, **options
        )
        return self._ownership.running(
            self._posting,
            body,
            ready_timeout=ready_timeout,
            timeout=timeout,
            priority=priority,
            once=once,
        )

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
    ) -> AbstractAsyncContextManager[DeployStream]:
        """Deploy a stream of requests (each POST /v2/deployments); an outcome for each,
        as soon as it is settled.

            async with edgegap.deployments.deploy_many(requests) as outcomes:
                async for outcome in outcomes:
                    ...  # outcome.request, and outcome.deployment or outcome.error

        No deadline runs while a request is queued, and one failure never ends the
        others. Few requests are read ahead of the limit, and none while 400 outcomes
        wait to be taken. What was not yet taken when the block ends, early or not, is
        stopped; what was taken is yours. To end early without that,
        `outcomes.withdraw()` starts nothing more, and the outcomes of what was sent
        still come. (With `deploy_once=False` a deploy that is on its way when the block
        is left may leave a server that nobody knows.)

        Args:
            requests: an iterable, asynchronous or not, of `DeployRequest`.
            until_ready: an outcome is a `ReadyDeployment`; False: it is settled as soon
                as it is accepted.
            ready_timeout: seconds from the sending of a deploy until its server is
                ready; None waits as long as it takes.
            stop_on_failure: stop a server that failed or was not ready in time; False:
                once its outcome is taken it is yours, under the error's `request_id`.
            concurrency: how many requests may be under way or wait to be taken; unless
                given, as many as there are.
            max_running: how many servers may exist at once. One
                that was taken counts until it is stopped through this session, or the
                API says that it is gone, which is asked every 10 s.
            priority: the lane in which deploys wait for their limit.

        Raises:
            ValueError: an argument is wrong; the text names it.
        """
        plan = Plan(
            until_ready=until_ready,
            ready_timeout=ready_timeout,
            stop_on_failure=stop_on_failure,
            concurrency=concurrency,
            max_running=max_running,
            priority=priority,
        )
        return deploy_stream(self._ownership, self._posting, requests, plan)

    def adopt(
        self, request_id: str, *, ready_timeout: float | None = READY_TIMEOUT
    ) -> AbstractAsyncContextManager[OwnedDeployment]:
        """The same as `running`, for a server that was deployed before: after a
        restart, say.
        """
        return self._ownership.adopted(text("request_id", request_id), ready_timeout)

    async def ensure_stopped(
        self, request_id: str, *, wait: bool = False, timeout: Timeout = UNSET
    ) -> None:
        """Make sure that a deployment is stopped, whatever it takes: return when the
        stop is accepted or it is gone.

        Args:
            wait: return only when it is gone; before READY that may take minutes.
            timeout: seconds.

        Raises:
            DeadlineExceeded: not in time.
            EdgegapError: as the tree in `errors` tells, where no further try would mend
                it.
        """
        await self._ownership.ensure_stopped(
            text("request_id", request_id), wait=flag("wait", wait), timeout=timeout
        )

    async def reap(
        self, tags: Sequence[str], *, dry_run: bool = True
    ) -> tuple[DeploymentSummary, ...]:
        """List, or stop, all that runs under any of these tags: what a process that
        died has left behind.

        Args:
            tags: at least one; those that `on_intent` was told, or your own.
            dry_run: only list; False stops them too.

        Raises:
            EdgegapError: as the tree in `errors` tells; some may be stopped then.
        """
        wanted = tuple(tag_name("tags", tag) for tag in sequence("tags", tags))
        if not wanted:
            fail(
                "tags",
                "must hold at least one tag: without any, everything would be reaped",
            )
        found = await under_tags(self._transport, wanted, REAP_TIMEOUT)
        if not flag("dry_run", dry_run):
            stops = (
                self.ensure_stopped(row.request_id, timeout=REAP_TIMEOUT)
                for row in found
            )
            failed = [
                error
                for error in await asyncio.gather(*stops, return_exceptions=True)
                if error
            ]
            # the others are stopped
            if failed:
                raise failed[0]
        return found
