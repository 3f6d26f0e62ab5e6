"""Asks lists which of many deployments have ended.

A list of one row tells how many of them there are. Only if some are missing, all rows
are read to see which, and a second list with witnesses confirms them
(`_transport/presence.py`).
"""

import asyncio
import logging
from collections.abc import Collection, Sequence
from random import sample
from typing import NamedTuple

from .._records.existence import YOUNG, Existence, is_terminated
from .._transport.client import Transport
from .._transport.deadlines import Deadline, loop_time
from .._transport.presence import (
    WITNESSES,
    count,
    existing,
    in_all_pages,
    listed,
    nothing_exists,
)
from .._transport.queries import LONGEST_SWEEP, PAGE_SIZE, size
from ..errors import ApiError, EdgegapError
from .filter_health import REFUSALS, FilterHealth
from .poller import LIST_TIMEOUT

log: logging.Logger = logging.getLogger("edgegap_async")
# All rows are read although the count is right once in so many times: the count may be
# one of all deployments. It is odd, so that each of several lists has its turn.
COUNTS_PER_CHECK = 53
# So many statuses are asked for before lists are believed that deployments are gone.
SPOT_CHECKS = 3
# Seconds for each of them: lists decide if it is not answered.
SPOT_CHECK_TIMEOUT = 2.0


class Look(NamedTuple):
    """What lists say about some deployments. The others of them are unknown.

    Attributes:
        shown: they exist.
        ended: they do not exist any more, or are not READY any more.
        requests: about how many requests it took.
    """

    shown: Collection[str] = ()
    ended: Collection[str] = ()
    requests: int = 1


class EndLists:
    """Looks at deployments by lists.

    Args:
        existence: knows how old each deployment is.
    """

    def __init__(self, transport: Transport, existence: Existence) -> None:
        self._transport, self._existence = transport, existence
        self._health = FilterHealth()
        # Whether `total_count` was the number of rows. None: not known so far.
        self._counts: bool | None = None
        self._looks = 0

    @property
    def room(self) -> int:
        """How many characters of IDs fit into a URL."""
        return self._health.room

    def work(self, now: float) -> bool:
        """Return whether lists are answered. While they are not, they are tried rarely."""
        return self._health.lists_work(now)

    async def look(self, request_ids: Sequence[str], *, ready: bool) -> Look:
        """Look at deployments that fit into a URL.

        Args:
            ready: they end once they are not READY any more; False: once they do not
                exist any more.
        """
        state, now = "ready" if ready else None, loop_time()
        deadline = Deadline.after(LIST_TIMEOUT)
        try:
            if self._health.filters_trusted(now):
                look = await self._by_filter(request_ids, state, deadline)
            else:
                look = await self._in_pages(request_ids, state, deadline)
        except EdgegapError as error:
            log.info("list failed, retrying: %s", error)
            if isinstance(error, ApiError) and error.status in REFUSALS:
                self._health.refused(size(request_ids), now)
            else:
                self._health.failed(now)
            return Look()
        self._health.answered()
        return look

    async def _by_filter(
        self, request_ids: Sequence[str], state: str | None, deadline: Deadline
    ) -> Look:
        self._looks += 1
        if self._counts and self._looks % COUNTS_PER_CHECK:
            total = await count(self._transport, request_ids, deadline, state)
            if total == len(request_ids):
                return Look(request_ids)
        found = await listed(self._transport, request_ids, deadline, state)
        pages = 1 + len(found.shown) // PAGE_SIZE
        if not found.sound:
            self._health.distrust(loop_time())
            return Look(requests=pages)
        self._counts = found.total == len(found.shown)
        missing = [each for each in request_ids if each not in found.shown]
        if not missing:
            return Look(request_ids, requests=1 + pages)
        ended = await self._confirm(missing, found.shown, state, deadline)
        return Look(found.shown, ended, 2 + pages)

    async def _confirm(
        self,
        missing: Sequence[str],
        shown: Collection[str],
        state: str | None,
        deadline: Deadline,
    ) -> Collection[str]:
        """Those that a second list does not show either, unless the status of some of them
        shows that they exist: both lists may come from one replica that lags.
        """
        old = [each for each in missing if self._existence.age(each) >= YOUNG]
        if not old:
            return ()
        left, exist = await asyncio.gather(
            existing(
                self._transport,
                old,
                deadline,
                witnesses=sorted(shown)[:WITNESSES],
                state=state,
            ),
            self._some_exist(old, state),
        )
        if exist:
            return ()
        if left is not None:
            return {*old} - {*left}
        nothing = await nothing_exists(self._transport, deadline)
        return old if nothing and await self._spot_check(old) else ()

    async def _in_pages(
        self, request_ids: Sequence[str], state: str | None, deadline: Deadline
    ) -> Look:
        old = [each for each in request_ids if self._existence.age(each) >= YOUNG]
        left = await in_all_pages(self._transport, request_ids, deadline, state)
        if left is None:
            return Look(requests=LONGEST_SWEEP)
        # It has read them twice.
        pages, ended = 2 + len(left) // PAGE_SIZE, {*old} - {*left}
        if await self._some_exist([*ended], state):
            return Look(left, (), pages)
        return Look(left, ended, pages)

    async def _some_exist(self, request_ids: Sequence[str], state: str | None) -> bool:
        """Whether the status of some of these shows that it exists. Each one that is not
        READY any more is asked for its reason anyway.
        """
        if state:
            return False
        some = sample(request_ids, min(SPOT_CHECKS, len(request_ids)))
        return any(await asyncio.gather(*map(self._exists, some)))

    async def _exists(self, request_id: str) -> bool:
        try:
            return not await is_terminated(
                self._transport, request_id, SPOT_CHECK_TIMEOUT
            )
        except EdgegapError:
            return False

    async def _spot_check(self, request_ids: Sequence[str]) -> bool:
        """Whether the statuses of some of these say that they are gone."""
        some = sample(request_ids, min(SPOT_CHECKS, len(request_ids)))
        return all(await asyncio.gather(*map(self.has_ended, some)))

    async def has_ended(self, request_id: str) -> bool:
        """Whether the status of a deployment says that it does not exist any more."""
        return await self._existence.has_ended(self._transport, request_id)
