"""Who answers for the entries of the journal. Pure: no store, no clock.

Each session is an *owner*, and renews its ownership. An owner that has not renewed it for
its whole lease is dead, and another one claims its entries: that makes it their *holder*,
and raises their *epoch*. Whatever an owner writes names the epoch that it knows, so an
owner that was only paused writes nothing after it was claimed.

All times are seconds on the document's own clock. It passes with the store's clock, but at
most for a part of the shortest lease between two renewals. After a longer gap than those
between two renewals, or a step back, the store was gone or its clock was set. Then nobody
is claimed for one whole lease, as everybody may have been cut off alike.
"""

from math import inf

import msgspec
from msgspec import Struct

from .store import StoreError

# Renewals in one lease.
RENEWALS = 6
# The clock passes over gaps up to this part of a lease.
LONGEST_GAP = 1 / 3
# Seconds for which it is known that an owner was claimed. It may have been paused.
REMEMBERED = 86_400.0
# The version of this document. An older process must not write a newer one, as it would
# lose what it does not know.
VERSION = 1


class Owner(Struct, omit_defaults=True):
    """One owner.

    Attributes:
        host, pid: its process.
        lease: seconds for which it owns its entries after a renewal.
        sending: seconds for which its requests may be on their way after a renewal.
        renewed_at: when.
        epoch: 1, and one more with each claim.
        holder: the owner that has claimed its entries. "": itself.
        left: it was closed, so its entries can be claimed at once.
        closed: it was closed, so it writes nothing any more.
        removed_at: when a holder had done all that was due, and removed its entries.
    """

    host: str
    pid: int
    lease: float
    sending: float
    renewed_at: float = -inf
    epoch: int = 1
    holder: str = ""
    left: bool = False
    closed: bool = False
    removed_at: float | None = None


class Owners(Struct, omit_defaults=True):
    """All owners.

    Attributes:
        at: the time on the own clock, when the store's clock was at `clock`.
        claims_from: nobody is claimed before that time.
    """

    version: int
    at: float
    clock: float
    claims_from: float
    owners: dict[str, Owner] = {}


encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Owners).decode


def decode(document: bytes | None) -> Owners | None:
    """Decode the document. None: there is none.

    Raises:
        StoreError: a newer version of the SDK has written it, or it is damaged.
    """
    if document is None:
        return None
    try:
        owners = _decode(document)
    except msgspec.MsgspecError:
        raise StoreError("shared store: the journal can't be read") from None
    if owners.version > VERSION:
        raise StoreError(
            "shared store: a newer version of edgegap_async writes this journal: update this one"
        )
    return owners


def advance(owners: Owners | None, clock: float, lease: float) -> Owners:
    """Move the own clock to a time of the store's clock, or begin.

    Args:
        owners: None: the store is new, or was emptied.
        lease: of who asks.
    """
    if owners is None:
        return Owners(VERSION, at=0.0, clock=clock, claims_from=lease)
    # Those whose entries were removed have left nothing to claim.
    active = (it.lease for it in owners.owners.values() if it.removed_at is None)
    leases = [lease, *active]
    gap = clock - owners.clock
    # The lease may have been changed, so dead owners may have shorter ones than the one
    # who asks. The clock must not stand still for those.
    owners.at += min(max(gap, 0.0), LONGEST_GAP * min(leases))
    if owners.owners and not 0 <= gap <= LONGEST_GAP * lease:
        owners.claims_from = max(owners.claims_from, owners.at + max(leases))
    owners.clock = clock
    return owners


def forget(owners: Owners) -> list[str]:
    """Forget the owners that were claimed long ago.

    Returns:
        Their names.
    """
    old = [
        name
        for name, owner in owners.owners.items()
        if owner.removed_at is not None and owners.at - owner.removed_at > REMEMBERED
    ]
    for name in old:
        del owners.owners[name]
    return old


def renew(owners: Owners, name: str, owner: Owner) -> bool:
    """Renew an ownership, or begin it.

    Args:
        owner: as the one who asks knows it. An owner that is not known any more, as the
            store was emptied, begins again.

    Returns:
        False: somebody else has claimed it.
    """
    known = owners.owners.get(name)
    if known and (known.epoch, known.holder) != (owner.epoch, owner.holder):
        return False
    if known and known.removed_at is not None:
        return False
    renewed = msgspec.structs.replace(owner, renewed_at=owners.at)
    owners.owners[name] = renewed
    return True


def claim(owners: Owners, holder: str) -> dict[str, Owner]:
    """Claim the entries of all owners that are dead, or were closed.

    Returns:
        These owners as they were before, by their names.
    """
    claimed: dict[str, Owner] = {}
    for name, owner in owners.owners.items():
        if name == holder or owner.removed_at is not None:
            continue
        if owner.left or _is_dead(owners, owner):
            owner.closed = owner.closed or (owner.left and not owner.holder)
            claimed[name] = msgspec.structs.replace(owner)
            owner.epoch += 1
            owner.holder, owner.left = holder, False
            # The new holder has a lease from now on.
            owner.renewed_at = owners.at
    return claimed


def _is_dead(owners: Owners, owner: Owner) -> bool:
    over = owner.renewed_at + owner.lease
    return owners.at >= max(over, owners.claims_from)


def remove(owners: Owners, name: str, epoch: int) -> bool:
    """An owner has no entries any more.

    Returns:
        False: somebody else has claimed it.
    """
    known = owners.owners.get(name)
    if known is None:
        return True
    if known.epoch != epoch or known.removed_at is not None:
        return False
    if epoch == 1 or known.closed:
        del owners.owners[name]
    else:
        known.removed_at = owners.at
    return True


def leave(owners: Owners, name: str, epoch: int) -> None:
    """An owner is closed, and has entries left: anybody may claim them at once."""
    known = owners.owners.get(name)
    if known and known.epoch == epoch and known.removed_at is None:
        known.left = True
