"""What the ledger knows, as structs and as bytes.

Processes with different versions of the SDK may write one ledger. So each struct keeps
the fields that it does not know, and writes them again: what a newer version has added
to a tenant lives as long as that tenant. A field that equals its default is left out,
so a default never changes, and a new field has one.

All times are seconds on the ledger's own clock (`clock.py`).
"""

from math import inf
from typing import Any, cast

import msgspec
from msgspec import Struct, field

from .._limits.adaptive import Adaptation
from .._limits.measurements import SHORTEST_DOUBT
from .._limits.refusals import Refusals

UNKNOWN = "unknown"
# Seconds for which a new state listens: a period, and a round trip to the store.
LISTEN = 1.5


class Record(Struct, omit_defaults=True, kw_only=True):
    """Keeps the fields that a newer version has written."""

    unknown: dict[str, Any] = {}


class StoredAdaptation(Adaptation, omit_defaults=True, kw_only=True):
    """How the rate is adapted. It keeps unknown fields like a `Record`."""

    unknown: dict[str, Any] = {}  # noqa: RUF012 (msgspec copies it)


class StoredRefusals(Refusals, omit_defaults=True, kw_only=True):
    """What is known about refusals. It keeps unknown fields like a `Record`."""

    unknown: dict[str, Any] = {}  # noqa: RUF012 (msgspec copies it)


class Share(Record):
    """What is known of one tenant and one limit.

    Attributes:
        owned: its tokens.
        credit: tokens times seconds that it had less than its fair share, compared with
            the others.
        had_one_at: when it owned a token last.
        rate, doubt, foreground, background: as in its last report.
        all_given: the tokens that it has given back and that were counted.
        reported_at: when it reported what follows. None: never.
        admitted, refused: the answers of the second before that.
        first_at: when the first of them was admitted.
        waiting: how long calls had waited.
        all_admitted, all_refused: the answers that were counted.
    """

    owned: int = 0
    credit: float = 0.0
    had_one_at: float = -inf
    rate: float = inf
    doubt: float = SHORTEST_DOUBT
    foreground: int = 0
    background: int = 0
    all_given: int = 0
    reported_at: float | None = None
    admitted: int = 0
    refused: int = 0
    first_at: float = -inf
    waiting: float = 0.0
    all_admitted: int = 0
    all_refused: int = 0


class Tenant(Record):
    """What is known of one tenant.

    Attributes:
        sequence: the number of its last report.
        lease_end: when its lease ends. It ends earlier at the tenant, as the tenant
            counts from the sending.
        shares: by limit.
        reply: the reply to its last report, encoded. Another process may have folded
            that report.
    """

    sequence: int
    lease_end: float
    shares: dict[str, Share] = {}
    reply: bytes = b""


class LateRefusal(Record):
    """A 429 that waits for the end of a measurement.

    Attributes:
        sent: when its request was sent.
        retry_at: when its `Retry-After` ends.
    """

    sent: float
    retry_at: float


class Measurement(Record):
    """The limit seems to have dropped: all tenants report what was admitted.

    Attributes:
        since: when it began.
        saturated: whether calls waited for the limit then.
        refusals: to be judged at the end.
    """

    since: float
    saturated: bool
    refusals: list[LateRefusal] = []


class LimitState(Record):
    """What is known of one limit.

    Attributes:
        pool: when each token that nobody owns is cool, the coolest first.
        minted: whether tokens were made before.
        period: the seconds for which a token cools.
        hold_until: when requests may be sent again.
        adaptation: how the rate is adapted. None: the documented limit applies.
        refusals: what is known about refusals.
        measurement: the one that runs.
        peak, peak_before, peak_until: the most that were admitted in a second in this
            interval, in the one before, and the end of this one.
        credited_at: when the credits were counted last. None: never.
    """

    pool: list[float] = []
    minted: bool = False
    period: float = 0.0
    hold_until: float = -inf
    adaptation: StoredAdaptation | None = None
    refusals: StoredRefusals = field(default_factory=StoredRefusals)
    measurement: Measurement | None = None
    peak: int = 0
    peak_before: int = 0
    peak_until: float = -inf
    credited_at: float | None = None


class State(Record):
    """What the ledger knows.

    Attributes:
        at: the time on its own clock.
        born: when this state began to listen. Tokens may have been used until then that
            it does not know.
        listen_until: until then, no token moves.
        offset: the own clock minus the store's.
        tenants: by ID.
        limits: by name.
    """

    at: float
    born: float
    listen_until: float
    offset: float = 0.0
    tenants: dict[str, Tenant] = {}
    limits: dict[str, LimitState] = {}

    def listen(self, now: float) -> None:
        """Begin to listen, as tokens may have been used until now."""
        self.born = now
        self.listen_until = max(self.listen_until, now + LISTEN)

    def shares(self, name: str) -> dict[str, Share]:
        """Return the shares of a limit, sorted by tenant: each process must come to the
        same result.
        """
        return {
            key: tenant.shares[name]
            for key, tenant in sorted(self.tenants.items())
            if name in tenant.shares
        }


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(State).decode


def decode(data: bytes) -> State:
    """Return the state that was encoded."""
    state = _decode(data)
    if _encode(state) != data:
        _keep_unknown(state, msgspec.msgpack.decode(data))
    return state


def encode(state: State) -> bytes:
    """Return the state as bytes, with the fields that it does not know."""
    data = _encode(state)
    if UNKNOWN.encode() in data:
        return _encode(_with_unknown(msgspec.msgpack.decode(data)))
    return data


def copy(state: State) -> State:
    """Return a copy that shares nothing with the state."""
    return decode(encode(state))


def _keep_unknown(known: Any, raw: Any) -> None:
    """Put what `known` has left out of `raw` into its field for that."""
    if isinstance(known, Struct):
        names = known.__struct_fields__
        setattr(known, UNKNOWN, {key: raw[key] for key in raw if key not in names})
        for name in set(names) & set(raw):
            _keep_unknown(getattr(known, name), raw[name])
    elif isinstance(raw, dict):
        for key, value in cast("dict[str, Any]", raw).items():
            _keep_unknown(known[key], value)
    elif isinstance(raw, list):
        for value, item in zip(known, cast("list[object]", raw), strict=True):
            _keep_unknown(value, item)


def _with_unknown(raw: Any) -> Any:
    """Put the fields that are not known beside the others."""
    if isinstance(raw, list):
        return [_with_unknown(item) for item in cast("list[object]", raw)]
    if not isinstance(raw, dict):
        return raw
    fields = cast("dict[str, Any]", raw)
    unknown: dict[str, Any] = fields.pop(UNKNOWN, {})
    return {key: _with_unknown(fields[key]) for key in fields} | unknown
