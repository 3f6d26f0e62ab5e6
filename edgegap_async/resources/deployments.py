"""`session.deployments`: start, watch, list, measure and stop game servers."""

import builtins
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

import msgspec
from msgspec import UNSET

from .._lanes import Priority
from .._transport import Timeout
from ..endpoints import (
    BULK_STOP,
    CONTAINER_LOGS,
    LIST,
    METRICS,
    SELF_STOP,
    STATUS,
    STOP,
)
from ..models._check import (
    fail,
    flag,
    log_storage_query,
    optional_text,
    text,
    token_text,
    whole_number,
)
from ..models.deployment import (
    BulkStopFilter,
    BulkStopRequest,
    BulkStopResult,
    ContainerLogs,
    DeploymentPage,
    DeploymentStatus,
    DeploymentSummary,
    StopResult,
)
from ..models.metrics import DeploymentMetrics
from ..models.paging import ListQuery
from ._owned import OwnedDeployments
from ._paging import page_query

# pages in a row that bring nothing new: the server gives the same one again and again
MOST_STALE_PAGES = 3


class Deployments(OwnedDeployments):
    """Deployments. Every method that calls the API takes `timeout`, seconds for the
    whole call, queue and repeats included: not given, it is the session's; None, there
    is no end. And `priority`, the lane in which it waits for its limit. All raise
    `EdgegapError` as the tree in `errors` tells, and `ValueError` for a wrong argument
    before anything is sent.
    """

    async def status(
        self,
        request_id: str,
        *,
        timeout: Timeout = UNSET,
        priority: Priority = "foreground",
    ) -> DeploymentStatus:
        """All that the API tells of a deployment (GET /v1/status/{request_id}).

        Once it has ended the API answers TERMINATED, or 404 (`NotFound`), 410 (`Gone`),
        or 400 (`BadRequest`).
        """
        return await self._transport.call(
            STATUS, {"request_id": request_id}, timeout=timeout, priority=priority
        )

    async def stop(
        self,
        request_id: str,
        *,
        container_log_storage: bool | str | None = None,
        timeout: Timeout = UNSET,
        priority: Priority = "foreground",
    ) -> StopResult:
        """Stop a deployment (DELETE /v1/stop/{request_id}). Before READY or ERROR that
        happens once one is reached.

        Args:
            container_log_storage: True or False, or the name of the endpoint storage
                that keeps the logs.
            timeout: seconds for the whole call.

        Raises:
            NotFound, Gone: it has already ended.
            EdgegapError: as the tree in `errors` tells.
        """
        query = log_storage_query(container_log_storage)
        words = {"request_id": request_id}
        result = await self._transport.call(
            STOP, words, query=query, timeout=timeout, priority=priority
        )
        self._ownership.gone(request_id)
        return result

    async def self_stop(
        self,
        request_id: str,
        access_point_id: int | str,
        *,
        token: str,
        container_log_storage: bool | str | None = None,
        timeout: Timeout = UNSET,
        priority: Priority = "foreground",
    ) -> StopResult:
        """Stop a deployment as its own container does (DELETE
        /v1/self/stop/{request_id}/{access_point_id}).

        Inside a container `edgegap_async.container.stop_self` needs none of this and no
        API token.

        Args:
            access_point_id: the last word of ARBITRIUM_DELETE_URL.
            token: ARBITRIUM_DELETE_TOKEN; it is sent in place of the session's.
            container_log_storage: as for `stop`.
            timeout: seconds for the whole call.
        """
        if not isinstance(access_point_id, str):
            access_point_id = str(whole_number("access_point_id", access_point_id, 0))
        words = {"request_id": request_id, "access_point_id": access_point_id}
        query = log_storage_query(container_log_storage)
        bare = token_text("token", token)
        return await self._transport.call(
            SELF_STOP,
            words,
            query=query,
            timeout=timeout,
            priority=priority,
            token=bare,
        )

    async def bulk_stop(
        self,
        filter: BulkStopFilter | Sequence[BulkStopFilter] | None = None,
        *,
        everything: bool = False,
        timeout: Timeout = UNSET,
        priority: Priority = "foreground",
    ) -> BulkStopResult:
        """Stop all deployments that match (POST /v1/deployments/bulk-stop).

        Args:
            filter: which ones. How the API combines several filters is not documented.
            everything: needed for what may stop more than is named: no filter, `not`,
                or a filter without values.
            timeout: seconds for the whole call.
        """
        body = BulkStopRequest(
            (filter,) if isinstance(filter, BulkStopFilter) else filter or ()
        )
        broad = not body.filters or any(
            item.filter_type == "not" or not item.values for item in body.filters
        )
        if broad and not everything:
            fail(
                "filter",
                "may mean every deployment there is; say everything=True if you mean it",
            )
        return await self._transport.call(
            BULK_STOP, body=body, timeout=timeout, priority=priority
        )

    async def list(
        self,
        query: ListQuery | str | None = None,
        *,
        page: int | None = None,
        limit: int | None = None,
        timeout: Timeout = UNSET,
        priority: Priority = "foreground",
    ) -> DeploymentPage:
        """One page of the organization's deployments (GET /v1/deployments).

        Args:
            query: filters and order, as a struct or as the API's own JSON text.
            page, limit: which page and how many a page, from 1; the API decides where
                not given.
            timeout: seconds for the whole call.
        """
        parameters = {"query": _query_text(query), **page_query(page, limit)}
        return await self._transport.call(
            LIST, query=parameters, timeout=timeout, priority=priority
        )

    async def iterate(
        self,
        query: ListQuery | str | None = None,
        *,
        page_size: int = 100,
        timeout: Timeout = UNSET,
        priority: Priority = "foreground",
    ) -> AsyncIterator[DeploymentSummary]:
        """All deployments that match, page by page, none of them twice.

        The API has no cursor: one that moves to an earlier page while this goes on may
        be missed.

        Args:
            query: as for `list`.
            page_size: how many to ask for at once; the API may give fewer.
            timeout: seconds for each page.
        """
        whole_number("page_size", page_size, 1)
        seen: builtins.set[str] = set()
        number, stale = 1, 0
        while stale < MOST_STALE_PAGES:
            page = await self.list(
                query, page=number, limit=page_size, timeout=timeout, priority=priority
            )
            fresh = [summary for summary in page.data if summary.request_id not in seen]
            for summary in fresh:
                if summary.request_id not in seen:
                    seen.add(summary.request_id)
                    yield summary
            if not page.data or page.pagination is None or not page.pagination.has_next:
                return
            number, stale = number + 1, 0 if fresh else stale + 1

    async def container_logs(
        self,
        request_id: str,
        *,
        timeout: Timeout = UNSET,
        priority: Priority = "foreground",
    ) -> ContainerLogs:
        """What the container wrote (GET /v1/deployment/{request_id}/container-logs);
        gone once it is stopped.
        """
        return await self._transport.call(
            CONTAINER_LOGS,
            {"request_id": request_id},
            timeout=timeout,
            priority=priority,
        )

    async def metrics(
        self,
        request_id: str,
        *,
        start_time: datetime | str | None = None,
        end_time: datetime | str | None = None,
        steps: str | None = None,
        raw: bool | None = None,
        timeout: Timeout = UNSET,
        priority: Priority = "foreground",
    ) -> DeploymentMetrics:
        """Metrics of a deployment (GET /v1/metrics/deployment/{request_id}).

        Args:
            start_time, end_time: a `datetime` (naive is UTC), or text in the API's form
                `2021-07-10 00:00:00.00`; not given: from the start until now.
            steps: time between two values, such as 30s, 1m, 1h.
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
            timeout=timeout,
            priority=priority,
        )


def _query_text(query: ListQuery | str | None) -> str | None:
    if isinstance(query, ListQuery):
        return msgspec.json.encode(query).decode()
    if query is not None:
        try:
            msgspec.json.decode(text("query", query))
        except msgspec.DecodeError as error:
            fail("query", f"is not JSON: {error}")
    return query


def _time_text(argument: str, time: datetime | str | None) -> str | None:
    if not isinstance(time, datetime):
        return optional_text(argument, time)
    return (time.astimezone(UTC) if time.tzinfo else time).strftime(
        "%Y-%m-%d %H:%M:%S.%f"
    )
