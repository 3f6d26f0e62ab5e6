"""Finds deployments by what they have, whether or not the filters of the list work.

A filter is believed once it has shown that it works (`filter_proof.py`), as long as it
shows no deployment that was not asked for. Otherwise the whole list is read. Each row is
checked here, as a server may ignore filters. Rows are believed once one with tags has
agreed with its status; what a row does not tell, its status does.
"""

import asyncio
import logging
from collections.abc import (
    AsyncIterator,
    Collection,
    Iterable,
    Mapping,
    Sequence,
)
from datetime import UTC, datetime
from typing import TypeAlias

from msgspec import Struct, structs

from .._records.existence import names_deployment
from .._transport.client import Transport
from .._transport.deadlines import Deadline
from .._transport.queries import (
    NEWEST,
    PAGE_SIZE,
    TAGS_PER_CALL,
    answers_in_chunks,
    read_page,
)
from .._transport.whole_lists import shows_all, whole_list
from ..endpoints import LIST, STATUS
from ..errors import (
    ApiError,
    BadRequest,
    DeadlineExceeded,
    EdgegapError,
    Incomplete,
    SessionClosed,
    WrongLoop,
    is_gone,
)
from ..models._check import some
from ..models.deployment import (
    DeploymentPage,
    DeploymentState,
    DeploymentStatus,
    DeploymentSummary,
)
from ..models.paging import ListFilter
from .filter_proof import FilterProof, is_plain

log: logging.Logger = logging.getLogger("edgegap_async")
# Rows whose status is asked for as a sample.
SAMPLE = 10
# Rows with tags that are compared with their statuses.
MOST_COMPARED = 3
# Errors of a status that end the search.
_FATAL = (DeadlineExceeded, SessionClosed, WrongLoop)
Rows = Sequence[DeploymentSummary]
# An error: it could not be had.
Told: TypeAlias = DeploymentStatus | EdgegapError


class Wanted(Struct, frozen=True):
    """What is searched for. None: any.

    Attributes:
        tags: any of them.
        older_than: seconds since the deployment was READY.
    """

    tags: frozenset[str] | None = None
    application: str | None = None
    older_than: float | None = None


class Finder:
    """One search, which may be repeated.

    Args:
        deadline: of all requests together.

    Attributes:
        confirmed: the IDs of those that are wanted by their statuses.
    """

    def __init__(
        self, transport: Transport, wanted: Wanted, deadline: Deadline
    ) -> None:
        self._transport, self._wanted, self._deadline = transport, wanted, deadline
        self.confirmed: set[str] = set()
        # Whether rows show the tags that their deployments have. None: no row with tags
        # was compared with its status yet.
        self._rows_tell_tags: bool | None = None
        self._filter_works = self._filter_tells_application = False
        # IDs of rows that were yielded, or are not wanted by their statuses.
        self._settled: set[str] = set()
        # IDs of rows of which it could not be found out whether they are wanted.
        self._unclear: dict[str, None] = {}
        # IDs of rows that were left out, and whether the log has named them.
        self._without_age: dict[str, bool] = {}

    async def rows(self) -> AsyncIterator[DeploymentSummary]:
        """Yield each deployment that is wanted, unless it was yielded before.

        Raises:
            Incomplete: there may be others.
        """
        self._unclear.clear()
        async for page in self._pages():
            # A server may send far more rows than were asked for.
            for start in range(0, len(page), PAGE_SIZE):
                await asyncio.sleep(0)
                for row in await self._wanted_of(page[start : start + PAGE_SIZE]):
                    yield row
        # The list may be read several times.
        ageless = [each for each, named in self._without_age.items() if not named]
        self._without_age = dict.fromkeys(self._without_age, True)
        if ageless:
            log.warning(
                "deployments without start_time were left out, as their age is "
                "unknown: %s",
                some(ageless),
                extra={"operation": LIST.call, "request_ids": ageless},
            )
        if self._unclear:
            raise Incomplete(
                "neither the list nor their status tells whether these deployments "
                f"are wanted: {some(self._unclear)}"
            )

    async def _pages(self) -> AsyncIterator[Rows]:
        """Yield pages on which all that are wanted are, among others."""
        wanted, filters = self._wanted, tuple[ListFilter, ...]()
        if wanted.tags is not None or wanted.application is not None:
            first = await read_page(self._transport, NEWEST, 1, self._deadline)
            if shows_all(first):
                yield first.data
                return
            if wanted.tags is not None:
                # Those without tags are left to the lists that follow.
                yield [row for row in first.data if row.tags]
                if await self._believes_filter_on_tags(wanted.tags, first):
                    async for rows in self._by_tags(sorted(wanted.tags)):
                        yield rows
                    if self._filter_works:
                        return
            elif await self._proves_application(first.data):
                self._filter_tells_application = True
                filters = (ListFilter("application", "eq", wanted.application or ""),)
        async for rows in whole_list(self._transport, self._deadline, filters):
            yield rows

    async def _believes_filter_on_tags(
        self, tags: Collection[str], newest: DeploymentPage
    ) -> bool:
        """Whether the filter on tags can be believed, and takes fewer lists than all
        deployments do.
        """
        count = newest.total_count
        few = count is None or len(tags) < max(2 * count, TAGS_PER_CALL)
        if not few or self._rows_tell_tags is False or not is_plain(tags):
            return False
        proof = FilterProof(self._transport, self._deadline, len(tags))
        return await proof.of_tags(newest.data)

    async def _by_tags(self, tags: Sequence[str]) -> AsyncIterator[Rows]:
        """Yield the rows under tags, as long as the filter works."""

        async def begin(
            some: Sequence[str],
        ) -> tuple[Sequence[str], Rows, AsyncIterator[Rows]]:
            filters = (ListFilter("tags", "in", some),)
            pages = whole_list(self._transport, self._deadline, filters)
            return some, await anext(pages), pages

        self._filter_works = True
        try:
            async for some, rows, others in answers_in_chunks(
                tags, begin, TAGS_PER_CALL
            ):
                yield rows
                await self._check_filter(some, rows)
                while self._filter_works:
                    if (page := await anext(others, None)) is None:
                        break
                    yield page
                    await self._check_filter(some, page)
                if not self._filter_works:
                    return
        except (BadRequest, Incomplete):
            self._filter_works = False

    async def _check_filter(self, tags: Sequence[str], rows: Rows) -> None:
        """Find out whether a filter has shown other rows, or rows with other tags than
        their deployments have. Then it is of no use.
        """
        if strangers := [row for row in rows if not _any_of(tags, row.tags)]:
            self._filter_works = False
            await self._compare_tags(strangers)

    async def _proves_application(self, newest: Rows) -> bool:
        """Whether the filter on applications works."""
        told = await self._statuses(newest[:SAMPLE])
        names = [
            each.app_name
            for each in told.values()
            if isinstance(each, DeploymentStatus) and each.app_name
        ]
        proof = FilterProof(self._transport, self._deadline)
        return await proof.of("application", names[:1])

    async def _compare_tags(self, rows: Iterable[DeploymentSummary]) -> None:
        """Find out from some of these rows whether rows tell their tags as they are.

        Rows without tags that agree with their statuses prove nothing: perhaps no row
        shows tags.
        """
        samples = sorted(rows, key=lambda row: -len(row.tags))[:MOST_COMPARED]
        statuses = await self._statuses(samples)
        for row in samples:
            status = statuses[row.request_id]
            if isinstance(status, DeploymentStatus) and not status.tags_unknown:
                same = {*status.tags} == {*row.tags}
                if not same:
                    self._rows_tell_tags = False
                elif row.tags and self._rows_tell_tags is None:
                    self._rows_tell_tags = True

    async def _wanted_of(self, page: Rows) -> Rows:
        """Those of these rows that are wanted, with their tags."""
        rows = {it.request_id: it for it in page if it.request_id not in self._settled}
        if self._wanted.tags is not None and self._rows_tell_tags is None:
            await self._compare_tags(row for row in rows.values() if row.tags)
        asked = [row for row in rows.values() if self._needs_status(row)]
        told = await self._statuses(asked)
        checked = (self._checked(row, told.get(it)) for it, row in rows.items())
        return [row for row in checked if row]

    def _tells_tags(self, row: DeploymentSummary) -> bool:
        return bool(self._rows_tell_tags) and not row.tags_unknown

    def _needs_status(self, row: DeploymentSummary) -> bool:
        wanted = self._wanted
        if wanted.tags is not None:
            if not self._tells_tags(row):
                return True
            if not _any_of(wanted.tags, row.tags):
                return False
        return wanted.application is not None and not self._filter_tells_application

    def _checked(
        self, row: DeploymentSummary, told: Told | None
    ) -> DeploymentSummary | None:
        """The row with its tags; None: it is not wanted, or that is unclear.

        Args:
            told: its status, if it was asked for.
        """
        wanted = self._wanted
        if isinstance(told, EdgegapError):
            if not _has_ended(told, row.request_id):
                self._unclear[row.request_id] = None
            return None
        if told and told.state is DeploymentState.TERMINATED:
            return None
        if told and not self._tells_tags(row):
            # If both know nothing, or only the row does, that stays as it is.
            row = row if told.tags_unknown else structs.replace(row, tags=told.tags)
        no_tags = wanted.tags is not None and row.tags_unknown
        no_name = told and wanted.application is not None and told.app_name is None
        if no_tags or no_name:
            self._unclear[row.request_id] = None
            return None
        if told:
            self._settled.add(row.request_id)
        if not _any_of(wanted.tags, row.tags):
            return None
        if told and wanted.application not in (None, told.app_name):
            return None
        self._settled.add(row.request_id)
        if told:
            self.confirmed.add(row.request_id)
        return row if self._is_old(row) else None

    def _is_old(self, row: DeploymentSummary) -> bool:
        if self._wanted.older_than is None:
            return True
        if row.start_time is None:
            self._without_age.setdefault(row.request_id, False)
            return False
        age = datetime.now(UTC) - row.start_time
        return age.total_seconds() > self._wanted.older_than

    async def _statuses(self, rows: Rows) -> Mapping[str, Told]:
        """The statuses of these deployments, by their IDs."""
        told: dict[str, Told] = {}

        async def ask(request_id: str) -> None:
            try:
                told[request_id] = await status_of(
                    self._transport, request_id, self._deadline
                )
            except EdgegapError as error:
                told[request_id] = error

        async with asyncio.TaskGroup() as group:
            for row in rows:
                group.create_task(ask(row.request_id))
        for each in told.values():
            if isinstance(each, _FATAL):
                raise each
        return told


async def status_of(
    transport: Transport, request_id: str, deadline: Deadline
) -> DeploymentStatus:
    """The status of a deployment, in the background."""
    return await transport.call(
        STATUS,
        {"request_id": request_id},
        deadline=deadline,
        priority="background",
    )


async def is_confirmed(
    transport: Transport, row: DeploymentSummary, wanted: Wanted, deadline: Deadline
) -> bool:
    """Whether the status of a deployment confirms that it runs and is wanted. What the
    status does not tell is taken from the row.
    """
    try:
        status = await status_of(transport, row.request_id, deadline)
    except ApiError as error:
        if _has_ended(error, row.request_id):
            # Perhaps it is not visible yet. A stop waits until that is clear.
            return True
        raise
    if status.state is DeploymentState.TERMINATED:
        return False
    same_application = wanted.application in (None, status.app_name)
    return (status.tags_unknown or _any_of(wanted.tags, status.tags)) and (
        status.app_name is None or same_application
    )


def _has_ended(error: EdgegapError, request_id: str) -> bool:
    """Whether the API says that there is no such deployment, and not a gateway."""
    if not isinstance(error, ApiError):
        return False
    return is_gone(error) and names_deployment(error, request_id)


def _any_of(wanted: Collection[str] | None, tags: Iterable[str]) -> bool:
    # Of a set, as there may be very many of them.
    return wanted is None or any(tag in wanted for tag in tags)
