"""The tags of deploys, and what is known about each. Pure: no socket; the caller gives
the time.

SEARCHED     no usable answer came: does a server exist under it? A request may still be
             under way
CHECKED      a server was accepted. A second one, which a proxy has started by sending the
             POST twice, is stopped
WATCHED      no server existed. A late server is the deploy's answer if the deploy has not
             been sent again; otherwise it is stopped
QUARANTINED  the search was inconclusive. A server that turns up is stopped, unless the
             caller claims it

The search window is the time after which a server that was started must be listed. It
follows the lag of the lists, which deployments of this session show.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from enum import Enum
from heapq import merge
from itertools import islice, takewhile
from math import inf

from .state import ALIVE, DeployRecord, DeployState

# Seconds of the search window: before a lag was seen, and its bounds after that.
SEARCH_WINDOW, SHORTEST_WINDOW, LONGEST_WINDOW = 5.0, 2.0, 30.0
# The window is WINDOW_MARGIN seconds and WINDOW_FACTOR times the largest lag of the last
# LAGS_KEPT seconds.
WINDOW_MARGIN, WINDOW_FACTOR, LAGS_KEPT = 1.0, 2.0, 600.0
# Seconds that a tag is watched or in quarantine.
QUARANTINE = 300.0
# Seconds that a tag without a server keeps its capacity: the server may turn up late.
ABSENT_HOLD = 30.0
# Seconds that an accepted tag is checked at most: it may have been stopped meanwhile.
LONGEST_CHECK = 60.0
# Seconds that a tag which is CHECKED waits for others, to share a list with them.
GATHER = 3.0
# Seconds between two measurements of the lag, until a deployment is first looked for, and
# between two looks for it.
LAG_INTERVAL, FIRST_LAG_LOOK, LAG_LOOKS = 30.0, 0.3, 0.5
# Seconds between two searches for a tag that is not SEARCHED.
INTERVAL_OF_OTHERS = 5.0
# Seconds by which the clocks of two machines may differ.
CLOCKS_DIFFER = 60.0


class Knowledge(Enum):
    """What is known about a tag."""

    SEARCHED = "searched"
    CHECKED = "checked"
    WATCHED = "watched"
    QUARANTINED = "quarantined"


class SearchedTag:
    """A tag, and the deploy that it belongs to.

    Attributes:
        sent_at: when the deploy was sent, on the loop's clock.
        ended_at: when its request had ended or was given up; None: it is under way.
        request_id: the server that was handed out under it.
        orphans: other servers under it, which are stopped.
        misses: searches after the window that found out nothing.
        sweeps: complete reads of all pages, after the window, without it.
        found: the request_id, or None if no server exists, while the tag is SEARCHED.
        unwanted: no caller waits for the server, so it is stopped.
        on_late: called with the request_id of a server that turns up while the tag is
            watched. Returns whether it is the answer.
        due: when it is searched for next.
        until: when it need not be searched for any more, if it is not SEARCHED.
        shown: a list has shown the server that was accepted.
        except_ids: servers under it that another process has handed out.
        since: when another process has made its entry in the journal, in seconds since
            1970. None: this one makes it.
    """

    __slots__ = (
        "due",
        "ended_at",
        "except_ids",
        "found",
        "knowledge",
        "misses",
        "on_late",
        "orphans",
        "record",
        "request_id",
        "sent_at",
        "shown",
        "since",
        "sweeps",
        "tag",
        "until",
        "unwanted",
    )

    def __init__(
        self, tag: str, record: DeployRecord, found: asyncio.Future[str | None]
    ) -> None:
        self.tag: str = tag
        self.record: DeployRecord = record
        self.sent_at: float = record.sent_at or 0.0
        self.found: asyncio.Future[str | None] = found
        self.unwanted: bool = False
        self.knowledge: Knowledge = Knowledge.SEARCHED
        self.ended_at: float | None = None
        self.request_id: str | None = None
        self.orphans: set[str] = set()
        self.misses: int = 0
        self.sweeps: int = 0
        self.on_late: Callable[[str], bool] | None = None
        self.due: float = self.sent_at
        self.until: float = self.sent_at + QUARANTINE
        self.shown: bool = False
        self.except_ids: frozenset[str] = frozenset()
        self.since: float | None = None

    @property
    def needs_no_more_looks(self) -> bool:
        """Whether one list after the window was enough: it was CHECKED, and its server
        was listed, or has ended before that.
        """
        ended = self.record.state is DeployState.ENDED
        return self.knowledge is Knowledge.CHECKED and (self.shown or ended)


# Seconds beyond `until` after which a tag is removed in any case.
EXTRA_TIME: Mapping[Knowledge, float] = {
    Knowledge.CHECKED: 0.0,
    Knowledge.WATCHED: QUARANTINE,
    Knowledge.QUARANTINED: QUARANTINE,
}


class SearchTags:
    """All tags of a session that are searched for, by what is known about them.

    Args:
        observer: called with each tag about which something else is known now. None:
            there is no journal.
    """

    def __init__(self, observer: Callable[[SearchedTag], object] | None = None) -> None:
        self._observer = observer
        # Within each of them the next one that is due comes first.
        self._by_knowledge: dict[Knowledge, dict[str, SearchedTag]] = {
            each: {} for each in Knowledge
        }
        # The lags that were seen, and when.
        self._lags: deque[tuple[float, float]] = deque()
        self._next_probe: float = 0.0
        self._probe: SearchedTag | None = None

    def get(self, tag: str) -> SearchedTag | None:
        """What is known about a tag."""
        for entries in self._by_knowledge.values():
            if tag in entries:
                return entries[tag]
        return None

    def put(self, entry: SearchedTag, knowledge: Knowledge, due: float) -> None:
        """This is known about a tag from now on. It goes to the end of its queue."""
        self._by_knowledge[entry.knowledge].pop(entry.tag, None)
        entry.knowledge, entry.due = knowledge, due
        self._by_knowledge[knowledge][entry.tag] = entry
        self.changed(entry)

    def changed(self, entry: SearchedTag) -> None:
        """Something else is known about a tag now."""
        if self._observer:
            self._observer(entry)

    def remove(self, entry: SearchedTag) -> None:
        """The tag is not searched for any more."""
        self._by_knowledge[entry.knowledge].pop(entry.tag, None)
        if self._probe is entry:
            self._probe = None
        self.changed(entry)

    def of(self, knowledge: Knowledge) -> list[SearchedTag]:
        """The tags about which this is known."""
        return list(self._by_knowledge[knowledge].values())

    def accepted(self, entry: SearchedTag, request_id: str, now: float) -> None:
        """A server was accepted under a tag. It is checked once, after the window."""
        entry.request_id, entry.on_late = request_id, None
        if entry.ended_at is None:
            entry.ended_at = now
        entry.until = now + LONGEST_CHECK
        self.put(entry, Knowledge.CHECKED, now)
        entry.due = self._window_end(entry, entry.ended_at, now)
        if self._probe is None and now >= self._next_probe:
            self._probe, self._next_probe = entry, now + LAG_INTERVAL
            entry.due = now + FIRST_LAG_LOOK

    def resume(
        self, entry: SearchedTag, knowledge: Knowledge, age: float, now: float
    ) -> None:
        """Go on with a tag that another process has CHECKED or WATCHED. However many
        processes do so, one after the other, its time ends.

        Args:
            age: for how long, in seconds, on the clocks of two machines.
        """
        whole = LONGEST_CHECK if knowledge is Knowledge.CHECKED else QUARANTINE
        left = min(max(whole + CLOCKS_DIFFER - age, 0.0), whole)
        if not left and knowledge is Knowledge.CHECKED:
            return
        entry.knowledge = knowledge
        entry.ended_at, entry.until = now, now + left
        self.put(entry, knowledge, now)
        if knowledge is Knowledge.CHECKED:
            entry.due = self._window_end(entry, now, now)

    def due(self, now: float, most: int, *, probe: bool) -> list[SearchedTag]:
        """The tags to search for now: all that are SEARCHED, and some of the others.

        Args:
            most: how many of the others.
            probe: the one too that the lag is measured with.
        """
        due = (
            takewhile(lambda entry: entry.due <= now, entries.values())
            for knowledge, entries in self._by_knowledge.items()
            if knowledge is not Knowledge.SEARCHED
            and _first_due(knowledge, entries) <= now
        )
        # Whatever is due for longest comes first, so no kind waits for another one.
        others = list(islice(merge(*due, key=lambda entry: entry.due), most))
        measured = self._probe
        if probe and measured and measured.due <= now and measured not in others:
            others.append(measured)
        return [*self._by_knowledge[Knowledge.SEARCHED].values(), *others]

    def next_due(self, others_at: float) -> float | None:
        """When to search next, if no tag is SEARCHED; None: no tag is known.

        Args:
            others_at: when tags other than the one that the lag is measured with may be
                searched for.
        """
        dues = [
            max(_first_due(knowledge, entries), others_at)
            for knowledge, entries in self._by_knowledge.items()
            if entries
        ]
        if self._probe:
            dues.append(self._probe.due)
        return min(dues, default=None)

    def asked(self, entry: SearchedTag, now: float) -> None:
        """A search for a tag has ended, with or without an answer."""
        if entry.knowledge is Knowledge.SEARCHED or self.get(entry.tag) is not entry:
            return
        pause = LAG_LOOKS if entry is self._probe else INTERVAL_OF_OTHERS
        self.put(entry, entry.knowledge, now + pause)

    def not_listed(self, entry: SearchedTag, now: float) -> None:
        """A list that was asked for a tag does not show its server."""
        if entry.knowledge is not Knowledge.CHECKED or entry.shown:
            return
        if entry.record.state in ALIVE:
            entry.misses += 1
        elif entry is self._probe:
            # It was stopped, so it may never be listed.
            self._probe, self._next_probe = None, now

    @property
    def probing(self) -> bool:
        """Whether the lag of the lists is being measured."""
        return self._probe is not None

    def window(self, now: float) -> float:
        """Seconds after the end of a request until its server must be listed."""
        while self._lags and self._lags[0][0] < now - LAGS_KEPT:
            self._lags.popleft()
        lags = [lag for _, lag in self._lags]
        probe = self._probe
        if probe and probe.ended_at is not None and probe.misses:
            # It is not listed yet.
            lags.append(now - probe.ended_at)
        if not lags:
            return SEARCH_WINDOW
        window = WINDOW_MARGIN + WINDOW_FACTOR * max(lags)
        return min(max(window, SHORTEST_WINDOW), LONGEST_WINDOW)

    def is_over(self, entry: SearchedTag, asked: float) -> bool:
        """Whether an answer that was asked for at this time can say that no server
        exists under a tag.
        """
        ended_at = entry.ended_at
        return ended_at is not None and asked >= self._window_end(
            entry, ended_at, asked
        )

    def next_window_end(self, now: float) -> float:
        """When the next window of a tag that is SEARCHED ends."""
        ends = (
            self._window_end(entry, entry.ended_at, now)
            for entry in self._by_knowledge[Knowledge.SEARCHED].values()
            if entry.ended_at is not None
        )
        return min((end for end in ends if end > now), default=inf)

    def _window_end(self, entry: SearchedTag, ended_at: float, now: float) -> float:
        window = self.window(now)
        if entry.knowledge is Knowledge.CHECKED:
            # A proxy may be slower to repeat a request than lists are to show it.
            window = max(window, SEARCH_WINDOW)
        return ended_at + window

    def listed(self, entry: SearchedTag, now: float) -> None:
        """A list shows the server that was accepted under a tag."""
        if entry.shown or entry.ended_at is None:
            return
        entry.shown = True
        if entry.misses or entry is self._probe:
            # It was not listed before, so this is the lag.
            self._lags.append((now, now - entry.ended_at))
        if entry is self._probe:
            self._probe = None
        due = self._window_end(entry, entry.ended_at, now)
        self.put(entry, entry.knowledge, max(due, now))

    def expire(self, now: float) -> list[SearchedTag]:
        """Remove the tags whose time is over, even if no list has proven anything about
        them.
        """
        late = [
            entry
            for knowledge, extra in EXTRA_TIME.items()
            for entry in self._by_knowledge[knowledge].values()
            if entry.until + extra <= now
        ]
        for entry in late:
            self.remove(entry)
        return late


def _first_due(knowledge: Knowledge, entries: Mapping[str, SearchedTag]) -> float:
    """When the tags of a queue are to be searched for."""
    first = next(iter(entries.values()), None)
    if first is None:
        return inf
    return first.due + (GATHER if knowledge is Knowledge.CHECKED else 0.0)
