"""What a tenant reports in a beat, and what it learns.

All times are seconds, and durations. Numbers called `all_...` count from the start of
the tenant. With them, nothing is counted twice if a reply was lost and the next report
repeats what the ledger knows already.

Versions of the SDK may differ between processes: a new field has a default.
"""

import msgspec
from msgspec import Struct


class RefusedRequest(Struct, frozen=True, gc=False):
    """A 429.

    Attributes:
        sent_ago: the time since its request was sent.
        retry_after: how long its `Retry-After` still runs. 0: it had none.
    """

    sent_ago: float
    retry_after: float = 0.0


class Answers(Struct, frozen=True):
    """What the server answered to a tenant's requests.

    Attributes:
        admitted, refused: how many answers of the last second were no 429, and how many
            were.
        span: the time since the first of the admitted ones.
        waiting: for how long calls have waited without a break. 0: no call waits.
        all_admitted, all_refused: the same counts since the tenant started.
        refusals: each 429 since the last beat that was answered, the oldest first.
    """

    admitted: int = 0
    refused: int = 0
    span: float = 0.0
    waiting: float = 0.0
    all_admitted: int = 0
    all_refused: int = 0
    refusals: tuple[RefusedRequest, ...] = ()


class LimitReport(Struct, frozen=True):
    """What a tenant reports of one limit.

    Attributes:
        rate: the requests per second that it may keep to: the documented limit, times
            `Limits.share`.
        doubt: how long a request that was given up may still be on its way.
        keeps: the tokens that it keeps, as an absolute number.
        in_use: the tokens that are in flight or cool down.
        given: in how long each token is cool that it has given back since the last beat
            that was answered, in the order in which it gave them.
        all_given: how many tokens it has given back since it started.
        foreground, background: how many tokens it could use, by priority of the calls.
        answers: what the server answered.
    """

    rate: float
    doubt: float
    keeps: int = 0
    in_use: int = 0
    given: tuple[float, ...] = ()
    all_given: int = 0
    foreground: int = 0
    background: int = 0
    answers: Answers = Answers()


class Report(Struct, frozen=True):
    """What a tenant reports in a beat.

    Attributes:
        tenant: an ID that no other tenant ever has.
        sequence: the number of the beat, from 1 on.
        lease: how long it may use what it will own, from the sending of this report on.
        lease_left: how long it may still use what it owns now. None: it may not any
            more, or never might. Only the ledger knows what it owns then, and `keeps`
            and `given` mean nothing.
        limits: a report of each limit.
        bye: whether it leaves.
    """

    tenant: str
    sequence: int
    lease: float
    lease_left: float | None
    limits: dict[str, LimitReport]
    bye: bool = False


class Received(Struct, frozen=True):
    """A report, and the time of its arrival on the store's clock."""

    report: Report
    at: float


class LimitReply(Struct, frozen=True):
    """What a tenant learns of one limit.

    Attributes:
        owned: how many tokens it owns.
        cools: in how long each new one of them is cool.
        owes: how many it should give back with its next report.
        hold: how long nothing may be sent.
        rate, slots, period: the rate of all tenants together, its slots and the time for
            which a slot cools.
        hot: in how long a token is cool that the tenant owns and knows nothing of. It
            was granted in a reply that never arrived.
        adapted: whether the rate differs from the documented limit.
        fair: the tenant's fair share of the slots.
    """

    owned: int
    cools: tuple[float, ...]
    owes: int
    hold: float
    rate: float
    slots: int
    period: float
    hot: float
    adapted: bool
    fair: float


class Reply(Struct, frozen=True):
    """What a tenant learns in a beat.

    Attributes:
        sequence: the number of the report that this answers.
        tenants: how many there are, with this one.
        next_beat: when the next report is due, counted from the sending of this one.
            The tenant varies it by a tenth, as beats in step would meet in the store.
        limits: a reply for each limit of the report.
    """

    sequence: int
    tenants: int
    next_beat: float
    limits: dict[str, LimitReply]


encode = msgspec.msgpack.Encoder().encode
decode_report = msgspec.msgpack.Decoder(Report).decode
decode_reply = msgspec.msgpack.Decoder(Reply).decode
