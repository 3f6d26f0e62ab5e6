"""Finds deployments by what they have, whether or not the filters of the list work.

A filter is believed once it has shown that it works: it shows a deployment that exists,
and no other than was asked for. Otherwise the whole list is read. Each row is checked
here, as a server may ignore filters; what a row does not tell, its status does.
"""

import logging
from collections import Counter
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from uuid import uuid4

from msgspec import Struct, structs

from .._transport.client import Transport
from .._transport.deadlines import Deadline
from .._transport.queries import (
    NEWEST,
    TAGS_PER_CALL,
    answers_in_chunks,
    ask_in_chunks,
    read_page,
)
from .._transport.whole_lists import shows_all, whole_list
from ..endpoints import LIST, STATUS
from ..errors import ApiError, BadRequest, Incomplete, UnexpectedAnswer, is_gone
from ..models.deployment import (
    DeploymentState,
    DeploymentStatus,
    DeploymentSummary,
)
from ..models.paging import ListFilter, ListQuery

log: logging.Logger = logging.getLogger("edgegap_async")
# IDs in a text, and rows whose status is asked for as a sample.
MOST_NAMED = 10
# Values of a filter that are tried, as the deployments that have them may end meanwhile.
MOST_WITNESSES = 3
Rows = Sequence[DeploymentSummary]


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
    """One search.

    Args:
        deadline: of all requests together.
    """

    def __init__(
        self, transport: Transport, wanted: Wanted, deadline: Deadline
    ) -> None:
        self._transport, self._wanted, self._deadline = transport, wanted, deadline
        # Whether the tags of rows and the filters are believed.
        self._rows_tell_tags = True
        self._filter_works = self._filter_tells_application = False
        # IDs of rows of which it could not be found out whether they are wanted.
        self._unclear: list[str] = []
        self._without_age: list[str] = []

    async def rows(self) -> AsyncIterator[DeploymentSummary]:
        """Yield each deployment that is wanted, once.

        Raises:
            Incomplete: there may be others.
        """
        seen: set[str] = set()
        async for page in self._pages():
            for row in page:
                if row.request_id not in seen:
                    seen.add(row.request_id)
                    if wanted := await self._checked(row):
                        yield wanted
        if self._without_age:
            log.warning(
                "deployments without start_time were left out, as their age is "
                "unknown: %s",
                _named(self._without_age),
                extra={"operation": LIST.call, "request_ids": self._without_age},
            )
        if self._unclear:
            raise Incomplete(
                "neither the list nor their status tells whether these deployments "
                f"are wanted: {_named(self._unclear)}"
            )

    async def _pages(self) -> AsyncIterator[Rows]:
        """Yield pages on which all that are wanted are, among others."""
        wanted, filters = self._wanted, tuple[ListFilter, ...]()
        if wanted.tags is not None or wanted.application is not None:
            first = await read_page(self._transport, NEWEST, 1, self._deadline)
            await self._check_tags_of_rows(first.data)
            if shows_all(first):
                yield first.data
                return
            if wanted.tags is not None:
                async for rows in self._by_tags(sorted(wanted.tags), first.data):
                    yield rows
                if self._filter_works:
                    return
            elif await self._proves(
                "application", await self._applications(first.data)
            ):
                self._filter_tells_application = True
                filters = (ListFilter("application", "eq", wanted.application or ""),)
        async for rows in whole_list(self._transport, self._deadline, filters):
            yield rows

    async def _by_tags(self, tags: Sequence[str], newest: Rows) -> AsyncIterator[Rows]:
        """Yield the rows under tags, as long as the filter works."""

        async def ask(some: Sequence[str]) -> Rows:
            rows: list[DeploymentSummary] = []
            filters = (ListFilter("tags", "in", some),)
            try:
                async for page in whole_list(self._transport, self._deadline, filters):
                    rows.extend(page)
                    if not all(_any_of(some, row.tags) for row in page):
                        self._filter_works = False
                        break
            except (BadRequest, Incomplete):
                self._filter_works = False
            return rows

        works = self._rows_tell_tags and await self._tags_proven(newest, len(tags))
        self._filter_works = works
        if works:
            async for rows in answers_in_chunks(tags, ask, TAGS_PER_CALL):
                yield rows
                if not self._filter_works:
                    return

    async def _tags_proven(self, newest: Rows, size: int) -> bool:
        """Whether the filter on tags works, for so many tags at once."""
        known = Counter(tag for row in newest for tag in row.tags)
        if known:
            rare = sorted(known, key=lambda tag: known[tag])
            return await self._proves("tags", rare, size)
        # No deployment can show that it works, so another filter has to.
        if not await self._proves("request_id", [row.request_id for row in newest]):
            return False
        try:
            return not await self._shows_any("tags", _unknown(size))
        except BadRequest:
            return False

    async def _proves(self, field: str, existing: Sequence[str], size: int = 1) -> bool:
        """Whether a filter shows what exists, among as many values as will be asked for,
        and shows nothing for values that do not exist.

        Args:
            existing: values that deployments have. The deployments of the first ones may
                end meanwhile.
            size: how many values will be asked for.
        """
        around = [
            f"none-{uuid4().hex}" for _ in range(min(size, TAGS_PER_CALL) // 2 + 1)
        ]
        try:
            if not existing or await self._shows_any(field, around):
                return False
            for value in existing[:MOST_WITNESSES]:
                if await self._shows_any(field, [*around, value, *around]):
                    return True
        except BadRequest:
            pass
        return False

    async def _shows_any(self, field: str, values: Sequence[str]) -> bool:
        """Whether a list of any of these values shows a row."""

        async def ask(some: Sequence[str]) -> bool:
            query = ListQuery(filters=(ListFilter(field, "in", some),))
            page = await read_page(self._transport, query, 1, self._deadline, limit=1)
            return bool(page.data or page.skipped)

        return any(await ask_in_chunks(values, ask))

    async def _applications(self, rows: Rows) -> Sequence[str]:
        """The application of one of these deployments."""
        async for status in self._samples(rows):
            if status.app_name:
                return (status.app_name,)
        return ()

    async def _check_tags_of_rows(self, rows: Rows) -> None:
        """Find out from one deployment whether rows tell their tags as they are."""
        if self._wanted.tags is None:
            return
        told = {row.request_id: row.tags for row in rows}
        with_tags_first = sorted(rows, key=lambda row: not row.tags)
        async for status in self._samples(with_tags_first):
            if not status.tags_unknown:
                self._rows_tell_tags = {*status.tags} == {*told[status.request_id]}
                return

    async def _checked(self, row: DeploymentSummary) -> DeploymentSummary | None:
        """The row with its tags; None: it is not wanted, or that is unclear."""
        wanted = self._wanted
        tells_tags = self._rows_tell_tags and not row.tags_unknown
        if tells_tags and not _any_of(wanted.tags, row.tags):
            return None
        ask_tags = wanted.tags is not None and not tells_tags
        if ask_tags or (wanted.application and not self._filter_tells_application):
            try:
                status = await self._status(row.request_id)
            except (ApiError, UnexpectedAnswer):
                self._unclear.append(row.request_id)
                return None
            if status is None:
                return None
            no_tags = ask_tags and status.tags_unknown
            if no_tags or (wanted.application and status.app_name is None):
                self._unclear.append(row.request_id)
                return None
            if wanted.application not in (None, status.app_name):
                return None
            row = structs.replace(row, tags=status.tags) if ask_tags else row
            if not _any_of(wanted.tags, row.tags):
                return None
        return row if self._is_old(row) else None

    def _is_old(self, row: DeploymentSummary) -> bool:
        if self._wanted.older_than is None:
            return True
        if row.start_time is None:
            self._without_age.append(row.request_id)
            return False
        age = datetime.now(UTC) - row.start_time
        return age.total_seconds() > self._wanted.older_than

    async def _status(self, request_id: str) -> DeploymentStatus | None:
        """Its status; None: it has ended.

        Raises:
            ApiError, UnexpectedAnswer: the status can't be had.
        """
        try:
            status = await self._transport.call(
                STATUS,
                {"request_id": request_id},
                timeout=self._deadline.left(),
                priority="background",
            )
        except ApiError as error:
            if is_gone(error):
                return None
            raise
        ended = status.state is DeploymentState.TERMINATED
        return None if ended else status

    async def _samples(self, rows: Rows) -> AsyncIterator[DeploymentStatus]:
        """Yield the statuses of some of these deployments."""
        for row in rows[:MOST_NAMED]:
            with suppress(ApiError, UnexpectedAnswer):
                if status := await self._status(row.request_id):
                    yield status


def _unknown(count: int) -> Sequence[str]:
    """Values that nothing has: as many, or as fit into one filter."""
    return [f"none-{uuid4().hex}" for _ in range(min(count, TAGS_PER_CALL))]


def _any_of(wanted: Collection[str] | None, tags: Collection[str]) -> bool:
    return wanted is None or not {*wanted}.isdisjoint(tags)


def _named(request_ids: Sequence[str]) -> str:
    """Some IDs, and how many more there are."""
    text = ", ".join(request_ids[:MOST_NAMED])
    more = len(request_ids) - MOST_NAMED
    return f"{text} and {more} more" if more > 0 else text
