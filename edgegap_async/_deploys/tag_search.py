"""Finds out whether a server exists under a tag. One search serves all tags.

A tag whose outcome is unknown is searched for during a search window, together with all
others, twice per second. A tag in quarantine is searched for every few seconds, and
what appears under it is orphaned. A tag is *absent* only if an answer says so that was
asked for after the end of the window: an answer by a filter that has shown one of our
tags before, or else by pages newest first. If a deploy was refused by what may be a
gateway, its tag is searched for in the same way, and what appears is orphaned.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from math import inf

from .._transport.client import Transport
from .._transport.queries import newest, tagged
from ..errors import BadRequest, EdgegapError
from ..models.deployment import DeploymentSummary

log = logging.getLogger("edgegap_async")

# Seconds after which a server that was started is listed: lists lag, and a lost request
# may arrive late.
SEARCH_WINDOW = 5.0
# Seconds after which the search is inconclusive, if no answer was usable.
SEARCH_TIMEOUT = 15.0
# Seconds between two searches.
OPEN_INTERVAL, QUARANTINE_INTERVAL = 0.5, 5.0
# Seconds that a tag stays in quarantine.
QUARANTINE = 300.0
# Seconds for one list: the next one knows more than a late one.
LIST_TIMEOUT = 5.0
# Seconds between two sweeps, which read several pages each.
SWEEP_INTERVAL = 1.0
# The request_ids that are remembered: some minutes of deploys at the full rate.
MOST_KNOWN = 5000
# Sweeps that must agree on an absence, as pages shift while deployments come and go.
SWEEPS = 2


class Unresolved(Exception):
    """The search could not find out whether a server exists under the tag."""


class _Open:
    """A tag that is searched for. `unwanted`: no caller waits, so a server that appears
    under it is orphaned.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, since: float, *, unwanted: bool
    ) -> None:
        self.since = since
        self.unwanted = unwanted
        # Those that have appeared.
        self.orphans: set[str] = set()
        self.found: asyncio.Future[str | None] = loop.create_future()
        self.window_end = loop.time() + SEARCH_WINDOW
        self.timeout_at = loop.time() + SEARCH_TIMEOUT
        self.sweeps = 0


async def _wait(entry: _Open) -> None:
    await entry.found


class TagSearch:
    """All tags that are searched for. `run` is the task that does it.

    Args:
        on_orphan: called with the request_id and the tag of each orphaned server.
    """

    def __init__(
        self, transport: Transport, on_orphan: Callable[[str, str], object]
    ) -> None:
        self._transport = transport
        self._on_orphan = on_orphan
        self._open: dict[str, _Open] = {}
        # The searches for which no caller waits, each with its tag.
        self._unwanted: dict[asyncio.Task[None], str] = {}
        # When each was sent, and when its quarantine ends.
        self.quarantined: dict[str, tuple[float, float]] = {}
        self._quarantine_searched = -inf
        # The filter has shown one of our tags.
        self._shown = False
        # The filter has shown rows without the tags that were asked for.
        self._ignored = False
        # When each deployment was first known to exist, the latest last.
        self._known: dict[str, float] = {}
        self._swept = -inf
        self._changed = asyncio.Event()

    def exists(self, request_id: str) -> None:
        """A deployment exists: a sweep for later tags can end where it is listed."""
        self._known[request_id] = asyncio.get_running_loop().time()
        if len(self._known) > MOST_KNOWN:
            del self._known[next(iter(self._known))]

    async def resolve(self, tag: str, since: float) -> str | None:
        """The request_id of the deployment under a tag, or None if there is none.

        Args:
            since: when the deploy was sent, on the loop's clock.

        Raises:
            Unresolved: the search was inconclusive.
        """
        entry = self._enter(tag, since, unwanted=False)
        try:
            return await entry.found
        finally:
            del self._open[tag]

    def _enter(self, tag: str, since: float, *, unwanted: bool) -> _Open:
        loop = asyncio.get_running_loop()
        entry = self._open[tag] = _Open(loop, since, unwanted=unwanted)
        self._changed.set()
        return entry

    def search_unwanted(self, tag: str, since: float) -> None:
        """Search for a tag during one search window, without a caller. A server that
        appears is orphaned. If the search is inconclusive, the tag goes into quarantine.
        """
        entry = self._enter(tag, since, unwanted=True)
        search = asyncio.create_task(_wait(entry), name=f"edgegap search {tag}")
        self._unwanted[search] = tag
        search.add_done_callback(lambda done: self._unwanted_searched(done, entry))

    def _unwanted_searched(self, search: asyncio.Task[None], entry: _Open) -> None:
        tag = self._unwanted.pop(search)
        del self._open[tag]
        if (search.cancelled() or search.exception()) and not entry.orphans:
            self.quarantine(tag, entry.since)

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """The searches for which no caller waits."""
        return list(self._unwanted)

    @property
    def unresolved_tags(self) -> list[str]:
        """The tags without a caller under which a server may still appear."""
        searched = self._unwanted.values()
        return [
            *(tag for tag in searched if not self._open[tag].orphans),
            *self.quarantined,
        ]

    def quarantine(self, tag: str, since: float) -> None:
        """A server that appears under the tag from now on is orphaned."""
        self.quarantined[tag] = (since, asyncio.get_running_loop().time() + QUARANTINE)
        self._changed.set()

    def appeared(self, request_id: str, tag: str) -> bool:
        """A webhook shows a server under a tag. Returns whether it is orphaned."""
        entry = self._open.get(tag)
        orphaned = tag in self.quarantined or (entry is not None and entry.unwanted)
        if orphaned:
            self._found(request_id, (tag,))
        return orphaned

    async def run(self) -> None:
        """Search while there are tags, and again when there are new ones."""
        loop = asyncio.get_running_loop()
        while True:
            self._changed.clear()
            if not self._open and not self.quarantined:
                await self._changed.wait()
            began = loop.time()
            try:
                await self._search(began)
            except Exception:
                log.exception("tag search failed, retrying")
            pause = (
                began
                + (OPEN_INTERVAL if self._open else QUARANTINE_INTERVAL)
                - loop.time()
            )
            if self._open:
                await asyncio.sleep(max(pause, 0.0))
            else:
                await self._idle(max(pause, 0.0))

    async def _idle(self, pause: float) -> None:
        """Wait until the quarantine is searched again, or a tag is added."""
        try:
            async with asyncio.timeout(pause):
                await self._changed.wait()
        except TimeoutError:
            pass

    async def _search(self, asked: float) -> None:
        tags = list(self._open)
        if asked >= self._quarantine_searched + QUARANTINE_INTERVAL:
            self._quarantine_searched = asked
            tags += self.quarantined
        if not tags:
            return
        by_filter = await self._ask_filter(tags)
        if not by_filter:
            late = [
                tag
                for tag in tags
                if tag in self.quarantined or self._is_due(tag, asked)
            ]
            if late and asked >= self._swept + SWEEP_INTERVAL:
                self._swept = asked
                await self._sweep(late, asked)
        elif self._shown:
            self._resolve_absent([tag for tag in tags if self._is_due(tag, asked)])
            self._release(tags, asked)
        self._time_out()

    async def _ask_filter(self, tags: list[str]) -> bool:
        """Search by the filter. Returns whether it can be trusted to show all tags."""
        if self._ignored:
            return False
        try:
            rows, works = await tagged(self._transport, tags, LIST_TIMEOUT)
        except BadRequest:
            self._ignored = True
            return False
        except EdgegapError as error:
            log.info("tag search failed, retrying: %s", error)
            return False
        self._ignored = not works
        self._shown = self._shown or (bool(rows) and not self._ignored)
        for row in rows:
            self._found(row.request_id, row.tags)
        return self._shown and not self._ignored

    def _is_due(self, tag: str, asked: float) -> bool:
        return tag in self._open and asked >= self._open[tag].window_end

    async def _sweep(self, tags: list[str], asked: float) -> None:
        since = min(
            self._open[tag].since if tag in self._open else self.quarantined[tag][0]
            for tag in tags
        )

        def take(rows: Sequence[DeploymentSummary]) -> bool:
            for row in rows:
                self._found(row.request_id, row.tags)
            return bool(rows) and self._known.get(rows[-1].request_id, inf) < since

        try:
            complete = await newest(self._transport, take, LIST_TIMEOUT)
        except EdgegapError as error:
            log.info("tag search by pages failed, retrying: %s", error)
            return
        if not complete:
            return
        self._release(tags, asked)
        for tag in tags:
            if tag in self._open and self._is_due(tag, asked):
                self._open[tag].sweeps += 1
        self._resolve_absent(
            [
                tag
                for tag in tags
                if tag in self._open and self._open[tag].sweeps >= SWEEPS
            ]
        )

    def _found(self, request_id: str, tags: Iterable[str]) -> None:
        for tag in tags:
            entry = self._open.get(tag)
            if entry and entry.unwanted:
                if request_id not in entry.orphans:
                    entry.orphans.add(request_id)
                    log.info(
                        "deployment %s was started by a deploy that was refused",
                        request_id,
                        extra={"request_id": request_id},
                    )
                    self._on_orphan(request_id, tag)
            elif entry:
                if not entry.found.done():
                    entry.found.set_result(request_id)
            elif self.quarantined.pop(tag, None) is not None:
                self._on_orphan(request_id, tag)

    def _resolve_absent(self, tags: Iterable[str]) -> None:
        for tag in tags:
            if tag in self._open and not self._open[tag].found.done():
                self._open[tag].found.set_result(None)

    def _release(self, tags: Iterable[str], asked: float) -> None:
        """A quarantine ends with a usable answer, and not before."""
        for tag in tags:
            if tag in self.quarantined and self.quarantined[tag][1] <= asked:
                del self.quarantined[tag]

    def _time_out(self) -> None:
        now = asyncio.get_running_loop().time()
        for tag, entry in self._open.items():
            if entry.found.done():
                continue
            if entry.orphans and entry.window_end <= now:
                entry.found.set_result(None)
            elif entry.timeout_at <= now:
                entry.found.set_exception(Unresolved(tag))
