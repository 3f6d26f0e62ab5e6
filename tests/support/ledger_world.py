"""Tenants, a store and a server in virtual time, for the tests of the shared ledger.

Tenants use the ledger as a process does: they beat, keep an absolute number of tokens,
count their lease from the sending, and use whatever they may use as soon as they may.
The store is an inbox with compare-and-set. All that can fail between them can be made to
fail. The server counts the requests that arrive.
"""

import heapq
from bisect import insort
from collections.abc import Callable
from functools import partial
from itertools import count
from math import inf
from typing import NamedTuple

from edgegap_async._limits.adaptive import CLOCK_GRAIN
from edgegap_async._shared import state as states
from edgegap_async._shared.ledger import LISTEN, reply_to, step
from edgegap_async._shared.messages import (
    LimitReply,
    LimitReport,
    Received,
    Reply,
    Report,
)
from edgegap_async._shared.tokens import SHORTEST_PERIOD

NAME = "deploy"
# Seconds.
LEASE, TIMEOUT, RETRY = 5.0, 1.0, 0.25
# Seconds: how long a request that was given up may be on its way.
DOUBT = 0.25
# Seconds after its start for which a tenant waits for its first reply, and after its
# fallback in which it does not use more than that.
FIRST, SETTLE = 1.0, 1.5
# The fallback of a tenant that was never answered, as a part of the limit.
UNKNOWN_FALLBACK = 1 / 8


class Use(NamedTuple):
    """A request.

    Attributes:
        arrives: when the server counts it.
        excused: whether the promise does not count it: it was sent within the fallback
            of a tenant, while others used their leases, or had just used them.
    """

    arrives: float
    excused: bool


class Out(NamedTuple):
    """A token that can't be used yet.

    Attributes:
        back: when it can be used.
        answered: when its request is answered. Until then, it can't be given back.
    """

    back: float
    answered: float


class Fault(NamedTuple):
    """What happens to one beat: seconds of delay of each message. `inf`: it is lost.

    Attributes:
        post, seen, commit, done: the messages: the report, what the store holds, what it
            should hold, the answer.
    """

    post: float = 0.0
    seen: float = 0.0
    commit: float = 0.0
    done: float = 0.0


class Store:
    """An inbox and a state with compare-and-set, on a clock of its own."""

    def __init__(self) -> None:
        self.skew = 1_790_000_000.0
        self.frozen_until = self.gone_until = -inf
        self.epoch = 0
        self.flush()

    def flush(self) -> None:
        self.epoch += 1
        self.version = (self.epoch, 0)
        self.data: bytes | None = None
        self.inbox: dict[str, Received] = {}

    def evict_inbox(self) -> None:
        self.inbox = {}

    @property
    def state(self) -> states.State | None:
        return None if self.data is None else states.decode(self.data)


class Tenant:
    """One process."""

    def __init__(self, world: "World", name: str, want: int) -> None:
        self.world, self.name, self.want = world, name, want
        self.background = 0
        # Seconds of a request until it arrives, and until its answer is here.
        self.up = self.down = 0.0
        # Seconds of a message to the store, one way.
        self.way = 0.0
        self.faults: list[Fault] = []
        self.cut_until = self.paused_until = -inf
        self.gives_up = False
        self.sequence = self.owned = self.owes = self.all_given = 0
        self.given: list[float] = []
        self.out: list[Out] = []
        self.stop_at = self.settled_at = -inf
        self.lease_epoch = -1
        self.safe = int(world.slots * UNKNOWN_FALLBACK)
        self.fell_back = False
        self.asleep, self.started = True, world.now
        # Whether it leaves, and whether it comes back at once.
        self.leaving = self.returning = False
        # When the next beat is due, unless one is on its way.
        self.due = inf
        self.beating = False

    @property
    def alive(self) -> bool:
        return self.world.tenants.get(self.name) is self

    def wake(self) -> None:
        """Start to beat, for the first time or after it has left."""
        self.returning = self.leaving
        if self.asleep:
            self.asleep, self.started = False, self.world.now
            self.beat_at(self.world.now)

    # Using tokens

    def cap(self, now: float) -> int:
        if self.leaving or self.asleep:
            return 0
        if now < self.stop_at:
            return self.owned if now >= self.settled_at else min(self.owned, self.safe)
        return self.safe if now >= self.started + FIRST else 0

    def use(self) -> None:
        now = self.world.now
        if not self.alive:
            return
        self.out = [token for token in self.out if token.back > now]
        while now >= self.paused_until and len(self.out) < min(
            self.cap(now), self.want
        ):
            leased = now < self.stop_at
            if leased:
                self.world.leased_at[self.name] = now + self.up
            self.fell_back |= not leased
            self.world.arrive(now + self.up, excused=not leased and self.is_alone())
            answered = now + (0.0 if self.gives_up else self.up + self.down)
            doubt = DOUBT if self.gives_up else 0.0
            back = answered + doubt + self.world.period
            self.out.append(Out(back, answered))
            self.world.at(back, self.use)

    def is_alone(self) -> bool:
        """Whether the store is not gone for all, or was not until a moment ago: leases
        do not end at the same time, so that others have just used theirs. Or tenants do
        not know of each other, so that their fallbacks are too large in sum.
        """
        world = self.world
        fallbacks = sum(tenant.safe for tenant in world.tenants.values())
        unaware = fallbacks > world.slots / 2
        return (not world.in_outage() or unaware) or any(
            world.now < when + world.window
            for name, when in world.leased_at.items()
            if name != self.name
        )

    # Beats

    def give(self, count: int) -> None:
        now = self.world.now
        self.out = [token for token in self.out if token.back > now]
        for _ in range(count):
            answered = [token for token in self.out if token.answered <= now]
            if len(self.out) < self.owned:
                self.given.append(now)
            elif answered:
                hottest = max(answered)
                self.out.remove(hottest)
                self.given.append(hottest.back)
            else:
                return
            self.owned -= 1
            self.all_given += 1

    def report(self) -> Report:
        now = self.world.now
        has_lease = now < self.stop_at
        if has_lease:
            self.give(self.owned if self.leaving else min(self.owned, self.owes))
            self.owes = 0
        self.out = [token for token in self.out if token.back > now]
        self.sequence += 1
        wants = 0 if self.leaving else self.want
        told = LimitReport(
            rate=self.world.rate,
            doubt=DOUBT,
            keeps=self.owned,
            in_use=len(self.out),
            given=tuple(max(0.0, cool - now) for cool in self.given),
            all_given=self.all_given,
            foreground=wants - min(wants, self.background),
            background=min(wants, self.background),
        )
        left = self.stop_at - now if has_lease else None
        return Report(
            self.name, self.sequence, LEASE, left, {NAME: told}, bye=self.leaving
        )

    def beat_at(self, when: float) -> None:
        self.due = when
        self.world.at(when, self.beat)

    def beat(self) -> None:
        now = self.world.now
        if not self.alive or self.asleep or self.beating or now < self.due:
            return
        if now < self.paused_until:
            self.world.at(self.paused_until, self.beat)
            return
        self.beating = True
        fault = self.faults.pop(0) if self.faults else Fault()
        Beat(self.world, self, self.report(), fault).post()

    def answered(self, report: Report, reply: Reply, sent: float, epoch: int) -> None:
        now, limit = self.world.now, reply.limits[NAME]
        self.beating = False
        if report.bye:
            self.asleep, self.leaving, self.owned = True, False, 0
            self.stop_at = -inf
            if self.returning:
                self.wake()
            return
        if self.fell_back:
            self.fell_back, self.settled_at = False, now + SETTLE
            self.world.at(self.settled_at, self.use)
        self.lease_epoch = epoch
        self.stop_at = sent + LEASE - SHORTEST_PERIOD - DOUBT
        self.safe = int(self.world.slots / (2 * reply.tenants))
        self.own(limit)
        self.given, self.owes = [], limit.owes
        self.beat_at(max(now + 0.001, sent + reply.next_beat * self.world.jitter()))

    def own(self, limit: LimitReply) -> None:
        now = self.world.now
        unheard = max(0, limit.owned - len(limit.cools) - self.owned)
        for cool in (*limit.cools, *[limit.hot] * unheard):
            if cool > 0:
                back = now + cool + CLOCK_GRAIN
                self.out.append(Out(back, -inf))
                self.world.at(back, self.use)
        self.owned = limit.owned

    def failed(self) -> None:
        self.beating = False
        self.beat_at(self.world.now + RETRY)
        self.world.at(max(self.world.now, self.stop_at), self.use)


class Beat:
    """One report on its way: two messages to the store and two answers, or more."""

    def __init__(
        self, world: "World", tenant: Tenant, report: Report, fault: Fault
    ) -> None:
        self.world, self.tenant, self.report, self.fault = world, tenant, report, fault
        self.sent, self.stop_at = world.now, tenant.stop_at
        self.over = False
        self.round_trip = 0

    def is_current(self) -> bool:
        return not self.over and self.tenant.alive

    def post(self) -> None:
        self.call(self.fault.post, self.execute_post, self.fault.seen)

    def call(
        self, delay: float, execute: Callable[[], Callable[[], None]], back: float
    ) -> None:
        """One round trip. It fails after a while, but the store may execute it later."""
        world = self.world
        self.round_trip += 1
        number = self.round_trip
        world.after(TIMEOUT, lambda: self.expire(number))
        self.send(delay, lambda: self.arrive(execute, back, number))

    def send(self, delay: float, do: Callable[[], None]) -> None:
        if self.world.now >= self.tenant.cut_until and delay < inf:
            self.world.after(self.tenant.way + delay, do)

    def arrive(
        self, execute: Callable[[], Callable[[], None]], back: float, number: int
    ) -> None:
        world, store = self.world, self.world.store
        if world.now < store.gone_until:
            return
        if world.now < store.frozen_until:
            again = partial(self.arrive, execute, back, number)
            world.at(store.frozen_until, again)
            return
        answer = execute()
        self.send(back, lambda: self.receive(answer, number))

    def receive(self, answer: Callable[[], None], number: int) -> None:
        if self.world.now < self.tenant.paused_until:
            again = partial(self.receive, answer, number)
            self.world.at(self.tenant.paused_until, again)
        elif self.is_current() and number == self.round_trip:
            answer()

    def expire(self, number: int) -> None:
        if self.is_current() and number == self.round_trip:
            self.over = True
            self.tenant.failed()

    def execute_post(self) -> Callable[[], None]:
        store, report = self.world.store, self.report
        old = store.inbox.get(report.tenant)
        if old is None or old.report.sequence < report.sequence:
            store.inbox[report.tenant] = Received(report, self.world.now + store.skew)
        return self.snapshot()

    def snapshot(self) -> Callable[[], None]:
        store = self.world.store
        version, data, inbox = store.version, store.data, dict(store.inbox)
        clock = self.world.now + store.skew
        return lambda: self.seen(version, data, inbox, clock)

    def seen(
        self,
        version: tuple[int, int],
        data: bytes | None,
        inbox: dict[str, Received],
        clock: float,
    ) -> None:
        world, report = self.world, self.report
        if report.lease_left is not None and world.now >= self.stop_at:
            # What it says it keeps is not true any more.
            self.over = True
            self.tenant.failed()
            return
        state = None if data is None else states.decode(data)
        served = reply_to(state, report) if state else None
        if served:
            self.finish(served, version[0])
            return
        mine = inbox.get(report.tenant, Received(report, clock))
        others = [at for name, at in inbox.items() if name != report.tenant]
        after, replies = step(state, [*others, mine], clock)
        reply = replies.get(report.tenant) if mine.report is report else None
        encoded = states.encode(after)

        def execute_commit() -> Callable[[], None]:
            store = world.store
            if store.version != version:
                return self.snapshot()
            store.version, store.data = (version[0], version[1] + 1), encoded
            for name, received in inbox.items():
                if store.inbox.get(name) is received:
                    del store.inbox[name]
            world.committed(after, clock)
            return lambda: self.finish(reply, version[0])

        self.call(self.fault.commit, execute_commit, self.fault.done)

    def finish(self, reply: Reply | None, epoch: int) -> None:
        self.over = True
        if reply is None:
            self.tenant.failed()
        else:
            self.tenant.answered(self.report, reply, self.sent, epoch)


class World:
    """All of it.

    Args:
        rate: requests per second.
    """

    def __init__(self, rate: float) -> None:
        self.now = 0.0
        self.rate, self.slots = float(rate), max(1, int(rate))
        # The server counts the requests of so many seconds.
        self.window = max(1.0, self.slots / rate)
        self.period = self.window + CLOCK_GRAIN
        self.store = Store()
        self.tenants: dict[str, Tenant] = {}
        self.uses: list[Use] = []
        # When the last request of each tenant that had a lease arrived.
        self.leased_at: dict[str, float] = {}
        # Until then, the promise does not hold: see `committed`.
        self.excused_until = -inf
        # Whether a tenant with a lease from before the flush has reported.
        self.heard = False
        self._ids, self._order = count(), count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []

    def jitter(self) -> float:
        """A tenth, more or less."""
        return 0.9 + next(self._order) * 7 % 21 / 100

    def at(self, when: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._order), do))

    def after(self, seconds: float, do: Callable[[], None]) -> None:
        self.at(self.now + seconds, do)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self._events and self._events[0][0] <= end:
            self.now, _, do = heapq.heappop(self._events)
            do()
            for tenant in self.tenants.values():
                tenant.use()
        self.now = end
        self.check()

    def join(self, want: int) -> Tenant:
        name = f"tenant-{next(self._ids)}"
        self.tenants[name] = tenant = Tenant(self, name, want)
        tenant.wake()
        return tenant

    def kill(self, tenant: Tenant) -> None:
        del self.tenants[tenant.name]

    def in_outage(self) -> bool:
        store = self.store
        return self.now < max(store.frozen_until, store.gone_until)

    def arrive(self, when: float, *, excused: bool) -> None:
        insort(self.uses, Use(when, excused or self.now < self.excused_until))

    def committed(self, state: states.State, clock: float) -> None:
        """The ledger never has more tokens than there are.

        After a flush, it listens for a moment. If no tenant with a lease from before
        reports in that time, the tokens of those that come later are not known.
        """
        limit = state.limits.get(NAME)
        if limit is None:
            return
        owned = sum(share.owned for share in state.shares(NAME).values())
        assert owned + len(limit.pool) <= self.slots
        before = {
            name: tenant
            for name, tenant in self.tenants.items()
            if tenant.lease_epoch != self.store.epoch and self.now < tenant.stop_at
        }
        self.heard |= bool(set(before) & set(state.tenants))
        if clock + state.offset >= state.born + LISTEN and not self.heard:
            for tenant in before.values():
                until = tenant.stop_at + self.period + DOUBT
                self.excused_until = max(self.excused_until, until)

    def flush(self) -> None:
        """The store loses all."""
        self.heard = False
        self.store.flush()

    def check(self) -> None:
        """The server has never counted more than N."""
        self.uses = [
            use
            for use in self.uses
            if use.arrives > self.now - 3 * self.window - DOUBT - 1
        ]
        times = [use.arrives for use in self.uses if not use.excused]
        for first, start in enumerate(times):
            last = first + self.slots
            assert last >= len(times) or times[last] >= start + self.window, (
                f"{self.slots + 1} requests in a second from {start} on"
            )
