"""The journal of one session: what it is responsible for, in a store that outlives it.

An *entry* stands for a deploy on its way, a server of a block, an outcome that nobody took,
a stop that is due, or a tag in quarantine (`open_entries.py`). Records and tags report each
change. The changes of one turn of the loop are one write; while it is under way, the next
ones gather.

    before a deploy is sent    its entry is written (`written`)
    before it is handed out    its entry is removed (`settle`), so that no other process
                               stops its server
    six times in each lease    the ownership is renewed, and what dead owners have left is
                               claimed: in the thread of the store, so that a blocked loop
                               loses nothing

If the store can't be reached, there is one warning, and deploys go on, unless the journal
is required.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from functools import partial
from math import inf
from random import uniform

from .._records.search_tags import SearchedTag
from .._records.state import DeployRecord, Event
from .._shared.config import SharedState
from .._shared.journal_store import journal_store
from .._shared.owners import RENEWALS
from .._shared.ownership import Claimed, Ownership
from .._shared.store import ROUND_TRIP, StoreError
from .._shared.stores import STORES, Store, make_store
from .._shared.thread import Repetition, StoreThread
from .._transport.deadlines import Deadline, finish, loop_time
from ..errors import DeployOutcomeUnknown, JournalUnavailable
from .open_entries import OpenEntries, Source
from .tag_search import TagSearch
from .take_over import Steps, TakeOvers, take_over

log: logging.Logger = logging.getLogger("edgegap_async")
# Seconds that a deploy waits for the journal, before it is sent and before it is handed
# out.
PATIENCE = ROUND_TRIP
# Seconds between two tries to find out whether a server may be handed out.
CONFIRM_AGAIN = 0.25
# Seconds for which the loop may be blocked. After that, the ownership is not renewed.
LONGEST_BLOCK = 300.0
# The ownership is renewed earlier by up to this part: processes that start together would
# always meet in the store.
JITTER = 0.1


class Journal:
    """The journal of one session.

    Args:
        key: the organization's name.
        required: refuse deploys while the journal can't be written.
        sending: seconds for which a request may be on its way.

    Raises:
        ValueError: the file is on a network file system.
        ModuleNotFoundError: redis-py is not installed.
    """

    def __init__(
        self, shared: SharedState, key: str, *, required: bool, sending: float
    ) -> None:
        self._shared, self._key, self._required = shared, key, required
        self._sending = sending
        # It says what is wrong before the session is used.
        make_store(shared, key)
        self._thread: StoreThread[Store]
        self._beats: Repetition[Store]
        self._ownership: Ownership
        self._open: OpenEntries
        self._take_over: Callable[[Claimed], Steps]
        self._forget: Callable[[str], object] = lambda _: None
        self._loop: asyncio.AbstractEventLoop | None = None
        # A write is about to begin, or under way.
        self._scheduled = self._writing = False
        # Those who wait for the next write.
        self._waiters: list[asyncio.Future[StoreError | None]] = []
        # The names of the entries that the store certainly has.
        self._confirmed: set[str] = set()
        # What the write under way removes.
        self._removing: dict[str, Source] = {}
        # Why the last write has failed.
        self._failing: StoreError | None = None
        # What is due for dead owners, and those for which it is done.
        self._take_overs = TakeOvers()
        self._taken: list[str] = []
        # When the loop has last run a callback, on the monotonic clock.
        self._alive_at = inf
        self._over = False

    def _new_ownership(self) -> Ownership:
        store = journal_store(self._thread.store, self._key)
        return Ownership(store, self._shared.owner_lease, self._sending)

    def connect(
        self,
        searched: Callable[[str], SearchedTag | None],
        handed_out: Callable[[str], Iterable[str]],
        take_over: Callable[[Claimed], Steps],
        forget: Callable[[str], object],
    ) -> None:
        """Connect it to the deploys of the session.

        Args:
            searched: what is known about a tag.
            handed_out: the servers under a tag that were handed out.
            take_over: does what is due for a dead process.
            forget: called with each tag in quarantine that another process has claimed.
        """
        self._open = OpenEntries(searched, handed_out)
        self._take_over, self._forget = take_over, forget

    def start(self) -> None:
        """Begin in the running loop, and claim what earlier processes have left."""
        # A process that is forked before the first use has a thread of its own.
        self._thread = STORES.acquire(self._shared, self._key)
        self._ownership = self._new_ownership()
        self._loop = asyncio.get_running_loop()
        self._alive_at = time.monotonic()
        self._beats = self._thread.repeat(self._beat, 0.0)

    # What is written.

    def changed(self, source: Source) -> None:
        """A record or a tag has changed."""
        self._open.changed(source)
        self._schedule()

    def _schedule(self) -> None:
        loop = self._loop
        if self._scheduled or self._writing or loop is None or loop.is_closed():
            return
        # All changes of this turn of the loop are one write.
        self._scheduled = True
        loop.call_soon(self._write)

    def _write(self) -> None:
        self._scheduled = False
        if self._over or self._loop is None:
            return
        waiters, self._waiters = self._waiters, []
        taken = self._taken + self._take_overs.do_part()
        self._taken = []
        puts, removes = self._open.delta()
        if not (puts or removes or self._failing):
            _notify(waiters, None)
            self._release(taken)
            if self._take_overs:
                self._schedule()
            return
        self._writing, self._removing = True, removes
        ownership = self._ownership
        write = self._loop.run_in_executor(
            self._thread, ownership.save, puts, list(removes)
        )
        done = partial(self._written, ownership, waiters, {*puts}, taken)
        write.add_done_callback(done)

    def _written(
        self,
        ownership: Ownership,
        waiters: list[asyncio.Future[StoreError | None]],
        puts: set[str],
        taken: list[str],
        write: asyncio.Future[bool],
    ) -> None:
        error = None if write.cancelled() else write.exception()
        if ownership is not self._ownership or (error is None and not write.result()):
            # Nothing of it is stored, so all is written again by a new owner.
            self._disown(ownership)
            self._waiters += waiters
        elif error is None:
            if self._failing:
                self._confirmed = {*self._open.names()}
                self._recovered()
            else:
                self._confirmed |= puts
                self._confirmed -= self._removing.keys()
            _notify(waiters, None)
            self._release(taken)
        else:
            self._taken += taken
            problem = error if isinstance(error, StoreError) else _crashed(error)
            self._failed(problem)
            _notify(waiters, problem)
        self._writing, self._removing = False, {}
        if self._waiters or self._open.has_changes or self._take_overs:
            self._schedule()

    def _failed(self, error: StoreError) -> None:
        if self._failing is None and not self._over:
            consequence = (
                "deploys are refused until it can be"
                if self._required
                else "deploys go on, and if this process dies, their servers may run on"
            )
            log.warning("journal can't be written (%s): %s", error, consequence)
        self._failing = error

    def _recovered(self) -> None:
        if self._failing is not None:
            self._failing = None
            log.warning("journal is written again")

    async def _saved(self, timeout: float) -> StoreError | None:
        """Wait until all changes so far are written. Returns why they are not."""
        if self._over:
            return None
        waiter: asyncio.Future[StoreError | None]
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._schedule()
        await asyncio.wait({waiter}, timeout=timeout)
        if waiter.done():
            return waiter.result()
        return StoreError(f"shared store: no answer within {timeout:.3g} s")

    async def written(self, record: DeployRecord, deadline: Deadline) -> None:
        """Write the entry of a deploy, before it is sent.

        Raises:
            JournalUnavailable: that has failed, and the journal is required.
        """
        self.changed(record)
        if not record.tagged and not (self._required and self._failing):
            # It has no entry before its server is known.
            return
        if self._failing and not self._required:
            # There was a warning. It is tried all the same.
            return
        error = await self._saved(_at_most(PATIENCE, deadline))
        if error is None:
            return
        if self._required:
            raise JournalUnavailable(
                f"the deploy was not sent, as the journal can't be written ({error})"
            )
        self._failed(error)

    async def saved(self) -> None:
        """Wait until all changes so far are written, at most `PATIENCE`."""
        if not self._failing:
            await self._saved(PATIENCE)

    @property
    def is_over(self) -> bool:
        """Whether another process may have claimed the entries."""
        return self._ownership.is_over

    async def settle(self, record: DeployRecord, deadline: Deadline) -> None:
        """Before a server is handed out: remove its entry, and make sure that no other
        process has claimed it.

        Raises:
            DeployOutcomeUnknown: it can't be found out whether one has.
        """
        name = str(record.call_id)
        if not (self._failing and not self._ownership.is_over):
            await self._saved(_at_most(PATIENCE, deadline))
        # A call without a deadline must end too.
        end = loop_time() + self._shared.owner_lease
        while name in self._confirmed and self._ownership.is_over:
            now = loop_time()
            if self._over or deadline.over(now) or now >= end:
                raise DeployOutcomeUnknown(
                    f"the journal can't be reached ({self._failing}), so another process may have taken the deploy "
                    "over, and stop its server",
                    tag=record.tag,
                )
            await asyncio.sleep(_at_most(CONFIRM_AGAIN, deadline))
            await self._saved(_at_most(PATIENCE, deadline))

    # The ownership.

    def _beat(self, _: Store) -> float | None:
        """Renew the ownership, in the thread. Returns when to do it again."""
        loop, ownership = self._loop, self._ownership
        if self._over or loop is None:
            return None
        pause = self._shared.owner_lease / RENEWALS * uniform(1 - JITTER, 1)
        if not _post(loop, self._alive):
            # The loop has ended, and nobody has closed the session.
            self.abandon()
            return None
        if time.monotonic() - self._alive_at > LONGEST_BLOCK:
            return pause
        try:
            claimed = ownership.beat()
        except StoreError as error:
            _post(loop, self._failed, error)
        else:
            _post(loop, self._beaten, ownership, claimed)
        return pause

    def _alive(self) -> None:
        self._alive_at = time.monotonic()

    def _beaten(self, ownership: Ownership, claimed: list[Claimed] | None) -> None:
        if self._over:
            return
        if claimed is None:
            self._disown(ownership)
            self._schedule()
            return
        if self._failing or self._taken:
            # What could not be written, or released, is now.
            self._schedule()
        for each in claimed:
            self._take_overs.add(each, self._take_over(each))
        if claimed:
            # A part goes along with each write, so no write is a long one.
            self._schedule()

    def take_over(
        self,
        claimed: Claimed,
        search: TagSearch,
        stop: Callable[[DeployRecord], object],
    ) -> Generator[None]:
        """Do what is due for a dead process, step by step.

        Args:
            stop: stops the server of a record that is STOPPING.
        """
        # Imported with the journal: the files of a program may change while it runs.
        return take_over(claimed, search, self.observe, stop)

    def observe(self, record: DeployRecord) -> None:
        """Follow a record from now on."""
        record.observer = self.changed
        self.changed(record)

    def _release(self, taken: list[str]) -> None:
        """There are entries of our own for all that these dead owners have left."""
        if taken and not self._over:
            release = self._thread.submit(self._ownership.release, taken)
            release.add_done_callback(partial(self._released, taken))

    def _released(self, taken: list[str], release: Future[None]) -> None:
        """If that has failed, it is done again after the next renewal. In the thread."""
        if not _log_failure(release) and self._loop:
            _post(self._loop, self._taken.extend, taken)

    def _disown(self, ownership: Ownership) -> None:
        """Another process has claimed all entries that are stored."""
        if ownership is not self._ownership:
            return
        self._ownership = self._new_ownership()
        self._take_overs.clear()
        removing = self._removing
        lost = [removing[name] for name in self._confirmed & removing.keys()]
        lost += self._open.lose(self._confirmed)
        self._confirmed = set()
        if not lost:
            return
        log.warning(
            "another process has taken over %d deploys of this one, as it did not renew its ownership for %g s, and "
            "stops their servers",
            len(lost),
            self._shared.owner_lease,
        )
        for source in lost:
            if isinstance(source, DeployRecord):
                source.withdrawn = True
                source.on(Event.CLAIMED)
            else:
                self._forget(source.tag)

    # The end.

    async def aclose(self) -> asyncio.CancelledError | None:
        """Write what is left, so that another process can claim it at once.

        Returns:
            A cancellation that arrived meanwhile.
        """
        if self._over or self._loop is None:
            return None
        needed = self._needs_last_write()
        leave = self._last_write()
        # Unlike `wrap_future`, a loop in virtual time waits for it.
        last = self._loop.run_in_executor(self._thread, leave)
        self._release_thread()
        cancelled = await finish({last}, loop_time() + PATIENCE)
        last.add_done_callback(_retrieve)
        if needed and (not last.done() or last.exception()):
            why = last.exception() if last.done() else "no answer"
            log.warning("journal can't be written at the end of the session: %s", why)
        return cancelled

    def abandon(self) -> None:
        """The same, if nobody can wait for it, as the loop has ended."""
        if not (self._over or self._loop is None):
            self._thread.submit(self._last_write()).add_done_callback(_log_failure)
            self._release_thread()

    def _needs_last_write(self) -> bool:
        """Whether anything in the store depends on the last write."""
        return self._open.is_used or bool(
            self._confirmed or self._taken or self._take_overs
        )

    def _last_write(self) -> Callable[[], None]:
        self._over = True
        # Nothing in the thread holds the session any longer.
        self._beats.cancel()
        _notify(self._waiters, None)
        puts, removes = self._open.delta()
        return partial(self._ownership.leave, puts, list(removes))

    def _release_thread(self) -> None:
        STORES.release(self._shared, self._key, self._thread)


def _post(
    loop: asyncio.AbstractEventLoop, callback: Callable[..., object], *args: object
) -> bool:
    """Call something in a loop. Returns False if the loop has ended."""
    try:
        loop.call_soon_threadsafe(callback, *args)
    except RuntimeError:
        return False
    return True


def _retrieve(future: asyncio.Future[None]) -> None:
    if not future.cancelled():
        future.exception()


def _at_most(seconds: float, deadline: Deadline) -> float:
    left = deadline.left()
    return seconds if left is None else min(seconds, left)


def _notify(
    waiters: Iterable[asyncio.Future[StoreError | None]], result: StoreError | None
) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(result)


def _crashed(error: BaseException) -> StoreError:
    log.error("journal crashed", exc_info=error)
    return StoreError(f"shared store: {type(error).__name__}")


def _log_failure(future: Future[None]) -> bool:
    """Log why it has failed. Returns whether it has succeeded."""
    error = future.exception()
    if error:
        log.info("journal: %s", error)
    return error is None
