"""The ledger of one budget: a pure function from a state and reports to the next state.

The rules, in their order:

    1  The ledger's own clock passes (`clock.py`).
    2  Tenants whose lease has ended are gone, and their tokens are cool. Reports that
       were overtaken, or are older than the lease in which they were made, are ignored.
    3  A new state *listens*: no token is minted or moves, and tenants are believed what
       they keep. If one of them has a lease from before, others may have one too. So it
       listens for a whole lease then. After an outage in which tenants may have used
       their fallback, it begins to listen again.
    4  The rate adapts to the sum of what all tenants sent (`shared_rate.py`).
    5  A tenant owns what it keeps, and gives the rest. Tokens are minted or destroyed, up
       to the slots of the rate (`tokens.py`).
    6  Each tenant has a goal (`goals.py`).
    7  A tenant that has less gets the coolest tokens of the pool. One that has more owes
       the difference.
"""

from collections.abc import Sequence

from . import state as states
from .clock import advance
from .goals import fair_shares, reserve_of_each, whole_goals
from .messages import (
    LimitReply,
    LimitReport,
    Received,
    Reply,
    Report,
    decode_reply,
    encode,
)
from .shared_rate import adapt
from .state import LISTEN, LimitState, Share, State, Tenant
from .tokens import believe, destroy, expire, hot, keep, mint, release, take

# Seconds until the next beat: of a tenant that waits for what others must give first, with
# calls, without, and for each tenant.
SHORT, BUSY, IDLE, PER_TENANT = 0.1, 0.25, 0.7, 0.016
# A tenant waits if it lacks so many tokens, and such a part of its goal.
LACKS, PART = 2, 1 / 4
# Seconds after the end of listening at which the next beat is due.
AFTER_LISTENING = 0.002


def step(
    state: State | None, reports: Sequence[Received], clock: float
) -> tuple[State, dict[str, Reply]]:
    """Fold reports into the ledger, in their order.

    Args:
        state: what the ledger knows. It is left as it is. None: nothing.
        reports: what the store has received.
        clock: the time on the store's clock, in seconds.

    Returns:
        What the ledger knows then, and the reply to each tenant whose report was folded.
    """
    state = (
        states.copy(state)
        if state
        else State(at=clock, born=clock, listen_until=clock + LISTEN)
    )
    now = advance(state, clock)
    _expire(state, now)
    replies: dict[str, Reply] = {}
    for received in reports:
        report = received.report
        if not _is_outdated(state, received, clock):
            replies[report.tenant] = _fold(state, report, now)
    return state, replies


def reply_to(state: State, report: Report) -> Reply | None:
    """Return the reply to a report that another process has folded. None: nobody has."""
    tenant = state.tenants.get(report.tenant)
    if tenant is None or tenant.sequence != report.sequence:
        return None
    return decode_reply(tenant.reply)


def _expire(state: State, now: float) -> None:
    gone = [name for name, at in state.tenants.items() if at.lease_end <= now]
    for tenant in gone:
        for name, share in state.tenants.pop(tenant).shares.items():
            expire(state.limits[name], share, now)


def _is_outdated(state: State, received: Received, clock: float) -> bool:
    report = received.report
    tenant = state.tenants.get(report.tenant)
    if tenant and report.sequence <= tenant.sequence:
        return True
    # After its lease, a tenant does not keep what it said.
    return report.lease_left is not None and clock - received.at > report.lease_left


def _fold(state: State, report: Report, now: float) -> Reply:
    tenant = state.tenants.get(report.tenant)
    if tenant is None:
        tenant = state.tenants[report.tenant] = Tenant(sequence=0, lease_end=0)
        if now < state.listen_until and report.lease_left is not None:
            state.listen_until = max(state.listen_until, state.born + report.lease)
    tenant.sequence, tenant.lease_end = report.sequence, now + report.lease
    for name in sorted(set(tenant.shares) - set(report.limits)):
        _leave(state, tenant, name, now)
    served = {name: _serve(state, report, name, now) for name in sorted(report.limits)}
    reply = Reply(
        sequence=report.sequence,
        tenants=len(state.tenants),
        next_beat=_next_beat(
            state, min((due for _, due in served.values()), default=IDLE), now
        ),
        limits={name: limit for name, (limit, _) in served.items()},
    )
    tenant.reply = encode(reply)
    if report.bye:
        for name in sorted(tenant.shares):
            _leave(state, tenant, name, now)
        del state.tenants[report.tenant]
    return reply


def _serve(
    state: State, report: Report, name: str, now: float
) -> tuple[LimitReply, float]:
    """Serve one limit of a report. Return the reply, and when to beat again."""
    told = report.limits[name]
    limit = state.limits.setdefault(name, LimitState())
    share = state.tenants[report.tenant].shares.setdefault(name, Share())
    _note(share, told)
    shares = state.shares(name)
    rate = adapt(name, limit, share, shares, told.answers, now)
    listening = now < state.listen_until
    has_lease = report.lease_left is not None
    if listening:
        claimed = max(told.in_use, told.keeps if has_lease else 0)
        believe(limit, share, shares, claimed, rate.most_slots)
    if has_lease:
        keep(limit, share, shares, told, now)
    share.all_given = told.all_given
    if not listening:
        mint(limit, shares, rate, state.born, now)
    destroy(limit, shares, rate.slots)
    fair = fair_shares(shares, rate.slots)
    goal = whole_goals(limit, shares, fair, now)[report.tenant]
    moves = not (listening or report.bye)
    cools = take(limit, share, goal, now) if moves else ()
    return LimitReply(
        owned=share.owned,
        cools=cools,
        owes=max(0, share.owned - goal) if moves else 0,
        hold=max(0.0, limit.hold_until - now),
        rate=rate.rate,
        slots=rate.slots,
        period=rate.period,
        hot=hot(limit, shares, now) - now,
        adapted=rate.adapted,
        fair=fair[report.tenant],
    ), _due(share, goal, reserve_of_each(rate.slots, len(shares)), moves=moves)


def _due(share: Share, goal: int, reserve: int, *, moves: bool) -> float:
    if moves and goal - share.owned >= max(LACKS, PART * goal):
        return SHORT
    wants = share.foreground + share.background
    return BUSY if wants > reserve or share.owned != goal else IDLE


def _note(share: Share, told: LimitReport) -> None:
    share.rate, share.doubt = told.rate, told.doubt
    share.foreground, share.background = told.foreground, told.background


def _leave(state: State, tenant: Tenant, name: str, now: float) -> None:
    """Take what a tenant owns of a limit that it does not use any more."""
    limit = state.limits[name]
    release(limit, tenant.shares[name], state.shares(name), now)
    del tenant.shares[name]


def _next_beat(state: State, due: float, now: float) -> float:
    due = min(IDLE, max(due, PER_TENANT * len(state.tenants)))
    left = state.listen_until - now
    return min(due, left + AFTER_LISTENING) if left > 0 else due
