"""One beat over a store with an inbox and compare-and-set.

    post      The report goes into the inbox, in place of an older one of its tenant.
              The store says what it holds: version, state, inbox, and its time.
    commit    Write the state, if the version is still the same, and remove the reports
              from the inbox that were folded into it. If another process was faster,
              the store says what it holds now.

Each process folds all reports that wait. So a process that was slower usually finds its
report folded already: whoever commits after a `post` has seen it. While the inbox is
whole, nobody needs more than two commits. It may be lost in an eviction; then a beat is
given up after `MOST_COMMITS`.

A process may be stopped between the two. So the caller must not commit after the end of
the lease in which it made its report: it does not keep what it said any more.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from msgspec import MsgspecError

from . import state as states
from .ledger import reply_to, step
from .messages import Received, Reply, Report
from .store import StoreError

MOST_COMMITS = 6
STOPPED = "this process was stopped for longer than its lease"


class Posted(NamedTuple):
    """A report in the inbox.

    Attributes:
        number: counts all reports.
        received: the report, and when it came.
    """

    number: int
    received: Received


class Seen(NamedTuple):
    """What a store held at one moment.

    Attributes:
        version: of the state. It never comes again.
        state: encoded. None: there is none.
        clock: the store's time.
        inbox: the reports that wait, by tenant.
    """

    version: bytes
    state: bytes | None
    clock: float
    inbox: dict[str, Posted]


class Commit(NamedTuple):
    """What a process wants to write.

    Attributes:
        version: of the state that it has seen.
        state: the next one.
        folded: the numbers of the reports that it contains, by tenant.
        reply: what its own report gets.
    """

    version: bytes
    state: bytes
    folded: dict[str, int]
    reply: Reply | None


class Inbox(Protocol):
    """The operations of a store."""

    def post(self, report: Report) -> Seen:
        """Put a report into the inbox."""
        ...

    def commit(self, commit: Commit) -> Seen | None:
        """Write a state. None: it is written. Otherwise another process was faster."""
        ...


def respond(seen: Seen, report: Report) -> Commit | Reply | None:
    """Return what a process does next.

    Returns:
        What it commits, or the reply if its report was folded by others. None: they
        have, and there is none, as it leaves, or has sent a newer one.
    """
    state = _decoded(seen.state)
    known = state.tenants.get(report.tenant) if state else None
    if state and known and known.sequence >= report.sequence:
        return reply_to(state, report)
    own = seen.inbox.get(report.tenant)
    if report.bye and state and not known and own is None:
        return None
    if own is None or own.received.report.sequence < report.sequence:
        own = Posted(own.number if own else 0, Received(report, seen.clock))
    inbox = {**seen.inbox, report.tenant: own}
    posted = sorted(inbox.values(), key=lambda each: each.number)
    after, replies = step(state, [each.received for each in posted], seen.clock)
    reply = replies.get(report.tenant)
    return Commit(
        seen.version,
        states.encode(after),
        {tenant: posted.number for tenant, posted in seen.inbox.items()},
        reply if reply and reply.sequence == report.sequence else None,
    )


def _decoded(state: bytes | None) -> states.State | None:
    try:
        return None if state is None else states.decode(state)
    except MsgspecError:
        raise StoreError(
            "shared store: the budget that is stored can't be read: another version of the SDK may have written it"
        ) from None


def serve(store: Inbox, report: Report, in_time: Callable[[], bool]) -> Reply | None:
    """Bring a report to the ledger. Return the reply.

    Args:
        in_time: whether the report is still true.

    Raises:
        StoreError: it is not, others were always faster, or the store has failed.
    """
    seen: Seen | None = store.post(report)
    for _ in range(MOST_COMMITS):
        assert seen is not None  # noqa: S101 (see below)
        answer = respond(seen, report)
        if not isinstance(answer, Commit):
            return answer
        if not in_time():
            raise StoreError(STOPPED)
        seen = store.commit(answer)
        if seen is None:
            return answer.reply
    raise StoreError("shared store: other processes were always faster")
