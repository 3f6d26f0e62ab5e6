"""Searches for servers by the tags of their deploys. One search serves all tags.

A tag is *absent* only if an answer says so that was asked for after its search window
(`search_tags.py`), and that is proven: by a filter that shows in the same answer another
tag which certainly exists, or that has shown one of as many tags before; or by pages
newest first, twice. A row that does not tell its tags says nothing: its status does.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Sequence, Set
from datetime import UTC, datetime
from itertools import pairwise
from math import inf

from .._transport.client import Transport
from .._transport.queries import TAGS_PER_CALL, newest, tagged
from ..endpoints import STATUS
from ..errors import ApiError, EdgegapError
from ..models.deployment import DeploymentState, DeploymentSummary
from .records import Records
from .search_tags import (
    ABSENT_HOLD,
    INTERVAL_OF_OTHERS,
    QUARANTINE,
    Knowledge,
    SearchedTag,
    SearchTags,
)
from .state import ALIVE, DeployRecord, DeployState, Event

log: logging.Logger = logging.getLogger("edgegap_async")
# Seconds between two searches while a tag is SEARCHED: quick at first, as the server is
# listed at once if lists don't lag.
FIRST_INTERVAL, FIRST_SECONDS, INTERVAL = 0.4, 1.0, 0.5
SHORTEST_INTERVAL = 0.35
# Seconds between two searches for other tags, and tags in each of them: one list. The
# list limit is needed for waiters. This keeps up with deploys at the full rate.
BACKGROUND_PAUSE, MOST_BACKGROUND = 2.0, TAGS_PER_CALL - 1
# Seconds after the end of a request after which the search is inconclusive: if lists
# fail, and if they are answered but prove nothing, as when they lag.
FAILING_TIMEOUT, UNPROVEN_TIMEOUT = 15.0, 30.0
# Searches after the window that must have found out nothing by then. A process that was
# suspended has not searched meanwhile.
MOST_MISSES = 3
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
# Seconds until a filter that was refused or ignored is tried again.
DISTRUST = 60.0
# Statuses of a filter that is refused, and of a URL that is too long.
REFUSALS = (400, 414, 431)
# Looks at a time at deployments that webhooks have named: a leaked URL must not cost
# more.
MOST_LOOKS = 20
# Rows whose tags are asked for by status in one search, and that are remembered.
MOST_STATUSES, MOST_REMEMBERED = 50, 5000
# Seconds by which the clocks of the API and of this process may differ.
CLOCK_SKEW = 300.0


class Unresolved(Exception):
    """The search could not find out whether a server exists under the tag."""


class TagSearch:
    """All tags that are searched for. `run` is the task that does it.

    Args:
        on_orphan: called with the request_id and the tag of each server that is
            nobody's, and with the record of the deploy if that has no other server.
    """

    def __init__(
        self,
        transport: Transport,
        records: Records,
        on_orphan: Callable[[str, str, DeployRecord | None], object],
    ) -> None:
        self._transport, self._records = transport, records
        self._on_orphan = on_orphan
        self._tags = SearchTags()
        self._changed = asyncio.Event()
        # The largest number of tags of which a filter has shown one.
        self._proven = 0
        # Tags that fit into a URL.
        self._room = TAGS_PER_CALL
        # When the filter is trusted again.
        self._distrusted_until = -inf
        # A tag whose server is listed.
        self._canary: SearchedTag | None = None
        self._searched_at = -inf
        # When tags that are not SEARCHED may be searched for again.
        self._others_at = -inf
        # When the last read of all pages has ended, and how long it took.
        self._swept, self._sweep_took = -inf, 0.0
        # Held while a search is in progress.
        self._round = asyncio.Lock()
        # Only tags that are SEARCHED are searched for, as the session is being closed.
        self._closing = False
        # Looks at deployments that webhooks have named.
        self.looks: set[asyncio.Task[None]] = set()
        # The tags of rows that did not tell them, by their status.
        self._by_status: dict[str, tuple[str, ...]] = {}

    def begin(self, tag: str, record: DeployRecord) -> SearchedTag:
        """Search for a tag, perhaps while its request is under way."""
        entry = self._tags.get(tag)
        if entry is None:
            entry = self._new(tag, record)
            self._tags.put(entry, Knowledge.SEARCHED, 0.0)
            self._changed.set()
        return entry

    def _new(self, tag: str, record: DeployRecord) -> SearchedTag:
        return SearchedTag(tag, record, asyncio.get_running_loop().create_future())

    async def resolve(self, tag: str, record: DeployRecord) -> str | None:
        """The request_id of the server under a tag, or None if there is none. The
        request has ended without a usable answer.

        Raises:
            Unresolved: the search was inconclusive.
        """
        entry = self.begin(tag, record)
        if entry.ended_at is None:
            entry.ended_at = _now()
        # Cancelling this wait does not end the search.
        await asyncio.wait({entry.found})
        return entry.found.result()

    def search_unwanted(self, tag: str, record: DeployRecord) -> None:
        """Search for a tag during one search window, without a caller. A server that
        exists is orphaned. If there is none, the tag is watched; if the search is
        inconclusive, it goes into quarantine.
        """
        entry = self.begin(tag, record)
        entry.unwanted = True
        if entry.ended_at is None:
            entry.ended_at = _now()
        if entry.request_id is not None:
            # It was found in this very moment.
            found, entry.request_id = entry.request_id, None
            self._orphan(entry, found)

    def accepted(self, tag: str, record: DeployRecord, request_id: str) -> None:
        """The deploy under a tag has got its server."""
        entry = self._tags.get(tag) or self._new(tag, record)
        self._tags.accepted(entry, request_id, _now())
        self._changed.set()

    def forget(self, tag: str) -> None:
        """Nothing was started under a tag, for certain."""
        if entry := self._tags.get(tag):
            self._tags.remove(entry)

    def watch(self, tag: str, on_late: Callable[[str], bool] | None) -> None:
        """No server was found under a tag.

        Args:
            on_late: called with the request_id of a server that turns up. Returns
                whether it is the answer; if not, it is orphaned.
        """
        if entry := self._tags.get(tag):
            entry.on_late, entry.until = on_late, _now() + QUARANTINE
            self._tags.put(entry, Knowledge.WATCHED, _now() + INTERVAL_OF_OTHERS)

    def quarantine(self, tag: str, record: DeployRecord) -> None:
        """A server that turns up under a tag from now on is orphaned."""
        entry = self.begin(tag, record)
        entry.ended_at = entry.ended_at or _now()
        entry.until = _now() + QUARANTINE
        self._tags.put(entry, Knowledge.QUARANTINED, _now())
        self._changed.set()

    def appeared(self, request_id: str, tag: str) -> bool:
        """A webhook shows a server under a tag. Its status decides whether that is so,
        as anybody may know the URL of the webhook.

        Returns:
            Whether the tag is searched for.
        """
        entry = self._tags.get(tag)
        if entry is None or entry.knowledge is Knowledge.CHECKED:
            return False
        if len(self.looks) < MOST_LOOKS:
            look = asyncio.create_task(self._look(request_id), name="edgegap look")
            self.looks.add(look)
            look.add_done_callback(self.looks.discard)
        return True

    async def _look(self, request_id: str) -> None:
        self._shown(request_id, await self._tags_by_status(request_id) or ())

    @property
    def unwanted(self) -> list[asyncio.Future[str | None]]:
        """The searches for which no caller waits."""
        searched = self._tags.of(Knowledge.SEARCHED)
        return [entry.found for entry in searched if entry.unwanted]

    @property
    def unknown_tags(self) -> list[str]:
        """The tags without a caller under which a server may still turn up."""
        unwanted = (it for it in self._tags.of(Knowledge.SEARCHED) if it.unwanted)
        unknown = (*unwanted, *self._tags.of(Knowledge.QUARANTINED))
        return [entry.tag for entry in unknown if not entry.orphans]

    @property
    def watched_tags(self) -> list[str]:
        """The tags under which no server was found, but under which one may turn up."""
        watched = self._tags.of(Knowledge.WATCHED)
        return [entry.tag for entry in watched if not entry.orphans]

    async def run(self) -> None:
        """Search while there are tags, and again when there are new ones."""
        while True:
            began = _now()
            others = 0
            if began >= self._others_at and not self._closing:
                others, self._others_at = MOST_BACKGROUND, began + BACKGROUND_PAUSE
            tags = self._tags.due(began, others, probe=not self._closing)
            if tags:
                self._searched_at = began
                try:
                    async with self._round:
                        await self._search(tags, began)
                except Exception:
                    log.exception("tag search failed, retrying")
                for entry in tags:
                    self._tags.asked(entry, began)
                for entry in self._tags.expire(began):
                    self._released(entry)
            await self._idle()

    async def _idle(self) -> None:
        """Wait until the next search is due."""
        while True:
            now, searched = _now(), self._tags.of(Knowledge.SEARCHED)
            if searched:
                at = self._next_search(searched, now)
                await asyncio.sleep(max(at - now, 0.0))
                return
            end = None if self._closing else self._tags.next_due(self._others_at)
            if end is not None and end <= now:
                return
            self._changed.clear()
            try:
                async with asyncio.timeout_at(end):
                    await self._changed.wait()
            except TimeoutError:
                return

    def _next_search(self, searched: Sequence[SearchedTag], now: float) -> float:
        """When to search next, while tags are SEARCHED."""
        latest = max(entry.ended_at or entry.sent_at for entry in searched)
        pause = FIRST_INTERVAL if now - latest < FIRST_SECONDS else INTERVAL
        due = min(self._searched_at + pause, self._tags.next_window_end(now))
        # A burst of new tags shares the next search.
        return max(due, self._searched_at + SHORTEST_INTERVAL)

    async def check_all(self, seconds: float) -> None:
        """Look once for servers that nobody waits for, as the session is being closed:
        second ones under the tags that were accepted lately, and late ones.
        """
        self._closing, began = True, _now()
        async with self._round:
            entries = [
                *self._tags.of(Knowledge.CHECKED),
                *self._tags.of(Knowledge.WATCHED),
                *self._tags.of(Knowledge.QUARANTINED),
            ]
            await self._check(entries, began, seconds)

    async def _check(
        self, entries: Sequence[SearchedTag], began: float, seconds: float
    ) -> None:
        for start in range(0, len(entries), self._room):
            chunk = entries[start : start + self._room]
            left = began + seconds - _now()
            if left <= 0 or await self._ask_filter(chunk, began, left) is None:
                return

    async def _search(self, entries: Sequence[SearchedTag], asked: float) -> None:
        unproven: list[SearchedTag] = []
        timeout = UNPROVEN_TIMEOUT
        size = max(self._room - 1, 1)
        chunks = [entries[at : at + size] for at in range(0, len(entries), size)]
        for chunk in chunks if asked >= self._distrusted_until else ():
            proven = await self._ask_filter(chunk, asked)
            if proven is None:
                # Lists fail: the next search tries again.
                timeout = FAILING_TIMEOUT
                break
            if proven:
                self._answered(chunk, asked)
            else:
                unproven += chunk
        if asked < self._distrusted_until:
            unproven = list(entries)
        searched = [
            entry
            for entry in unproven
            if entry.knowledge is Knowledge.SEARCHED
            and self._tags.is_over(entry, asked)
        ]
        interval = BACKGROUND_SWEEP_INTERVAL
        if searched:
            interval = SWEEP_INTERVAL
        elif self._tags.probing:
            interval = PROBE_SWEEP_INTERVAL
        # Others need lists too: half of the time at least, and more if nobody waits.
        share = 1 if searched else BACKGROUND_SHARE
        if unproven and asked >= self._swept + max(interval, share * self._sweep_took):
            await self._sweep(unproven, asked)
            self._swept, self._sweep_took = _now(), _now() - asked
        self._count_misses(entries, asked, timeout)

    async def _ask_filter(
        self,
        entries: Sequence[SearchedTag],
        asked: float,
        timeout: float = LIST_TIMEOUT,
    ) -> bool | None:
        """Search by the filter.

        Returns:
            Whether the answer proves an absence; None: there was no answer.
        """
        canary = self._live_canary()
        tags = [entry.tag for entry in entries]
        if canary and canary.tag not in tags:
            tags.append(canary.tag)
        try:
            rows, readable = await tagged(self._transport, tags, timeout)
        except EdgegapError as error:
            return self._refused(error, len(tags), asked)
        since = min((entry.sent_at for entry in entries), default=0.0)
        unclear = await self._read_rows(rows, since, waited_for=True)
        told = [row for row in rows if not row.tags_unknown]
        if (
            unclear
            or not readable
            or any(not set(row.tags) & set(tags) for row in told)
        ):
            self._distrust(asked)
            return False
        shown = {tag for row in told for tag in row.tags} & set(tags)
        if shown:
            self._proven = max(self._proven, len(tags))
        for entry in entries:
            if entry.tag not in shown:
                self._tags.not_listed(entry, _now())
        if canary and canary.tag not in shown:
            # The list does not show what exists, unless it has ended by itself.
            self._canary, self._proven = None, 0
            return False
        return bool(shown) or len(tags) <= self._proven

    def _refused(self, error: EdgegapError, tags: int, asked: float) -> bool | None:
        if isinstance(error, ApiError) and error.status in REFUSALS:
            if tags > 1 and self._room > 1:
                self._room = max(min(self._room, tags) // 2, 1)
            else:
                self._distrust(asked)
            return False
        log.info("tag search failed, retrying: %s", error)
        return None

    def _distrust(self, asked: float) -> None:
        self._distrusted_until, self._proven = asked + DISTRUST, 0

    def _live_canary(self) -> SearchedTag | None:
        """A tag that a list must show, as its server exists."""
        entry = self._canary
        record = self._records.get(entry.request_id or "") if entry else None
        if record is None or record.state not in ALIVE:
            self._canary = entry = None
        return entry

    async def _sweep(self, entries: Sequence[SearchedTag], asked: float) -> None:
        """Search by pages, newest first."""
        searched = [each for each in entries if each.knowledge is Knowledge.SEARCHED]
        since = min((each.sent_at for each in searched or entries), default=0.0)
        unclear = False
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
            complete = await newest(self._transport, take, LIST_TIMEOUT)
            unclear = await self._read_rows(pages, since, waited_for=bool(searched))
        except EdgegapError as error:
            log.info("tag search by pages failed, retrying: %s", error)
            return
        shown = {row.request_id for row in pages}
        if not complete or unclear or self._hides_servers(shown, asked):
            return
        ready: list[SearchedTag] = []
        for entry in entries:
            if self._tags.is_over(entry, asked):
                entry.sweeps += 1
                if entry.sweeps >= SWEEPS:
                    ready.append(entry)
        self._answered(ready, asked)

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

    async def _read_rows(
        self, rows: Sequence[DeploymentSummary], since: float, *, waited_for: bool
    ) -> bool:
        """Note the servers that rows show.

        Args:
            since: when the first of the deploys was sent, on the loop's clock.
            waited_for: ask for the tags of rows that don't tell them, newest first.

        Returns:
            Whether the tags of a row that may be ours are not known.
        """
        left = MOST_STATUSES if waited_for else 0
        unclear = False
        for row in rows:
            tags: Collection[str] | None = row.tags
            if row.tags_unknown:
                record = self._records.get(row.request_id)
                if (record and record.claimed) or _is_older(row, since):
                    continue
                tags = self._by_status.get(row.request_id)
                if tags is None and left:
                    left -= 1
                    tags = await self._tags_by_status(row.request_id)
            if tags is None:
                unclear = True
            else:
                self._shown(row.request_id, tags)
        return unclear

    async def _tags_by_status(self, request_id: str) -> tuple[str, ...] | None:
        """The tags of a deployment. None: its status does not tell them so far."""
        try:
            status = await self._transport.call(
                STATUS,
                {"request_id": request_id},
                timeout=LIST_TIMEOUT,
                priority="background",
            )
        except EdgegapError:
            return None
        # Before it is placed, a status may show no tags yet.
        placed = status.state is DeploymentState.READY
        if status.tags_unknown or not (status.tags or placed):
            return None
        self._by_status[request_id] = status.tags
        if len(self._by_status) > MOST_REMEMBERED:
            del self._by_status[next(iter(self._by_status))]
        return status.tags

    def _shown(self, request_id: str, tags: Iterable[str]) -> None:
        """A server exists under these tags."""
        for tag in tags:
            if (entry := self._tags.get(tag)) is None:
                continue
            if request_id == entry.request_id:
                self._tags.listed(entry, _now())
                self._canary = entry
            elif request_id not in entry.orphans:
                self._found(entry, request_id)

    def _found(self, entry: SearchedTag, request_id: str) -> None:
        if entry.knowledge is Knowledge.SEARCHED and not (
            entry.unwanted or entry.found.done()
        ):
            entry.request_id = request_id
            entry.found.set_result(request_id)
        elif not (entry.on_late and entry.on_late(request_id)):
            self._orphan(entry, request_id)

    def _orphan(self, entry: SearchedTag, request_id: str) -> None:
        unknown = entry.unwanted or entry.knowledge is Knowledge.QUARANTINED
        first = unknown and not entry.orphans
        entry.orphans.add(request_id)
        self._on_orphan(request_id, entry.tag, entry.record if first else None)
        if entry.knowledge is Knowledge.SEARCHED and entry.unwanted:
            # Only a second server may turn up, so nobody waits for that.
            if not entry.found.done():
                entry.found.set_result(None)
            entry.shown = True
            self._tags.accepted(entry, request_id, _now())

    def _answered(self, entries: Iterable[SearchedTag], asked: float) -> None:
        """A proven answer has shown all servers that exist under these tags."""
        for entry in entries:
            if self._tags.get(entry.tag) is not entry:
                continue
            if entry.knowledge is Knowledge.SEARCHED:
                if self._tags.is_over(entry, asked):
                    self._absent(entry)
            elif entry.until <= asked:
                self._release(entry)
            elif entry.shown and self._tags.is_over(entry, asked):
                # CHECKED: no second server was listed.
                self._tags.remove(entry)

    def _absent(self, entry: SearchedTag) -> None:
        """No server exists under a tag that is SEARCHED."""
        if not entry.found.done():
            entry.found.set_result(None)
        if entry.unwanted:
            _hold_capacity(entry.record)
            entry.record.on(Event.ABSENT)
            entry.unwanted = False
            self.watch(entry.tag, None)

    def _release(self, entry: SearchedTag) -> None:
        """The time of a tag is over."""
        self._tags.remove(entry)
        self._released(entry)

    def _released(self, entry: SearchedTag) -> None:
        if entry.record.state is DeployState.UNKNOWN and entry.record.tag == entry.tag:
            entry.record.on(Event.GONE)

    def _count_misses(
        self, entries: Iterable[SearchedTag], asked: float, timeout: float
    ) -> None:
        """Count the searches after its window that have found out nothing about a tag."""
        for entry in entries:
            if (
                entry.knowledge is not Knowledge.SEARCHED
                or entry.found.done()
                or not self._tags.is_over(entry, asked)
            ):
                continue
            entry.misses += 1
            late = asked >= (entry.ended_at or asked) + timeout
            if late and entry.misses >= MOST_MISSES:
                self._inconclusive(entry)

    def _inconclusive(self, entry: SearchedTag) -> None:
        if not entry.unwanted:
            entry.found.set_exception(Unresolved(entry.tag))
            return
        entry.found.set_result(None)
        if entry.orphans:
            self._tags.remove(entry)
        else:
            entry.record.on(Event.INCONCLUSIVE)
            self.quarantine(entry.tag, entry.record)


def _hold_capacity(record: DeployRecord) -> None:
    """A server may still turn up, so the permit of its deploy is kept for a while."""
    if release := record.on_final:
        loop = asyncio.get_running_loop()
        record.on_final = lambda: loop.call_later(ABSENT_HOLD, release)


def _is_older(row: DeploymentSummary, since: float) -> bool:
    """Whether a deployment was READY before a deploy was sent."""
    if row.start_time is None:
        return False
    age = (datetime.now(UTC) - row.start_time).total_seconds()
    return age > _now() - since + CLOCK_SKEW


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


def _now() -> float:
    return asyncio.get_running_loop().time()
