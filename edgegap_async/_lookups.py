"""Is there a deployment under this tag? One look-up for all who ask.

A tag that nobody knows the outcome of is looked for over a settle window, together with
all others, twice a second; one in quarantine every few seconds, and what turns up under
it is a stray. *Absent* is only what an answer says that was asked for after the
window's end, by a filter that has shown a tag of ours before, or else by pages newest
first. A deploy that was refused by what may be a gateway is searched for in the same
way, with nobody waiting: what turns up is a stray.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from math import inf

from ._transport import Transport
from .errors import BadRequest, EdgegapError
from .listing import newest, tagged
from .models.deployment import DeploymentSummary

log = logging.getLogger("edgegap_async")

# seconds after which what was started is listed: lists lag, and a lost request may come
# late
SETTLE_WINDOW = 5.0
# seconds after which, without a look-up that tells, nobody will know in time
OUT_OF_PATIENCE = 15.0
# seconds between two look-ups
OPEN_PACE, QUARANTINE_PACE = 0.5, 5.0
# seconds
QUARANTINE = 300.0
# seconds for one look-up: a later one tells more than a late one
LOOK_TIMEOUT = 5.0
# seconds between two sweeps, which are some pages each
SWEEP_PACE = 1.0
# request_ids that are remembered: some minutes of deploys at the full rate
MOST_KNOWN = 5000
# sweeps that have to agree on an absence: pages shift while deployments come and go
SWEEPS = 2


class Unsettled(Exception):
    """No look-up could tell whether there is a deployment under the tag."""


class _Open:
    """A tag that somebody waits for; or, with `unwanted`, one under which all that turns
    up is a stray.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, since: float, *, unwanted: bool
    ) -> None:
        self.since = since
        self.unwanted = unwanted
        # those that have turned up
        self.strays: set[str] = set()
        self.found: asyncio.Future[str | None] = loop.create_future()
        self.settles = loop.time() + SETTLE_WINDOW
        self.ends = loop.time() + OUT_OF_PATIENCE
        self.sweeps = 0


async def _wait(entry: _Open) -> None:
    await entry.found


class Lookups:
    """All tags that are looked for. `run` is the task that does it, for as long as
    there are any.
    """

    def __init__(
        self, transport: Transport, on_stray: Callable[[str, str], object]
    ) -> None:
        self._transport = transport
        self._on_stray = on_stray
        self._open: dict[str, _Open] = {}
        # searches under way with nobody waiting, each with its tag
        self._stray_searches: dict[asyncio.Task[None], str] = {}
        # (since, until)
        self.quarantined: dict[str, tuple[float, float]] = {}
        self._quarantine_look = -inf
        # the filter has shown a tag of ours
        self._shown = False
        # the filter has shown something else
        self._ignored = False
        # since when it is known that a deployment exists, the latest last
        self._known: dict[str, float] = {}
        self._swept = -inf
        self._changed = asyncio.Event()

    def knows(self, request_id: str) -> None:
        """A deployment exists: pages newest first need not go on behind it."""
        self._known[request_id] = asyncio.get_running_loop().time()
        if len(self._known) > MOST_KNOWN:
            del self._known[next(iter(self._known))]

    async def settle(self, tag: str, since: float) -> str | None:
        """The request_id of the deployment under a tag, or None if there is none;
        `since`: not sent before.

        Raises:
            Unsettled: nobody knows.
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

    def search_stray(self, tag: str, since: float) -> None:
        """Look for a tag that nobody waits for, for one search window; all that turns up
        is a stray. If no look-up can tell what is under it, it goes into quarantine.
        """
        entry = self._enter(tag, since, unwanted=True)
        search = asyncio.create_task(_wait(entry), name=f"edgegap search {tag}")
        self._stray_searches[search] = tag
        search.add_done_callback(lambda done: self._stray_searched(done, entry))

    def _stray_searched(self, search: asyncio.Task[None], entry: _Open) -> None:
        tag = self._stray_searches.pop(search)
        del self._open[tag]
        if (search.cancelled() or search.exception()) and not entry.strays:
            self.quarantine(tag, entry.since)

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """The searches under way with nobody waiting."""
        return list(self._stray_searches)

    @property
    def unresolved_tags(self) -> list[str]:
        """The tags, nobody waiting, under which something may be that has not turned
        up.
        """
        searched = self._stray_searches.values()
        return [
            *(tag for tag in searched if not self._open[tag].strays),
            *self.quarantined,
        ]

    def quarantine(self, tag: str, since: float) -> None:
        """Whatever turns up under the tag from now on is a stray."""
        self.quarantined[tag] = (since, asyncio.get_running_loop().time() + QUARANTINE)
        self._changed.set()

    def turned_up(self, request_id: str, tag: str) -> bool:
        """Somebody else tells what is under a tag; whether it was in quarantine, or is
        searched for with nobody waiting, so that it is a stray.
        """
        entry = self._open.get(tag)
        stray = tag in self.quarantined or (entry is not None and entry.unwanted)
        if stray:
            self._found(request_id, (tag,))
        return stray

    async def run(self) -> None:
        """Look until there is nothing to look for, and again when there is."""
        loop = asyncio.get_running_loop()
        while True:
            self._changed.clear()
            if not self._open and not self.quarantined:
                await self._changed.wait()
            began = loop.time()
            try:
                await self._look(began)
            except Exception:
                log.exception(
                    "a look-up failed in a way that nobody thought of; the next one follows"
                )
            pause = began + (OPEN_PACE if self._open else QUARANTINE_PACE) - loop.time()
            if self._open:
                await asyncio.sleep(max(pause, 0.0))
            else:
                await self._idle(max(pause, 0.0))

    async def _idle(self, pause: float) -> None:
        """Nobody waits: the next look-up is for the quarantine, unless somebody comes."""
        try:
            async with asyncio.timeout(pause):
                await self._changed.wait()
        except TimeoutError:
            pass

    async def _look(self, asked: float) -> None:
        tags = list(self._open)
        if asked >= self._quarantine_look + QUARANTINE_PACE:
            self._quarantine_look = asked
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
            if late and asked >= self._swept + SWEEP_PACE:
                self._swept = asked
                await self._sweep(late, asked)
        elif self._shown:
            self._settle_absent([tag for tag in tags if self._is_due(tag, asked)])
            self._release(tags, asked)
        self._give_up()

    async def _ask_filter(self, tags: list[str]) -> bool:
        """Whether the filter can be believed when it shows nothing."""
        if self._ignored:
            return False
        try:
            rows, honest = await tagged(self._transport, tags, LOOK_TIMEOUT)
        except BadRequest:
            self._ignored = True
            return False
        except EdgegapError as error:
            log.info("a look-up failed, the next one follows: %s", error)
            return False
        self._ignored = not honest
        self._shown = self._shown or (bool(rows) and not self._ignored)
        for row in rows:
            self._found(row.request_id, row.tags)
        return self._shown and not self._ignored

    def _is_due(self, tag: str, asked: float) -> bool:
        return tag in self._open and asked >= self._open[tag].settles

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
            complete = await newest(self._transport, take, LOOK_TIMEOUT)
        except EdgegapError as error:
            log.info("a sweep failed, the next one follows: %s", error)
            return
        if not complete:
            return
        self._release(tags, asked)
        for tag in tags:
            if tag in self._open and self._is_due(tag, asked):
                self._open[tag].sweeps += 1
        self._settle_absent(
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
                if request_id not in entry.strays:
                    entry.strays.add(request_id)
                    log.info("deployment %s was started though refused", request_id)
                    self._on_stray(request_id, tag)
            elif entry:
                if not entry.found.done():
                    entry.found.set_result(request_id)
            elif self.quarantined.pop(tag, None) is not None:
                self._on_stray(request_id, tag)

    def _settle_absent(self, tags: Iterable[str]) -> None:
        for tag in tags:
            if tag in self._open and not self._open[tag].found.done():
                self._open[tag].found.set_result(None)

    def _release(self, tags: Iterable[str], asked: float) -> None:
        """The quarantine ends with a look-up that tells, and not before: nothing is
        forgotten untold.
        """
        for tag in tags:
            if tag in self.quarantined and self.quarantined[tag][1] <= asked:
                del self.quarantined[tag]

    def _give_up(self) -> None:
        now = asyncio.get_running_loop().time()
        for tag, entry in self._open.items():
            if entry.found.done():
                continue
            if entry.strays and entry.settles <= now:
                entry.found.set_result(None)
            elif entry.ends <= now:
                entry.found.set_exception(Unsettled(tag))
