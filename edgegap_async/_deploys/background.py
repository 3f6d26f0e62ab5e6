"""The work of a session that goes on without its callers, and while the session is being
closed: it stops the servers that nobody uses, and searches for the tags of lost deploys.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any

from .._records.existence import Existence
from .._records.lifecycle import Lifecycle
from .._records.records import Records
from .._records.search_tags import SEARCH_WINDOW, SearchedTag
from .._records.state import FINAL, DeployRecord, DeployState, Event
from .._transport.client import Transport
from .._transport.trace import background
from .leftovers import Leftover, Leftovers
from .stopper import Query, Stopper
from .tag_search import TagSearch

# Most sessions have no journal.
if TYPE_CHECKING:
    from .._shared.ownership import Claimed
    from .journal import Journal
    from .take_over import Steps

log: logging.Logger = logging.getLogger("edgegap_async")
# Seconds until work that the program has cancelled goes on. If the loop is being shut
# down, it ends before.
RESUME_AFTER = 1.0


class BackgroundWork:
    """Runs the stops and the tag search of one session.

    Args:
        callers: the transport for the calls of the session's users.
        stop_query: the query of the session's own stops.
        gone: called with the request_id of each server that does not run any more, and
            whether its stop was accepted. False: it was gone before.
        cleaning_up: tells whether deploys that were cancelled are still cleaning up.
        journal: what the session is responsible for, for other processes.
    """

    def __init__(
        self,
        callers: Transport,
        records: Records,
        existence: Existence,
        lifecycle: Lifecycle,
        leftovers: Leftovers,
        *,
        stop_query: Query,
        gone: Callable[[str, bool], object],
        cleaning_up: Callable[[], bool],
        journal: "Journal | None",
    ) -> None:
        self._callers, self._records = callers, records
        self._leftovers, self._cleaning_up = leftovers, cleaning_up
        self._transport: Transport | None = None
        self._stopper = Stopper(
            self.transport,
            existence,
            stop_query,
            gone,
            lifecycle.causes,
            self._interrupted,
        )
        self._search: TagSearch | None = None
        self._search_task: asyncio.Task[None] | None = None
        self._resuming: asyncio.TimerHandle | None = None
        self._journal = journal
        if journal:
            journal.connect(
                self._searched, self._handed_out, self._take_over, self._forget
            )

    def transport(self) -> Transport:
        """The transport for stops and searches: `Closing` aborts that of the callers first.
        It is made before there is anything to stop, as a closed session can't make it.
        """
        if self._transport is None:
            self._transport = self._callers.child()
        return self._transport

    def enter(self) -> tuple[Transport, TagSearch]:
        """The transport and the tag search for a deploy. The first call starts the search."""
        transport = self.transport()
        if self._search is None:
            observer = self._journal.changed if self._journal else None
            self._search = TagSearch(transport, self._records, self._orphaned, observer)
            self._start_search(self._search)
        return transport, self._search

    def _start_search(self, search: TagSearch) -> None:
        task = asyncio.create_task(
            search.run(), name="edgegap tag search", context=background()
        )
        task.add_done_callback(lambda _: self._interrupted())
        self._search_task = task

    @property
    def search_window(self) -> float:
        """Seconds after the end of a deploy until its server must be listed."""
        return self._search.window if self._search else SEARCH_WINDOW

    # Work that the program has cancelled.

    def _interrupted(self) -> None:
        """Work was cancelled, but not by this session."""
        transport = self._transport
        if transport is None or transport.closed or self._resuming is not None:
            return
        loop = asyncio.get_running_loop()
        self._resuming = loop.call_later(RESUME_AFTER, self._resume)

    def _resume(self) -> None:
        self._resuming = None
        if self._transport is None or self._transport.closed:
            return
        if self._cleaning_up():
            # The loop may be shutting down, and a new task would be destroyed with it.
            self._interrupted()
            return
        if self._search and self._search_task and self._search_task.done():
            self._start_search(self._search)
        self.resume_stops()

    def resume_stops(self) -> None:
        """Try each stop that is due and that no task is trying."""
        if self._transport is not None:
            self._stopper.resume(self._records.in_state(DeployState.STOPPING))

    # Servers that nobody uses.

    def count_open(self) -> int:
        """How many servers the session has to stop, and is not stopping yet."""
        return max(self._records.due - len(self._stopper.tasks), 0)

    def stop(self, record: DeployRecord) -> asyncio.Task[None] | None:
        """Stop a server that nobody uses. If the session is closed, it becomes a
        leftover.
        """
        if record.request_id is None or record.state in FINAL:
            return None
        record.on(Event.STOP)
        return self.begin_stop(record)

    def begin_stop(self, record: DeployRecord) -> asyncio.Task[None] | None:
        """Stop the server of a record that is STOPPING, as `stop` does."""
        request_id = record.request_id or ""
        if not (self._transport or self._callers).closed:
            return self._stopper.stop(request_id)
        self._leftovers.add((request_id, record.tag))
        log.warning(
            "session closed: deployment %s may still be running",
            request_id,
            extra={"request_id": request_id},
        )
        return None

    def stop_new(self, record: DeployRecord) -> None:
        """Stop a server that has just become known, and that nobody waits for, unless
        the caller has found it by itself.
        """
        if record.request_id is None:
            return
        known = self._records.get(record.request_id)
        if known and known.claimed and known is not record:
            # It has the permit and the webhooks of the deploy from now on.
            known.on_final, record.on_final = record.on_final, None
            known.nonce, known.hooked = record.nonce, record.hooked
            record.on(Event.GONE)
            return
        self._records.add(record.request_id, record)
        self.observe(record)
        record.seen_at = record.seen_at or asyncio.get_running_loop().time()
        self.begin_stop(record)

    def observe(self, record: DeployRecord) -> None:
        """Report the changes of a record to the journal, from now on."""
        if self._journal:
            self._journal.observe(record)

    def _orphaned(
        self, request_id: str, tag: str, deploy: DeployRecord, first: bool
    ) -> None:
        """A server has turned up under a tag, and nobody waits for it.

        Args:
            deploy: the record of the deploy that has sent the tag.
            first: its outcome was unknown so far. False: it has another server.
        """
        if first and deploy.state is DeployState.DISOWNED:
            return
        known = self._records.get(request_id)
        claimed = known is not None and known.claimed
        if claimed and not first:
            return
        if not claimed:
            log.warning(
                "stopping deployment %s: nobody waits for it any more (tag %s)",
                request_id,
                tag,
                extra={"request_id": request_id},
            )
        record = deploy if first else DeployRecord(DeployState.STOPPING)
        record.tag, record.request_id = tag, request_id
        record.started_by = deploy.started_by
        if first:
            record.on(Event.FOUND)
        self.stop_new(record)

    def appeared(self, request_id: str, nonce: str) -> bool:
        """A webhook with this nonce has named a deployment. Returns whether a deploy is
        searched for that has sent it.
        """
        return self._search is not None and self._search.appeared(request_id, nonce)

    # For the journal.

    def _searched(self, tag: str) -> SearchedTag | None:
        return self._search.get(tag) if self._search else None

    def _handed_out(self, tag: str) -> Iterable[str]:
        """The servers under a tag that this process or a dead one has handed out."""
        return self._search.except_ids(tag, self._records) if self._search else ()

    def _forget(self, tag: str) -> None:
        if self._search:
            self._search.forget(tag)

    def _take_over(self, claimed: "Claimed") -> "Steps":
        """Do what is due for a dead process, step by step, until this session is closed."""
        if self._journal is None or self._callers.closed:
            return False
        _, search = self.enter()
        for _ in self._journal.take_over(claimed, search, self.stop_new):
            yield
            if self._callers.closed:
                return False
        return True

    # The end of the session.

    @property
    def unfinished(self) -> list[asyncio.Future[Any]]:
        """What closing the session waits for."""
        unwanted = self._search.unwanted if self._search else ()
        return [*self._stopper.tasks, *unwanted]

    def last_check(self, seconds: float) -> Collection[asyncio.Task[None]]:
        """Look once for second servers under tags that were accepted lately."""
        search, transport = self._search, self._transport
        if search is None or transport is None or transport.closed or seconds <= 0:
            return ()
        look = search.check_all(seconds)
        return (
            asyncio.create_task(look, name="edgegap tag check", context=background()),
        )

    @property
    def may_be_running(self) -> list[Leftover]:
        """What may still be running."""
        stopping = self._records.in_state(DeployState.STOPPING)
        tags = self._search.unknown_tags if self._search else ()
        return [
            *((record.request_id, record.tag) for record in stopping),
            *((None, tag) for tag in tags),
        ]

    @property
    def watched_tags(self) -> Iterable[str]:
        """The tags under which no server was found, but under which one may turn up."""
        return self._search.watched_tags if self._search else ()

    def end(self) -> set[asyncio.Task[Any]]:
        """End the requests in progress.

        Returns:
            The tasks, for the caller to cancel.
        """
        if self._transport is not None:
            self._transport.abort()
        if self._resuming is not None:
            self._resuming.cancel()
        tasks: set[asyncio.Task[Any]] = {*self._stopper.tasks}
        if self._search_task:
            tasks.add(self._search_task)
        if self._search:
            tasks |= self._search.looks
        return tasks
