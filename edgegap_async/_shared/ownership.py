"""One session as an owner of entries in the journal: it renews its ownership, writes its
entries, and claims those of dead owners.

All of it runs in the thread of the store, but for `is_over`.
"""

import os
import platform
import time
from math import inf

from msgspec import Struct, structs

from .entries import decode
from .journal_store import Changes, JournalStore, Write, Written
from .owners import Owner, Owners, advance, claim, forget, leave, remove, renew


class Claimed(Struct, frozen=True):
    """The entries of a dead owner, which this session answers for from now on.

    Attributes:
        name: of the owner.
        host, pid: its process.
        may_arrive: for how many seconds its requests may still be on their way. Below
            0: since when they can't be.
        entries: encoded.
        adopted: the servers that other living processes have adopted.
    """

    name: str
    host: str
    pid: int
    may_arrive: float
    entries: tuple[bytes, ...]
    adopted: frozenset[str] = frozenset()


class _Held:
    """The entries of a dead owner, until they are handed over and removed.

    Attributes:
        owner: as this session holds it.
        quiet_at: when no request of it can be on its way, on the monotonic clock.
        handed_over: somebody does what is due.
    """

    def __init__(self, owner: Owner, quiet_at: float) -> None:
        self.owner, self.quiet_at = owner, quiet_at
        self.handed_over = False


class Ownership:
    """One owner.

    Args:
        lease: seconds.
        sending: seconds for which a request may be on its way.
    """

    def __init__(self, store: JournalStore, lease: float, sending: float) -> None:
        host, pid = platform.node(), os.getpid()
        self.name = f"{host}-{pid}-{os.urandom(6).hex()}"
        self._store, self._lease = store, lease
        self._owner = Owner(host, pid, lease, sending)
        # As the store has them, or should have them.
        self._entries: dict[str, bytes] = {}
        self._version = 0
        # The last write has failed, or may have.
        self._unsure = False
        # The store knows this owner.
        self._known = False
        self._claimed = False
        # Until when it certainly owns its entries, on the monotonic clock.
        self._over_at = inf
        self._held: dict[str, _Held] = {}

    @property
    def is_over(self) -> bool:
        """Whether somebody else may have claimed the entries. For any thread."""
        return time.monotonic() >= self._over_at

    def save(self, puts: dict[str, bytes], removes: list[str]) -> bool:
        """Write entries. What could not be written before is written too.

        Returns:
            False: somebody else has claimed the entries.

        Raises:
            StoreError: that has failed.
        """
        before = self._version if self._entries else 0
        self._entries.update(puts)
        for name in removes:
            self._entries.pop(name, None)
        # Whatever fails from here on, the next write has all entries.
        whole, self._unsure = self._unsure, True
        if not (self._known or self._renew()):
            return False
        outcome = Written.OTHER_VERSION
        if not whole:
            outcome = self._write(before, puts, removes)
        if outcome is Written.OTHER_VERSION:
            if not self._renew():
                return False
            outcome = self._write(0, self._entries, (), whole=True)
        self._unsure = False
        self._claimed = self._claimed or outcome is Written.CLAIMED
        return not self._claimed

    def _write(
        self,
        before: int,
        puts: dict[str, bytes],
        removes: list[str] | tuple[()],
        *,
        whole: bool = False,
    ) -> Written:
        self._version += 1
        return self._store.write(
            Write(
                self.name,
                self._owner.epoch,
                before,
                self._version,
                puts,
                removes,
                whole,
            )
        )

    def _renew(self) -> bool:
        began = time.monotonic()

        def change(owners: Owners | None, clock: float) -> tuple[Owners, Changes, bool]:
            owners = advance(owners, clock, self._lease)
            return owners, Changes(), renew(owners, self.name, self._owner)

        self._renewed(began, self._store.change(change))
        return not self._claimed

    def _renewed(self, began: float, mine: bool) -> None:
        self._claimed = self._claimed or not mine
        self._known = mine
        if mine:
            self._over_at = began + self._lease

    def beat(self) -> list[Claimed] | None:
        """Renew the ownership, if there are entries, and claim those of dead owners.

        Returns:
            What was claimed. None: somebody else has claimed the entries of this one.

        Raises:
            StoreError: that has failed.
        """
        if self._claimed:
            return None
        began = time.monotonic()

        def change(
            owners: Owners | None, clock: float
        ) -> tuple[Owners, Changes, tuple[bool, dict[str, Owner], float]]:
            owners = advance(owners, clock, self._lease)
            changes = Changes(emptied=dict.fromkeys(forget(owners), 1))
            mine = self._renew_or_remove(owners)
            for name, held in self._held.items():
                renew(owners, name, held.owner)
            claimed = claim(owners, self.name)
            changes.claimed = {name: it.epoch + 1 for name, it in claimed.items()}
            return owners, changes, (mine, claimed, owners.at)

        mine, claimed, at = self._store.change(change)
        if self._entries:
            self._renewed(began, mine)
        else:
            self._known, self._over_at = False, inf
        for name, owner in claimed.items():
            self._hold(name, owner, at, began)
        if self._claimed:
            return None
        # The store may have been emptied, or have come back with old data.
        if (self._entries or self._unsure) and not self.save({}, []):
            return None
        return self._hand_over()

    def _renew_or_remove(self, owners: Owners) -> bool:
        if self._entries:
            return renew(owners, self.name, self._owner)
        remove(owners, self.name, self._owner.epoch)
        return True

    def _hold(self, name: str, owner: Owner, at: float, began: float) -> None:
        quiet_at = began + owner.sending - (at - owner.renewed_at)
        held = structs.replace(
            owner,
            epoch=owner.epoch + 1,
            holder=self.name,
            lease=self._lease,
            left=False,
        )
        self._held[name] = _Held(held, quiet_at)

    def _hand_over(self) -> list[Claimed]:
        new = {name: it for name, it in self._held.items() if not it.handed_over}
        if not new:
            return []
        adopted = self._adopted()
        ready = [
            Claimed(
                name,
                held.owner.host,
                held.owner.pid,
                held.quiet_at - time.monotonic(),
                tuple(self._store.entries(name).values()),
                adopted,
            )
            for name, held in new.items()
        ]
        for held in new.values():
            held.handed_over = True
        return ready

    def _adopted(self) -> frozenset[str]:
        """The servers that other living processes have adopted, perhaps after a process
        had died that held them.
        """
        owners = self._store.owners()[0]
        alive = [
            name
            for name, it in (owners.owners if owners else {}).items()
            if name != self.name and not (it.holder or it.left)
        ]
        entries = (
            decode(data)
            for name in alive
            for data in self._store.entries(name).values()
        )
        # One with a tag is that process's own.
        held = (it for it in entries if it and it.state == "held" and it.tag is None)
        return frozenset(it.request_id for it in held if it.request_id)

    def release(self, names: list[str]) -> None:
        """Remove the entries of dead owners: this session has entries of its own for all
        that is due.

        Raises:
            StoreError: that has failed.
        """

        def change(owners: Owners | None, clock: float) -> tuple[Owners, Changes, None]:
            owners = advance(owners, clock, self._lease)
            changes = Changes()
            for name in names:
                epoch = self._held[name].owner.epoch
                if remove(owners, name, epoch):
                    known = name in owners.owners
                    changes.emptied[name] = epoch if known else 1
            return owners, changes, None

        names = [name for name in names if name in self._held]
        if names:
            self._store.change(change)
        for name in names:
            del self._held[name]

    def leave(self, puts: dict[str, bytes], removes: list[str]) -> None:
        """The session is closed. What is left can be claimed at once.

        Raises:
            StoreError: that has failed.
        """
        if not self._entries and not puts and not self._known and not self._held:
            return
        if not self.save(puts, removes):
            return

        def change(owners: Owners | None, clock: float) -> tuple[Owners, Changes, None]:
            owners = advance(owners, clock, self._lease)
            changes = Changes()
            if self._entries:
                leave(owners, self.name, self._owner.epoch)
            elif remove(owners, self.name, self._owner.epoch):
                changes.emptied[self.name] = self._owner.epoch
            for name, held in self._held.items():
                leave(owners, name, held.owner.epoch)
            return owners, changes, None

        self._store.change(change)
