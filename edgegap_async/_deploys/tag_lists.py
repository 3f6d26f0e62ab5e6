"""Reads lists for tags, and judges whether they prove that no server exists under one.

A list shows too little if it lags, if its filter is refused, ignored or matches nothing,
or if it does not tell the tags of its rows. Each is noticed by what the list should have
shown. While the filter can't be trusted, all pages are read, newest first.
"""

import logging
from collections.abc import Callable, Iterable, Sequence, Set
from itertools import pairwise
from math import inf

from .._records.records import Records
from .._records.search_tags import Knowledge, SearchedTag, SearchTags
from .._records.state import ALIVE
from .._transport.client import Transport
from .._transport.deadlines import Deadline, loop_time
from .._transport.queries import TAGS_PER_CALL, newest, tagged
from .._waiters.filter_health import DISTRUST, REFUSALS
from ..errors import ApiError, EdgegapError
from ..models.deployment import DeploymentSummary
from .row_tags import RowTags, ToldTags

log: logging.Logger = logging.getLogger("edgegap_async")
# Seconds for one list: the next one knows more than a late one.
LIST_TIMEOUT = 5.0
# Seconds from one read of all pages to the next: once a tag that is SEARCHED may be
# absent, while the lag is measured, and else.
SWEEP_INTERVAL, PROBE_SWEEP_INTERVAL, BACKGROUND_SWEEP_INTERVAL = 0.4, 2.0, 10.0
# The pause after a sweep for which nobody waits, as a multiple of its length.
BACKGROUND_SHARE = 9
# Sweeps that must agree on an absence, as pages shift while deployments come and go.
SWEEPS = 2
# Steps from one known row to an older one that must be in order before a sweep ends at an
# old row, and the seconds by which the order of acceptance may differ from that of
# creation.
ORDER_STEPS, ORDER_TOLERANCE = 4, 10.0
# Seconds after which a server may have ended by itself.
RECENT = 120.0


class TagLists:
    """The lists that are read for tags.

    Args:
        on_shown: called with the request_id and the tags of each server that a list
            shows.

    Attributes:
        room: how many tags fit into a URL.
        listed: a tag that is known to be listed, so that a list which hides it proves
            nothing.
    """

    def __init__(
        self,
        transport: Transport,
        records: Records,
        tags: SearchTags,
        on_shown: Callable[[str, Iterable[str]], object],
    ) -> None:
        self._transport, self._records, self._tags = transport, records, tags
        self._on_shown = on_shown
        self.room: int = TAGS_PER_CALL
        self.listed: SearchedTag | None = None
        # The largest number of tags of which a filter has shown one.
        self._proven = 0
        # When the filter is trusted again.
        self._distrusted_until = -inf
        # When the last read of all pages has ended, and how long it took.
        self._swept, self._sweep_took = -inf, 0.0
        self._rows = RowTags(transport, records)

    async def tags_by_status(self, request_id: str) -> tuple[str, ...] | None:
        """The tags of a deployment. None: its status does not tell them so far."""
        return await self._rows.by_status(request_id)

    def _show(self, told: ToldTags) -> None:
        for request_id, tags in told.tags.items():
            self._on_shown(request_id, tags)

    def filter_trusted(self, asked: float) -> bool:
        """Whether the filter is trusted at this time."""
        return asked >= self._distrusted_until

    def sweep_due(self, asked: float, *, waited_for: bool) -> bool:
        """Whether all pages may be read again.

        Args:
            waited_for: a tag that is SEARCHED may be absent.
        """
        interval = BACKGROUND_SWEEP_INTERVAL
        if waited_for:
            interval = SWEEP_INTERVAL
        elif self._tags.probing:
            interval = PROBE_SWEEP_INTERVAL
        # Others need lists too: half of the time at least, and more if nobody waits.
        share = 1 if waited_for else BACKGROUND_SHARE
        return asked >= self._swept + max(interval, share * self._sweep_took)

    async def ask_filter(
        self,
        entries: Sequence[SearchedTag],
        asked: float,
        timeout: float = LIST_TIMEOUT,
    ) -> bool | None:
        """Ask the filter for tags.

        Args:
            asked: when this search began, on the loop's clock.
            timeout: seconds.

        Returns:
            Whether the answer proves an absence; None: there was no answer.
        """
        listed = self._still_listed()
        tags = [entry.tag for entry in entries]
        if listed and listed.tag not in tags:
            tags.append(listed.tag)
        try:
            rows, complete = await tagged(self._transport, tags, timeout)
        except EdgegapError as error:
            return self._refused(error, len(tags), asked)
        since = min((entry.sent_at for entry in entries), default=0.0)
        told = await self._rows.tell(rows, since, asked, waited_for=True, wanted=tags)
        self._show(told)
        if any(not set(each) & set(tags) for each in told.tags.values()):
            self._distrust(asked)
            return False
        if told.unclear or not complete:
            return False
        shown = {tag for each in told.tags.values() for tag in each} & set(tags)
        if shown:
            self._proven = max(self._proven, len(tags))
        for entry in entries:
            if entry.tag not in shown:
                self._tags.not_listed(entry, loop_time())
        if listed and listed.tag not in shown:
            # The list does not show what exists, unless it has ended by itself.
            self.listed, self._proven = None, 0
            return False
        return bool(shown) or len(tags) <= self._proven

    def _refused(self, error: EdgegapError, tags: int, asked: float) -> bool | None:
        if isinstance(error, ApiError) and error.status in REFUSALS:
            if tags > 1 and self.room > 1:
                self.room = max(min(self.room, tags) // 2, 1)
            else:
                self._distrust(asked)
            return False
        log.info("tag search failed, retrying: %s", error)
        return None

    def _distrust(self, asked: float) -> None:
        self._distrusted_until, self._proven = asked + DISTRUST, 0

    def _still_listed(self) -> SearchedTag | None:
        """A tag that a list must show, as its server exists."""
        entry = self.listed
        record = self._records.get(entry.request_id or "") if entry else None
        if record is None or record.state not in ALIVE:
            self.listed = entry = None
        return entry

    async def sweep(
        self, entries: Sequence[SearchedTag], asked: float
    ) -> list[SearchedTag]:
        """Read all pages, newest first.

        Returns:
            The tags about which enough sweeps agree: what they did not show is absent.
        """
        proven = await self._read_pages(entries, asked)
        self._swept = loop_time()
        self._sweep_took = self._swept - asked
        return proven

    async def _read_pages(
        self, entries: Sequence[SearchedTag], asked: float
    ) -> list[SearchedTag]:
        searched = [each for each in entries if each.knowledge is Knowledge.SEARCHED]
        since = min((each.sent_at for each in searched or entries), default=0.0)
        order: list[float] = []
        pages: list[DeploymentSummary] = []

        def take(rows: Sequence[DeploymentSummary]) -> bool:
            pages.extend(rows)
            for row in rows:
                record = self._records.get(row.request_id)
                if record and record.accepted_at is not None:
                    order.append(record.accepted_at)
            return _ends_before(order, since)

        try:
            complete = await newest(self._transport, take, Deadline.after(LIST_TIMEOUT))
            told = await self._rows.tell(pages, since, asked, waited_for=bool(searched))
        except EdgegapError as error:
            log.info("tag search by pages failed, retrying: %s", error)
            return []
        self._show(told)
        shown = {row.request_id for row in pages}
        if not complete or told.unclear or self._hides_servers(shown, asked):
            return []
        over = [entry for entry in entries if self._tags.is_over(entry, asked)]
        for entry in over:
            entry.sweeps += 1
        return [entry for entry in over if entry.sweeps >= SWEEPS]

    def _hides_servers(self, shown: Set[str], asked: float) -> bool:
        """Whether a list shows none of the servers that this session has just started,
        so that it proves nothing. Older ones may have ended by themselves.
        """
        window = self._tags.window(asked)
        expected = [
            record.request_id
            for record in self._records.alive()
            if record.accepted_at is not None
            and window < asked - record.accepted_at < RECENT
        ]
        return bool(expected) and shown.isdisjoint(expected)


def _ends_before(order: Sequence[float], since: float) -> bool:
    """Whether rows newest first have come to one that is older than `since`. Known rows
    must show that the order was honoured: in several steps, each of them longer than
    the order of acceptance may differ from that of creation.
    """
    if not order or order[-1] >= since - ORDER_TOLERANCE:
        return False
    pairs = list(pairwise(order))
    steps = sum(newer > older + ORDER_TOLERANCE for newer, older in pairs)
    return steps >= ORDER_STEPS and all(
        newer >= older - ORDER_TOLERANCE for newer, older in pairs
    )
