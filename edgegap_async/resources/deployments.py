"""`session.deployments`: start, watch, list, measure and stop game servers."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Unpack

import msgspec
from msgspec import UNSET

from .._deploys.batch import DeployBlock, DeployStream
from .._deploys.batch_plan import Plan, Requests
from .._deploys.blocks import OUTCOMES, POOL, SERVER
from .._deploys.find import Finder, Wanted
from .._deploys.leases import OwnedDeployment
from .._deploys.manager import DeployManager
from .._deploys.pool import Pool, PoolPlan
from .._deploys.reap import reap
from .._limits.queue import Priority
from .._masking import revealed, secret_of
from .._transport.client import Transport
from .._transport.deadlines import Deadline
from .._transport.options import CallOptions, Timeout, hidden_headers
from .._transport.retry import Retry
from .._waiters.stream import ReadyStream
from ..endpoints import (
    BULK_STOP,
    CONTAINER_LOGS,
    DEPLOY,
    LIST,
    METRICS,
    REPORT,
    SELF_STOP,
    STATUS,
    STOP,
)
from ..models._check import (
    DeploymentId,
    deployment_id,
    fail,
    flag,
    instance,
    log_storage_query,
    optional_seconds,
    optional_text,
    seconds,
    sequence,
    shown,
    stripped,
    tag_name,
    text,
    utc,
    whole_number,
)
from ..models._urls import token_text
from ..models.deploy import DeploymentAccepted, DeployRequest, User
from ..models.deployment import (
    BulkStopFilter,
    BulkStopRequest,
    BulkStopResult,
    ContainerLogs,
    DeploymentPage,
    DeploymentState,
    DeploymentStatus,
    DeploymentSummary,
    ReadyDeployment,
    ReportRequest,
    StopResult,
)
from ..models.metrics import DeploymentMetrics
from ..models.paging import ListQuery
from ..probes import Probe, checked_probe
from ._in_use import BlockInUse, OpenSession
from ._options import (
    READY_TIMEOUT,
    DeployOptions,
    all_rows,
    call_options,
    deploy_options,
    page_query,
)

# Most sessions have no webhooks.
if TYPE_CHECKING:
    from ..webhooks import WebhookEvent

# Seconds to wait for an end: a stop before READY is carried out once that is reached.
STOP_TIMEOUT = 300.0
# Seconds after which `reap` gives up a stop that is refused.
REFUSED_FOR = 60.0


class Deployments:
    """Deployments.

    Every method that calls one operation of the API takes `CallOptions`: `timeout`,
    seconds for the whole call, with its time in the queue and all retries (not given, it
    is the session's; None, there is no end), `priority`, `retry` and `headers`. All
    raise `EdgegapError` (see the tree in `errors`), and `ValueError` for a
    wrong argument, before anything is sent.

    A `request_id` is a text, or anything that has one: what `deploy` has returned, a
    status, a row of a list.
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
        users: Sequence[User],
        once: bool | None = None,
        **options: Unpack[DeployOptions],
    ) -> DeploymentAccepted:
        """Start a deployment (POST /v2/deployments). It is not ready when this returns.

        Args:
            application, version: what to run.
            users: the players it is placed for, at least one: IP addresses (text, or of
                `ipaddress`), pairs (latitude, longitude), or structs.
            timeout: seconds for the whole call.
            priority: foreground or background, in the queue of the deploy limit.
            once: if the outcome is unknown, search for a tag that is sent with the
                deploy, `once-` and 15 hex digits, and deploy again only if nothing was
                started. Not given: as the session was told. The tag is visible in
                `status.tags`, in the container, in webhooks and in the dashboard, and
                is the answer's `once_tag`. If a caller is cancelled or times out, its
                server is stopped as soon as its ID is known. With False no tag is
                added, and an unknown outcome is raised.
            options: see `DeployOptions`.

        Raises:
            AllocationFailed: no server could be allocated. With `once`, its remains
                under `request_id` are stopped.
            DeployOutcomeUnknown: it was sent, and its outcome could not be found out.
                A server that turns up within five minutes is stopped, unless you claim
                it: wait for it, adopt it or stop it by its request_id.
        """
        asked, call = deploy_options(self.deploy, options)
        body = DeployRequest(
            application=application,
            version=version,
            users=users,
            **asked,
        )
        return await self._manager.runner.deploy(DEPLOY, body, call, once=once)

    def running(
        self,
        application: str,
        version: str,
        *,
        users: Sequence[User],
        ready_timeout: float | None = READY_TIMEOUT,
        max_seconds: float | None = None,
        once: bool | None = None,
        **options: Unpack[DeployOptions],
    ) -> AbstractAsyncContextManager[OwnedDeployment]:
        """A server for as long as the block lasts: deployed (POST /v2/deployments),
        READY, and stopped however the block ends.

            async with edgegap.deployments.running("my-game", "1.0", users=players) as server:
                ...
                server.keep()  # take it over: it is not stopped

        Leaving waits until the stop is accepted, at most the session's
        `cleanup_timeout`; after that the session goes on trying. A stop that fails
        never replaces the block's own exception.

        Args:
            ready_timeout: seconds until it is READY; None: no end.
            max_seconds: seconds from then until the server is stopped, although the
                block goes on; `server.wait_ended()` tells it. None: until the end of the
                block.
            timeout: seconds for the deploy.

        The other arguments are those of `deploy`. It raises what `deploy` and
        `wait_until_ready` raise.
        """
        asked, call = deploy_options(self.running, options)
        body = DeployRequest(
            application=application,
            version=version,
            users=users,
            **asked,
        )
        block = self._manager.running(
            DEPLOY,
            body,
            call,
            ready_timeout=ready_timeout,
            max_seconds=max_seconds,
            once=once,
        )
        return BlockInUse(self._session, block, "deployments.running", SERVER)

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
        """Deploy a stream of requests (each POST /v2/deployments), with an outcome for
        each, in the order in which they are known.

            async with edgegap.deployments.deploy_many(requests) as outcomes:
                async for outcome in outcomes:
                    ...  # outcome.request, and outcome.deployment or outcome.error

        No deadline runs while a request is queued, and one failure never ends the
        others. Few requests are read ahead of the limit, none while 400 outcomes wait
        to be taken, and none while 600 requests are in progress or wait and no task
        asks for an outcome.

        A server is yours once the task that took its outcome asks for the next one, or
        once the block ends without an exception. All others are stopped at the end of
        the block. To end early without that, call `outcomes.withdraw()`: nothing more is
        started, and the outcomes of requests that were sent still come.

        Args:
            requests: an iterable, asynchronous or not, of `DeployRequest`.
            until_ready: an outcome is a `ReadyDeployment`. False: it is known as soon
                as the deploy is accepted.
            ready_timeout: seconds from the sending of a deploy until its server is
                READY; None: no end.
            stop_on_failure: stop a server that failed or was not READY in time. False:
                once its outcome is taken, it is yours, under the error's `request_id`.
            concurrency: how many requests may be in progress or wait to be taken. Not
                given: no bound.
            max_running: how many servers may exist at once, with those whose deploy has
                no known outcome. One that was taken counts until it is stopped through
                this session, or until the API says that it is gone, which is polled
                every 10 s. After a deploy that started nothing, its permit is kept for
                30 s.
            priority: foreground or background, in the queue of the deploy limit.
            retry, headers: of each deploy, as in `CallOptions`.

        Raises:
            ValueError: an argument is wrong; the text names it. What is no
                `DeployRequest` has an outcome with an `InvalidRequest`, and so has a
                `FleetDeployRequest`, which `private_fleets.deploy_many` takes.
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
        block = DeployBlock(self._manager, DEPLOY, DeployRequest, requests, plan)
        return BlockInUse(self._session, block, "deployments.deploy_many", OUTCOMES)

    def pool(
        self,
        request: DeployRequest,
        *,
        size: int,
        max_running: int | None = None,
        max_age: float | None = None,
        check: Probe | None = None,
        check_every: float = 30.0,
        check_timeout: float = 10.0,
        ready_timeout: float | None = READY_TIMEOUT,
    ) -> AbstractAsyncContextManager[Pool]:
        """Servers that are ready before they are needed (each POST /v2/deployments).

            async with edgegap.deployments.pool(request, size=5, max_age=3600) as pool:
                async with pool.take() as server:
                    ...

        A server that is taken is replaced at once. It is stopped at the end of its block,
        and never used again; `server.keep()` hands it over. While more callers wait than
        there are servers, more are started. All that are left are stopped at the end of
        the pool's block, however it ends. If the process dies, its servers are in the
        journal of `shared=`.

        Args:
            request: what to deploy, the same for each server.
            size: how many are ready, or being started; `pool.resize(size)` changes it.
            max_running: how many may exist at once, with those that are taken. One counts
                until its stop is accepted. None: no bound.
            max_age: seconds after which an idle server is replaced. None: none is.
            check: awaited before a server is offered, and again while it is idle. If it
                raises, or takes too long, the server is replaced.
            check_every: seconds between two checks of an idle server.
            check_timeout: seconds that a check may take.
            ready_timeout: seconds until a server is READY; None: no end.

        The deploys of a pool wait behind others (`priority="background"`). A server that
        could not be started, or was not healthy, is replaced after a pause of 1 to 30 s,
        with a warning. `take` raises its error if no retry would mend it.

        Raises:
            ValueError: an argument is wrong; the text names it.
        """
        body = instance("request", request, DeployRequest)
        plan = PoolPlan(size, max_running, max_age, check, check_every, check_timeout)
        timeout = optional_seconds("ready_timeout", ready_timeout)

        def begin() -> AbstractAsyncContextManager[OwnedDeployment]:
            return self._manager.running(
                DEPLOY,
                body,
                CallOptions(timeout=timeout, priority="background"),
                ready_timeout=timeout,
                max_seconds=None,
                once=None,
            )

        block = Pool(begin, plan)
        return BlockInUse(self._session, block, "deployments.pool", POOL)

    def adopt(
        self,
        request_id: DeploymentId,
        *,
        ready_timeout: float | None = READY_TIMEOUT,
        max_seconds: float | None = None,
    ) -> AbstractAsyncContextManager[OwnedDeployment]:
        """The same as `running`, for a server that exists already, for example after a
        restart. It is polled (GET /v1/status) until it is READY.

        Args:
            ready_timeout: seconds until it is READY; None: no end.
            max_seconds: as for `running`.
        """
        block = self._manager.adopted(
            deployment_id("request_id", request_id), ready_timeout, max_seconds
        )
        return BlockInUse(self._session, block, "deployments.adopt", SERVER)

    async def wait_until_ready(
        self,
        request_id: DeploymentId,
        *,
        timeout: float | None = READY_TIMEOUT,
        stop_on_failure: bool = False,
        probe: Probe | None = None,
    ) -> ReadyDeployment:
        """Wait until players can connect: the ports of the deployment are open (lists
        of GET /v1/deployments, GET /v1/status). All waiters of a session share a few
        requests per second.

        Args:
            timeout: seconds, with those of the probe; None: no end.
            stop_on_failure: stop the server if it failed, was not READY in time, or if
                its probe raised.
            probe: an async callable that is given the `ReadyDeployment` and returns
                once the game answers, which the API does not know:
                `probes.tcp("gameport")`, or your own. What it raises is raised here.

        Raises:
            ReadyTimeout: it was not READY in time, and still exists, unless
                `stop_on_failure`.
            DeploymentFailed: it ended in ERROR, and exists until it is stopped.
            DeploymentTerminated: it is gone.
        """
        if probe is not None:
            checked_probe("probe", probe)
        request_id = deployment_id("request_id", request_id)
        return await self._manager.until_ready(
            request_id,
            optional_seconds("timeout", timeout),
            probe,
            stop_on_failure=flag("stop_on_failure", stop_on_failure),
        )

    def wait_many(
        self,
        request_ids: Sequence[DeploymentId],
        *,
        timeout: float | None = READY_TIMEOUT,
    ) -> AbstractAsyncContextManager[ReadyStream]:
        """Wait for many deployments, with an outcome for each, in the order in which
        they are known (lists of GET /v1/deployments, GET /v1/status).

            async with edgegap.deployments.wait_many(request_ids) as outcomes:
                async for request_id, outcome in outcomes:
                    ...  # a ReadyDeployment, or the error of `wait_until_ready`

        Several tasks may take from it. Leaving the block early waits for no more of
        them; nothing is stopped.

        Args:
            request_ids: each has one outcome, however often it is named.
            timeout: seconds for all of them; None: no end.
        """
        wanted = [
            deployment_id("request_ids: each", request_id)
            for request_id in sequence("request_ids", request_ids)
        ]
        for request_id in wanted:
            self._manager.claim(request_id)
        seconds = optional_seconds("timeout", timeout)
        return BlockInUse(
            self._session,
            self._manager.watcher.many(wanted, seconds),
            "deployments.wait_many",
            OUTCOMES,
        )

    async def wait_until_stopped(
        self, request_id: DeploymentId, *, timeout: float | None = STOP_TIMEOUT
    ) -> None:
        """Wait until a deployment is gone (GET /v1/status/{request_id}, lists of GET
        /v1/deployments). It stops nothing. A thousand such waits cost a few requests per
        second.

        Args:
            timeout: seconds; None: no end. A stop before READY is carried out once that
                is reached.

        Raises:
            DeadlineExceeded: it is not gone in time.
        """
        request_id = deployment_id("request_id", request_id)
        seconds = optional_seconds("timeout", timeout)
        self._manager.claim(request_id)
        await self._manager.watcher.ends.until(request_id, "gone", seconds)

    def notify(self, event: "WebhookEvent") -> None:
        """Pass on a webhook that another process has received and verified: if several
        processes serve one URL, only one of them gets it. It counts as received by this
        process. A webhook of another process's deploy changes nothing.

        Raises:
            SessionClosed, WrongLoop: no waiter can be notified here. Call it in the
                thread and the loop of the session.
        """
        from ..webhooks import WebhookEvent

        self._manager.router.notify(instance("event", event, WebhookEvent))

    async def ensure_stopped(
        self,
        request_id: DeploymentId,
        *,
        wait: bool = False,
        container_log_storage: bool | str | None = None,
        timeout: Timeout = UNSET,
    ) -> None:
        """Stop a deployment, and retry until the stop is accepted or the deployment is
        gone (DELETE /v1/stop/{request_id}).

        Args:
            wait: return only when it is gone; before READY that may take minutes.
            container_log_storage: as for `stop`.
            timeout: seconds; None: no end.

        Raises:
            DeadlineExceeded: not in time.
            EdgegapError: an error that no retry would mend; see the tree in `errors`.
        """
        stopped = deployment_id("request_id", request_id)
        query, until_gone = log_storage_query(container_log_storage), flag("wait", wait)
        seconds = self._transport.timeout_of(timeout)
        deadline = Deadline.after(seconds, self._transport.enter())
        await self._manager.ensure_stopped(
            stopped, query, deadline=deadline, wait=until_gone
        )

    def find(
        self,
        *,
        tags: Iterable[str] | None = None,
        application: str | None = None,
        older_than: float | timedelta | None = None,
        timeout: float | None = None,
    ) -> AsyncIterator[DeploymentSummary]:
        """Find all deployments with these properties (GET /v1/deployments; GET
        /v1/status/{request_id} for what rows do not tell). Each row is checked, so it
        does not matter whether the filters of the API work:

            async for row in edgegap.deployments.find(tags=["eu"], older_than=3600):
                print(row.request_id, row.start_time)

        Args:
            tags: any of them. An open file with a tag per line will do.
            application: the name of their application.
            older_than: seconds, or a `timedelta`, since the deployment was READY. One
                that does not tell that time is left out, and named in a warning.
            timeout: seconds for all of it, with the time that your loop takes for the
                rows; None: no end.

        Raises:
            Incomplete: after all that were found, as there may be others. The text says
                why.
            DeadlineExceeded: `timeout` has passed, and there may be others.
            EdgegapError: a page could not be read, as in `list`. There may be others
                than those that were found until then.
        """
        wanted = _wanted(tags, application, older_than)
        limit = optional_seconds("timeout", timeout)

        async def rows() -> AsyncIterator[DeploymentSummary]:
            deadline = Deadline.after(limit)
            async for row in Finder(self._transport, wanted, deadline).rows():
                self._manager.records.seen((row.request_id,))
                yield row

        return rows()

    async def reap(
        self,
        tags: Iterable[str],
        *,
        dry_run: bool = False,
        timeout: float | None = None,
    ) -> tuple[DeploymentSummary, ...]:
        """Stop the servers under any of these tags, which a process that died has left
        running, and return them (GET /v1/deployments, GET /v1/status/{request_id}, DELETE
        /v1/stop/{request_id}).

        Each is stopped as soon as it is found and its status confirms its tag: about 20
        per second, which is the limit of statuses. The lists are read until nothing new
        is found, for about five seconds at least, as they lag. Do not give the tags of
        a process that still runs.

        Args:
            tags: at least one; those that `on_intent` was called with, or your own. An
                open file with a tag per line will do; blank lines are skipped.
            dry_run: stop nothing, and return what would be stopped.
            timeout: seconds for all of it; None: no end. A stop that is refused for 60
                seconds is given up in any case. It delays no other, unless 500 are
                refused at once.

        Raises:
            Incomplete: some could not be found or stopped, or the timeout has passed, or
                the session was closed. `stopped` has those that were stopped,
                `not_stopped` the errors of the others by their request_id.
            EdgegapError: nothing was found before the lists could not be read any more.
        """
        return await self._stop_wanted(Wanted(_tags(tags)), dry_run, timeout)

    async def stop_all(
        self,
        *,
        tags: Iterable[str] | None = None,
        application: str | None = None,
        older_than: float | timedelta | None = None,
        dry_run: bool = False,
        timeout: float | None = None,
    ) -> tuple[DeploymentSummary, ...]:
        """Stop all deployments with these properties, and return them (GET
        /v1/deployments, GET /v1/status/{request_id}, DELETE /v1/stop/{request_id}). For
        batch jobs:

            await edgegap.deployments.stop_all(application="my-game", older_than=6 * 3600)

        As in `reap`, each is stopped as soon as it is found and its status confirms it,
        and the lists are read until nothing new is found.

        Args:
            tags, application, older_than: as for `find`; at least one of them.
            dry_run, timeout: as for `reap`.

        Raises:
            ValueError: none of them is given: everything would match.
            Incomplete, EdgegapError: as in `reap`.
        """
        wanted = _wanted(tags, application, older_than)
        if wanted == Wanted():
            fail(
                "stop_all",
                "needs tags=, application= or older_than=: without any, everything would match",
            )
        return await self._stop_wanted(wanted, dry_run, timeout)

    async def _stop_wanted(
        self, wanted: Wanted, dry_run: bool, timeout: float | None
    ) -> tuple[DeploymentSummary, ...]:
        only_list = flag("dry_run", dry_run)
        limit = optional_seconds("timeout", timeout)
        self._session.enter()
        deadline = Deadline.after(limit)

        async def stop_in_time(request_id: str) -> None:
            self._manager.records.seen((request_id,))
            await self._manager.ensure_stopped(
                request_id, {}, deadline=deadline, refused_for=REFUSED_FOR
            )

        found = await reap(
            self._transport,
            wanted,
            None if only_list else stop_in_time,
            self._manager.background.search_window,
            deadline,
        )
        self._manager.records.seen(row.request_id for row in found)
        return found

    async def status(
        self,
        request_id: DeploymentId,
        **options: Unpack[CallOptions],
    ) -> DeploymentStatus:
        """The status of a deployment (GET /v1/status/{request_id}).

        Once it has ended, the API answers TERMINATED, or 404 (`NotFound`), 410
        (`Gone`), or 400 (`BadRequest`).

        Args:
            timeout: seconds for the whole call.
        """
        status = await self._transport.call(
            STATUS, {"request_id": request_id}, **call_options(self.status, options)
        )
        records = self._manager.records
        if (
            status.request_id not in records
            and status.state is not DeploymentState.TERMINATED
        ):
            records.seen((status.request_id,))
        return status

    async def stop(
        self,
        request_id: DeploymentId,
        *,
        container_log_storage: bool | str | None = None,
        **options: Unpack[CallOptions],
    ) -> StopResult:
        """Stop a deployment (DELETE /v1/stop/{request_id}). Before READY or ERROR, the
        stop is carried out once one of them is reached.

        Args:
            container_log_storage: True or False, or the name of the endpoint storage
                that keeps the logs.
            timeout: seconds for the whole call.

        Raises:
            NotFound, Gone: it has already ended.
        """
        request_id = deployment_id("request_id", request_id)
        query = log_storage_query(container_log_storage)
        result = await self._transport.call(
            STOP,
            {"request_id": request_id},
            query=query,
            **call_options(self.stop, options),
        )
        self._manager.stopped(request_id, certain=result.message is not None)
        return result

    async def self_stop(
        self,
        request_id: DeploymentId,
        access_point_id: int | str,
        *,
        token: str,
        container_log_storage: bool | str | None = None,
        **options: Unpack[CallOptions],
    ) -> StopResult:
        """Stop a deployment as its own container does (DELETE
        /v1/self/stop/{request_id}/{access_point_id}).

        Inside a container, `edgegap_async.container.stop_self` needs none of these
        arguments and no API token.

        Args:
            access_point_id: the last segment of ARBITRIUM_DELETE_URL.
            token: ARBITRIUM_DELETE_TOKEN; it is sent in place of the session's.
            container_log_storage: as for `stop`.
            timeout: seconds for the whole call.
        """
        secret = secret_of(partial(token_text, "token"), token)
        del token
        if not isinstance(access_point_id, str):
            access_point_id = str(whole_number("access_point_id", access_point_id, 0))
        return await self._transport.call(
            SELF_STOP,
            {"request_id": request_id, "access_point_id": access_point_id},
            query=log_storage_query(container_log_storage),
            **call_options(self.self_stop, options),
            token=revealed(secret),
        )

    async def bulk_stop(
        self,
        filter: BulkStopFilter | Sequence[BulkStopFilter] | None = None,
        *,
        everything: bool = False,
        **options: Unpack[CallOptions],
    ) -> BulkStopResult:
        """Stop all deployments that match (POST /v1/deployments/bulk-stop).

        Args:
            filter: which ones. How the API combines several filters is not documented.
            everything: needed for a request that may stop more than it names: without a
                filter, with `not`, or with a filter without values.
            timeout: seconds for the whole call.
        """
        filters = (filter,) if isinstance(filter, BulkStopFilter) else filter or ()
        body = BulkStopRequest(filters)
        broad = not body.filters or any(
            item.filter_type == "not" or not item.values for item in body.filters
        )
        if not flag("everything", everything) and broad:
            fail(
                "filter",
                "may mean every deployment there is; say everything=True if you mean it",
            )
        result = await self._transport.call(
            BULK_STOP, body=body, **call_options(self.bulk_stop, options)
        )
        for stopped in result.processable:
            self._manager.stopped(stopped.request_id, certain=True)
        return result

    async def list(
        self,
        query: ListQuery | str | None = None,
        *,
        page: int | None = None,
        limit: int | None = None,
        **options: Unpack[CallOptions],
    ) -> DeploymentPage:
        """One page of the organization's deployments (GET /v1/deployments).

        Args:
            query: filters and order, as a struct or as the API's own JSON text.
            page, limit: which page, and rows per page, from 1. Not given: the API
                decides.
            timeout: seconds for the whole call.
        """
        parameters = {"query": _query_text(query), **page_query(page, limit)}
        shown = await self._transport.call(
            LIST, query=parameters, **call_options(self.list, options)
        )
        self._manager.records.seen(row.request_id for row in shown.data)
        return shown

    def iterate(
        self,
        query: ListQuery | str | None = None,
        *,
        page_size: int = 100,
        **options: Unpack[CallOptions],
    ) -> AsyncIterator[DeploymentSummary]:
        """All deployments that match, page by page, none of them twice (GET
        /v1/deployments).

        Pages are read until one is the last in all that it tells (`has_next`, the
        number of pages, `total_count`). If it tells nothing, or contradicts itself, one
        more is read, until one is empty or shows nothing new. The API has no cursor, so
        a deployment that moves to an earlier page meanwhile may be missed. Rows without
        an ID are left out, and counted in a warning. `find` reads the list again until
        nothing is missing.

        Args:
            query: as for `list`.
            page_size: rows to ask for at once; the API may return fewer.
            timeout: seconds for each page.
        """
        whole_number("page_size", page_size, 1)
        call_options(self.iterate, options)

        async def ask(number: int) -> DeploymentPage:
            return await self.list(query, page=number, limit=page_size, **options)

        return all_rows(LIST, ask, lambda page: page.data, lambda row: row.request_id)

    async def container_logs(
        self,
        request_id: DeploymentId,
        **options: Unpack[CallOptions],
    ) -> ContainerLogs:
        """The logs of the container (GET /v1/deployment/{request_id}/container-logs).
        They are gone once it is stopped.

        Args:
            timeout: seconds for the whole call.
        """
        return await self._transport.call(
            CONTAINER_LOGS,
            {"request_id": request_id},
            **call_options(self.container_logs, options),
        )

    async def metrics(
        self,
        request_id: DeploymentId,
        *,
        start_time: datetime | str | None = None,
        end_time: datetime | str | None = None,
        steps: str | None = None,
        raw: bool | None = None,
        **options: Unpack[CallOptions],
    ) -> DeploymentMetrics:
        """Metrics of a deployment (GET /v1/metrics/deployment/{request_id}).

        Args:
            start_time, end_time: a `datetime` (naive is UTC), or text in the API's form
                `2021-07-10 00:00:00.00`. Not given: from the start until now.
            steps: the time between two values, such as 30s, 1m, 1h.
            raw: True for the raw data.
            timeout: seconds for the whole call.
        """
        query = {
            "start_time": _time_text("start_time", start_time),
            "end_time": _time_text("end_time", end_time),
            "steps": optional_text("steps", steps),
            "raw": None if raw is None else str(flag("raw", raw)).lower(),
        }
        return await self._transport.call(
            METRICS,
            {"request_id": request_id},
            query=query,
            **call_options(self.metrics, options),
        )

    async def report(
        self,
        request_id: DeploymentId,
        reason: str,
        *,
        metadata: Mapping[str, object] | None = None,
        **options: Unpack[CallOptions],
    ) -> None:
        """Report a problem with a deployment to Edgegap, as a moderation backend does
        (POST /v1/deployments/{request_id}:report). A report whose answer was lost is not
        sent again.

        Args:
            reason: at most 255 characters.
            metadata: anything else that is known of it, as JSON can hold it.
            timeout: seconds for the whole call.
        """
        body = ReportRequest(reason, metadata)
        await self._transport.call(
            REPORT,
            {"request_id": request_id},
            body=body,
            **call_options(self.report, options),
        )


def _query_text(query: ListQuery | str | None) -> str | None:
    if isinstance(query, ListQuery):
        return msgspec.json.encode(query).decode()
    if query is None:
        return None
    if not isinstance(query, str):
        fail("query", f"must be a ListQuery or JSON text, not {shown(query)}")
    try:
        msgspec.json.decode(text("query", query))
    except msgspec.DecodeError as error:
        fail("query", f"is not JSON: {error}; give a ListQuery, or the API's own JSON")
    return query


def _time_text(argument: str, time: datetime | str | None) -> str | None:
    if time is not None and not isinstance(time, str | datetime):
        fail(argument, f"must be a datetime or a text, not {shown(time)}")
    if not isinstance(time, datetime):
        return optional_text(argument, time)
    return utc(argument, time).strftime("%Y-%m-%d %H:%M:%S.%f")


def _wanted(
    tags: Iterable[str] | None,
    application: str | None,
    older_than: float | timedelta | None,
) -> Wanted:
    return Wanted(
        None if tags is None else _tags(tags),
        optional_text("application", application),
        None if older_than is None else _age("older_than", older_than),
    )


def _tags(tags: Iterable[str]) -> frozenset[str]:
    """The tags of a search. Blank lines of a file are skipped."""
    wanted = frozenset(
        tag_name("tags: each", tag)
        for tag in sequence("tags", tags)
        if not isinstance(tag, str) or stripped(tag)
    )
    if not wanted:
        fail("tags", "must hold at least one tag: without any, everything would match")
    return wanted


def _age(argument: str, value: float | timedelta) -> float:
    if isinstance(value, timedelta):
        value = value.total_seconds()
    return seconds(argument, value, zero=True)
