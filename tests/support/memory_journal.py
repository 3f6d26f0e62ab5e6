"""A journal in memory whose answers get lost and whose writes come late."""

from collections.abc import Callable
from typing import TypeVar

from edgegap_async._shared.journal_store import Change, Write, Written
from edgegap_async._shared.owners import Owners, decode, encode
from edgegap_async._shared.store import StoreError

T = TypeVar("T")


class MemoryJournal:
    """The same as the journals in stores.

    Attributes:
        clock: what it reads.
        fault: what happens to the next operation: "before" (it is not done), "after" (it
            is done, but the answer is lost), "late" (it is done with the next one), or
            "" (nothing).
    """

    def __init__(self) -> None:
        self.clock = 1000.0
        self.fault = ""
        self._late: list[Callable[[], object]] = []
        self.flush()

    def flush(self) -> None:
        """It loses everything."""
        self._document: bytes | None = None
        self._epochs: dict[str, int] = {}
        self._versions: dict[str, int] = {}
        self._entries: dict[str, dict[str, bytes]] = {}

    def _do(self, operation: Callable[[], T]) -> T:
        late, self._late = self._late, []
        fault, self.fault = self.fault, ""
        if fault == "late":
            self._late.append(operation)
        if fault in ("before", "late"):
            raise StoreError("no answer")
        result = operation()
        # A write that was given up is done at last.
        for each in late:
            each()
        if fault == "after":
            raise StoreError("no answer")
        return result

    def change(self, change: Change[T]) -> T:
        """Change the owners. A late change meets another one, so it does nothing."""
        if self.fault == "late":
            self.fault = "before"

        def operation() -> T:
            owners, changes, result = change(decode(self._document), self.clock)
            self._document = encode(owners)
            self._epochs |= {**changes.claimed, **changes.emptied}
            for owner, epoch in changes.emptied.items():
                self._entries.pop(owner, None)
                self._versions.pop(owner, None)
                if epoch == 1:
                    del self._epochs[owner]
            return result

        return self._do(operation)

    def write(self, write: Write) -> Written:
        """Change the entries of an owner."""
        # It may be done late, when the owner has changed them.
        puts, removes = dict(write.puts), list(write.removes)

        def operation() -> Written:
            owner = write.owner
            if self._epochs.get(owner, write.epoch) != write.epoch:
                return Written.CLAIMED
            if write.whole:
                self._entries.pop(owner, None)
            elif self._versions.get(owner, 0) != write.before:
                return Written.OTHER_VERSION
            entries = self._entries.setdefault(owner, {})
            entries |= puts
            for name in removes:
                entries.pop(name, None)
            self._versions[owner] = write.after
            if not entries:
                del self._versions[owner]
            return Written.DONE

        return self._do(operation)

    def entries(self, owner: str) -> dict[str, bytes]:
        """The entries of an owner."""
        return self._do(lambda: dict(self._entries.get(owner, {})))

    def owners(self) -> tuple[Owners | None, float]:
        """The owners, and the clock."""
        return decode(self._document), self.clock
