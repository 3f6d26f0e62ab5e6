"""Which entries a session has in the journal: what it is responsible for at the moment.
No I/O.
"""

import time
from collections.abc import Callable, Collection, Iterable
from typing import TypeAlias

from .._records.search_tags import Knowledge, SearchedTag
from .._records.state import DeployRecord, DeployState
from .._shared.entries import Entry, EntryState, encode

# What an entry stands for.
Source: TypeAlias = DeployRecord | SearchedTag
_S = DeployState
# In the other states, nobody has to act, or a tag in quarantine stands for the deploy.
_STATES: dict[DeployState, EntryState] = {
    _S.QUEUED: "pending",
    _S.SENDING: "pending",
    _S.SEARCHING: "pending",
    _S.ACCEPTED: "held",
    _S.LEASED: "held",
    _S.STOPPING: "stopping",
}
_TAG_STATES: dict[Knowledge, EntryState] = {
    Knowledge.CHECKED: "checked",
    Knowledge.WATCHED: "quarantine",
    Knowledge.QUARANTINED: "quarantine",
}


class OpenEntries:
    """The entries of a session, as records and tags change.

    Args:
        searched: what is known about a tag.
        handed_out: the servers under a tag that were handed out.
    """

    def __init__(
        self,
        searched: Callable[[str], SearchedTag | None],
        handed_out: Callable[[str], Iterable[str]],
    ) -> None:
        self._searched, self._handed_out = searched, handed_out
        # Those that may need other entries now.
        self._changed: dict[Source, None] = {}
        # By the names of the entries: what `delta` returned last, the time of the first
        # one, what it stands for, and its tag.
        self._data: dict[str, bytes] = {}
        self._since: dict[str, float] = {}
        self._sources: dict[str, Source] = {}
        self._tags: dict[str, str] = {}
        self._by_tag: dict[str, set[str]] = {}

    @property
    def has_changes(self) -> bool:
        """Whether something has changed since the last `delta`."""
        return bool(self._changed)

    @property
    def is_used(self) -> bool:
        """Whether there are entries, or have to be, or to be removed."""
        return bool(self._data or self._changed)

    def changed(self, source: Source) -> None:
        """A record or a tag has changed. Entries under the same tag name the servers that
        were handed out, so they may change too.
        """
        self._changed[source] = None
        if source.tag is None:
            return
        for name in self._by_tag.get(source.tag, ()):
            self._changed[self._sources[name]] = None
        if searched := self._searched(source.tag):
            self._changed[searched] = None

    def delta(self) -> tuple[dict[str, bytes], dict[str, Source]]:
        """What has changed since the last call: entries to put, and those to remove with
        what they stood for.
        """
        puts: dict[str, bytes] = {}
        removes: dict[str, Source] = {}
        for source in self._changed:
            name, entry = _name(source), self._entry(source)
            if entry is None:
                if name in self._data:
                    self._remove(name)
                    removes[name] = source
                continue
            data = encode(entry)
            if self._data.get(name) != data:
                self._put(name, source, data)
                puts[name] = data
        self._changed.clear()
        return puts, removes

    def _entry(self, source: Source) -> Entry | None:
        state: EntryState | None
        since: float | None = None
        if isinstance(source, DeployRecord):
            state, request_id = _STATES.get(source.state), source.request_id
            fleet = source.fleet
            if not (request_id or source.tag):
                # Without a tag of its own, there is nothing to search for.
                return None
        else:
            request_id, fleet = None, source.record.fleet
            since = source.since
            state = _TAG_STATES.get(source.knowledge)
            if self._searched(source.tag) is not source or (
                state == "checked" and source.record.state in _STATES
            ):
                # It is not searched for any more, or its deploy has an entry.
                state = None
        if state is None:
            return None
        tag = source.tag
        others = {*self._handed_out(tag)} - {request_id} if tag else set[str]()
        return Entry(
            state,
            self._since.setdefault(_name(source), since or round(time.time(), 3)),
            tag,
            request_id,
            "fleet" if fleet else "cloud",
            tuple(sorted(others)),
        )

    def _put(self, name: str, source: Source, data: bytes) -> None:
        self._forget_tag(name)
        self._data[name], self._sources[name] = data, source
        if source.tag:
            self._tags[name] = source.tag
            self._by_tag.setdefault(source.tag, set()).add(name)

    def _remove(self, name: str) -> None:
        self._forget_tag(name)
        del self._data[name], self._sources[name], self._since[name]

    def _forget_tag(self, name: str) -> None:
        tag = self._tags.pop(name, None)
        if tag is not None:
            names = self._by_tag[tag]
            names.discard(name)
            if not names:
                del self._by_tag[tag]

    def names(self) -> list[str]:
        """The names of all entries."""
        return list(self._data)

    def lose(self, names: Collection[str]) -> list[Source]:
        """Another process has claimed these entries. The next `delta` has all others.

        Returns:
            What they stand for.
        """
        lost = [self._sources[name] for name in names if name in self._sources]
        self._changed |= dict.fromkeys(self._sources.values())
        for source in lost:
            self._changed.pop(source)
        for name in self.names():
            self._remove(name)
        return lost


def _name(source: Source) -> str:
    return str(source.call_id) if isinstance(source, DeployRecord) else source.tag
