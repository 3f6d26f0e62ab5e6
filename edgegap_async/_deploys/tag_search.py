"""Searches for servers by the tags of their deploys. One search serves all tags.
`tag_lists.py` reads the lists.

A tag is *absent* only if lists were asked for it after its search window
(`_records/search_tags.py`), do not show it, and one of these proves that they would:

- a filtered list that shows another tag, or whose filter has shown one of at least as
  many tags before; not if it shows deployments that were not asked for, or hides a tag
  that is known to be listed;
- all pages, newest first, read twice; not if they hide the servers that this session has
  just started.

A row that does not tell its tags proves nothing: the status of its deployment is asked
for them.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from math import inf

from .._records.records import Records
from .._records.search_tags import (
    ABSENT_HOLD,
    INTERVAL_OF_OTHERS,
    QUARANTINE,
    Knowledge,
    SearchedTag,
    SearchTags,
)
from .._records.state import DeployRecord, DeployState, Event
from .._transport.client import Transport
from .._transport.deadlines import loop_time
from .._transport.queries import TAGS_PER_CALL
from .._transport.trace import CAUSED_BY, background
from .tag_lists import TagLists

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
# Looks at a time at deployments that webhooks have named: a leaked URL must not cost
# more.
MOST_LOOKS = 20


class Unresolved(Exception):
    """The search could not find out whether a server exists under the tag."""


class TagSearch:
    """All tags that are searched for. `run` is the task that does it.

    Args:
        on_orphan: called with the request_id and the tag of each server that is
            nobody's, the record of the deploy, and whether that has no other server.
        observer: called with each tag about which something else is known now.
    """

    def __init__(
        self,
        transport: Transport,
        records: Records,
        on_orphan: Callable[[str, str, DeployRecord, bool], object],
        observer: Callable[[SearchedTag], object] | None = None,
    ) -> None:
        self._on_orphan = on_orphan
        self._tags = SearchTags(observer)
        self._lists = TagLists(transport, records, self._tags, self._shown)
        self._changed = asyncio.Event()
        self._searched_at = -inf
        # When tags that are not SEARCHED may be searched for again.
        self._others_at = -inf
        # Held while a search is in progress.
        self._round = asyncio.Lock()
        # Only tags that are SEARCHED are searched for, as the session is being closed.
        self._closing = False
        # Servers that other processes have adopted.
        self.adopted: set[str] = set()
        # Looks at deployments that webhooks have named.
        self.looks: set[asyncio.Task[None]] = set()

    @property
    def window(self) -> float:
        """Seconds after the end of a deploy until its server must be listed."""
        return self._tags.window(loop_time())

    def begin(self, tag: str, record: DeployRecord) -> SearchedTag:
        """Search for a tag, perhaps while its request is under way."""
        entry = self._tags.get(tag)
        if entry is None:
            entry = self._new(tag, record)
            self._tags.put(entry, Knowledge.SEARCHED, 0.0)
            self._changed.set()
        return entry

    def _begin_ended(self, tag: str, record: DeployRecord) -> SearchedTag:
        """Search for a tag whose request has ended, or is given up."""
        entry = self.begin(tag, record)
        if entry.ended_at is None:
            entry.ended_at = loop_time()
        return entry

    def _new(self, tag: str, record: DeployRecord) -> SearchedTag:
        return SearchedTag(tag, record, asyncio.get_running_loop().create_future())

    async def resolve(self, tag: str, record: DeployRecord) -> str | None:
        """The request_id of the server under a tag, or None if there is none. The
        request has ended without a usable answer.

        Raises:
            Unresolved: the search was inconclusive.
        """
        entry = self._begin_ended(tag, record)
        # Cancelling this wait does not end the search.
        await asyncio.wait({entry.found})
        return entry.found.result()

    def search_unwanted(self, tag: str, record: DeployRecord) -> None:
        """Search for a tag during one search window, without a caller. A server that
        exists is stopped. If there is none, the tag is watched; if the search is
        inconclusive, it goes into quarantine.
        """
        entry = self._begin_ended(tag, record)
        entry.unwanted = True
        if entry.request_id is not None:
            # It was found in this very moment.
            found, entry.request_id = entry.request_id, None
            self._orphan(entry, found)

    def take_over(
        self,
        tag: str,
        record: DeployRecord,
        ended_at: float,
        except_ids: Iterable[str],
    ) -> bool:
        """Search for the tag of a process that is dead, as `search_unwanted` does.

        Args:
            ended_at: when its request has ended for certain, on the loop's clock.
            except_ids: servers under the tag that need no stop.

        Returns:
            False: it is searched for already.
        """
        if self._tags.get(tag):
            return False
        entry = self.begin(tag, record)
        entry.except_ids = frozenset(except_ids)
        entry.ended_at, entry.unwanted = ended_at, True
        return True

    def resume(
        self,
        tag: str,
        record: DeployRecord,
        knowledge: Knowledge,
        since: float,
        except_ids: Iterable[str],
    ) -> None:
        """Go on with a tag of a process that is dead, if it is not known here.

        Args:
            knowledge: what that process knew: it is CHECKED or WATCHED.
            since: when that began, in seconds since 1970, on the clock of its machine.
            except_ids: servers under the tag that need no stop.
        """
        if self._tags.get(tag):
            return
        entry = self._new(tag, record)
        entry.since, entry.except_ids = since, frozenset(except_ids)
        self._tags.resume(entry, knowledge, time.time() - since, loop_time())
        self._changed.set()

    def get(self, tag: str) -> SearchedTag | None:
        """What is known about a tag."""
        return self._tags.get(tag)

    def except_ids(self, tag: str, records: Records) -> set[str]:
        """The servers under a tag that were handed out, as far as this is known."""
        entry = self._tags.get(tag)
        if entry is None:
            return set()
        known = map(records.get, filter(None, (*entry.orphans, entry.request_id)))
        released = (it for it in known if it and it.state is DeployState.RELEASED)
        return {*entry.except_ids, *(it.request_id or "" for it in released)}

    def accepted(self, tag: str, record: DeployRecord, request_id: str) -> None:
        """The deploy under a tag has got its server."""
        entry = self._tags.get(tag) or self._new(tag, record)
        self._tags.accepted(entry, request_id, loop_time())
        self._changed.set()

    def forget(self, tag: str) -> None:
        """Nothing was started under a tag, for certain."""
        if entry := self._tags.get(tag):
            self._tags.remove(entry)

    def watch(self, tag: str, on_late: Callable[[str], bool] | None) -> None:
        """No server was found under a tag.

        Args:
            on_late: called with the request_id of a server that turns up. Returns
                whether it is the answer; if not, it is stopped.
        """
        if entry := self._tags.get(tag):
            entry.on_late, entry.until = on_late, loop_time() + QUARANTINE
            self._tags.put(entry, Knowledge.WATCHED, loop_time() + INTERVAL_OF_OTHERS)

    def quarantine(self, tag: str, record: DeployRecord) -> None:
        """A server that turns up under a tag from now on is stopped, unless the caller
        claims it.
        """
        entry = self._begin_ended(tag, record)
        entry.until = loop_time() + QUARANTINE
        self._tags.put(entry, Knowledge.QUARANTINED, loop_time())
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
            look = asyncio.create_task(
                self._look(request_id),
                name="edgegap look",
                context=background([entry.record.call_id]),
            )
            self.looks.add(look)
            look.add_done_callback(self.looks.discard)
        return True

    async def _look(self, request_id: str) -> None:
        tags = await self._lists.tags_by_status(request_id)
        self._shown(request_id, tags or ())

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
            began = loop_time()
            others = 0
            if began >= self._others_at and not self._closing:
                others, self._others_at = MOST_BACKGROUND, began + BACKGROUND_PAUSE
            tags = self._tags.due(began, others, probe=not self._closing)
            if tags:
                self._searched_at = began
                CAUSED_BY.set(_causes(tags))
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
            now, searched = loop_time(), self._tags.of(Knowledge.SEARCHED)
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
        self._closing, began = True, loop_time()
        async with self._round:
            entries = [
                *self._tags.of(Knowledge.CHECKED),
                *self._tags.of(Knowledge.WATCHED),
                *self._tags.of(Knowledge.QUARANTINED),
            ]
            CAUSED_BY.set(_causes(entries))
            await self._check(entries, began, seconds)

    async def _check(
        self, entries: Sequence[SearchedTag], began: float, seconds: float
    ) -> None:
        lists = self._lists
        for start in range(0, len(entries), lists.room):
            chunk = entries[start : start + lists.room]
            left = began + seconds - loop_time()
            if left <= 0 or await lists.ask_filter(chunk, began, left) is None:
                return

    async def _search(self, entries: Sequence[SearchedTag], asked: float) -> None:
        lists = self._lists
        unproven: list[SearchedTag] = []
        timeout = UNPROVEN_TIMEOUT
        # One more tag is asked for: one that is known to be listed.
        size = max(lists.room - 1, 1)
        chunks = [entries[at : at + size] for at in range(0, len(entries), size)]
        for chunk in chunks if lists.filter_trusted(asked) else ():
            proven = await lists.ask_filter(chunk, asked)
            if proven is None:
                # Lists fail: the next search tries again.
                timeout = FAILING_TIMEOUT
                break
            if proven:
                self._answered(chunk, asked)
            else:
                unproven += chunk
        if not lists.filter_trusted(asked):
            unproven = list(entries)
        waited_for = any(
            entry.knowledge is Knowledge.SEARCHED and self._tags.is_over(entry, asked)
            for entry in unproven
        )
        if unproven and lists.sweep_due(asked, waited_for=waited_for):
            self._answered(await lists.sweep(unproven, asked), asked)
        self._count_misses(entries, asked, timeout)

    def _shown(self, request_id: str, tags: Iterable[str]) -> None:
        """A server exists under these tags."""
        for tag in tags:
            if (entry := self._tags.get(tag)) is None:
                continue
            if request_id in entry.except_ids or request_id in self.adopted:
                continue
            if request_id == entry.request_id:
                self._tags.listed(entry, loop_time())
                self._lists.listed = entry
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
        self._on_orphan(request_id, entry.tag, entry.record, first)
        self._tags.changed(entry)
        if entry.knowledge is Knowledge.SEARCHED and entry.unwanted:
            # Only a second server may turn up, so nobody waits for that.
            if not entry.found.done():
                entry.found.set_result(None)
            entry.shown = True
            self._tags.accepted(entry, request_id, loop_time())

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
            elif self._tags.is_over(entry, asked) and entry.needs_no_more_looks:
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


def _causes(entries: Iterable[SearchedTag]) -> tuple[int, ...]:
    """The numbers of the calls that the tags belong to."""
    return tuple(dict.fromkeys(entry.record.call_id for entry in entries))
