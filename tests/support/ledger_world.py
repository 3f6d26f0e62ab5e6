"""Tenants, a store and a server in virtual time, for the tests of the shared ledger.

The tenants are real ones (`_shared/tenant.py`), with the slots of one limit; they use
all tokens as soon as they may. The store is an inbox with compare-and-set in memory. All
that can fail between them can be made to fail. The server counts the requests that
arrive.
"""

import heapq
from bisect import insort
from collections.abc import Callable
from functools import partial
from itertools import count
from math import ceil, inf
from typing import NamedTuple
from weakref import ref

from edgegap_async._limits.adaptive import CLOCK_GRAIN
from edgegap_async._limits.queue import PriorityQueue
from edgegap_async._limits.slots import Held
from edgegap_async._shared import state as states
from edgegap_async._shared import tenant as shared
from edgegap_async._shared.beat import Commit, Seen, respond
from edgegap_async._shared.ledger import LISTEN
from edgegap_async._shared.messages import Reply, Report
from edgegap_async.endpoints import Limit

from .memory_budget import MemoryBudget

NAME = "deploy"
# Seconds.
LEASE, TIMEOUT = 5.0, 1.0
# Seconds: how long a request that was given up may be on its way.
DOUBT = 0.25
# Seconds after an outage in which tenants are still in their fallback.
GRACE = 0.4


class Use(NamedTuple):
    """A request.

    Attributes:
        arrives: when the server counts it.
        tenant: who has sent it.
        excused: whether the promise does not count it.
    """

    arrives: float
    tenant: str
    excused: bool


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


class Store(MemoryBudget):
    """The store. It may be frozen: it answers later. Or gone: it never answers."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen_until = self.gone_until = -inf


class Tenant:
    """One process."""

    def __init__(
        self, world: "World", name: str, want: int, fallback: float | None
    ) -> None:
        self.world, self.name, self.want = world, name, want
        self.background = 0
        # Seconds of a request until it arrives, and until its answer is here.
        self.up = self.down = 0.0
        # Seconds of a message to the store, one way.
        self.way = 0.0
        self.faults: list[Fault] = []
        self.cut_until = self.paused_until = -inf
        self.gives_up = False
        self.core = shared.Tenant(lease=LEASE, fallback=fallback, wake=self.schedule)
        self.core.id = name
        limit = Limit("deploy", world.rate)
        self.slots = self.core.add(limit, early_return=False)
        # In which life of the store it was answered last.
        self.lease_flushes = -1
        # As a taker of slots.
        self.held, self.place, self.queue = Held(), ref(self), PriorityQueue()
        self.slots.join(self)
        # It has just had a call.
        self.slots.used_at = world.now
        self._looks_at = self._beats_at = inf

    @property
    def owned(self) -> int:
        return self.slots.leased.owned

    @property
    def mode(self) -> str:
        return self.core.lease.mode(self.world.now)

    @property
    def alive(self) -> bool:
        return self.world.tenants.get(self.name) is self

    @property
    def paused(self) -> bool:
        return self.world.now < self.paused_until

    def when_awake(self, do: Callable[[], None]) -> None:
        """Do something, unless the process is stopped: then afterwards."""
        if self.alive:
            if self.paused:
                self.world.at(self.paused_until, partial(self.when_awake, do))
            else:
                do()

    # Using tokens

    def wake(self) -> None:
        pass

    def waiting_since(self) -> float | None:
        return None

    def in_use(self) -> int:
        return self.slots._in_use - len(self.slots._gained)

    def use(self) -> None:
        now = self.world.now
        if not self.alive or self.paused:
            return
        self.tell_queue()
        while self.in_use() < self.want and now >= self.slots.not_before:
            if not self.slots.take(now, self) and not (
                self.slots.in_doubt and self.slots.probe(now, self, newcomer=True)
            ):
                self.look_at(self.slots.wait(now, self))
                break
            self.send()
            self.tell_queue()
        else:
            self.slots.leave(self)
        self.schedule()

    def tell_queue(self) -> None:
        missing = max(0, self.want - self.in_use())
        behind = min(missing, self.background)
        self.queue.waiting["foreground"] = missing - behind
        self.queue.waiting["background"] = behind

    def look_at(self, when: float) -> None:
        now = self.world.now
        if when < inf and not now < self._looks_at <= when:
            self._looks_at = max(when, now + 1e-6)
            self.world.at(self._looks_at, self.use)

    def send(self) -> None:
        now = self.world.now
        self.slots.start(self)
        self.world.arrive(now + self.up, self)
        if self.gives_up:
            self.slots.given_up(now, now, self)
        else:
            self.world.after(self.up + self.down, partial(self.answer, now))

    def answer(self, sent: float) -> None:
        def receive() -> None:
            self.slots.answered(self.world.now, sent, self)

        self.when_awake(receive)

    # Beats

    def schedule(self) -> None:
        now, due = self.world.now, self.core.due()
        if due < inf and not now <= self._beats_at <= due:
            self._beats_at = max(due, now)
            self.world.at(self._beats_at, partial(self.when_awake, self.beat))

    def beat_now(self) -> None:
        self.core.want_beat()
        self.schedule()

    def beat(self) -> None:
        self._beats_at = inf
        if self.core.due() <= self.world.now:
            fault = self.faults.pop(0) if self.faults else Fault()
            Beat(self.world, self, fault).post()
        self.schedule()

    def answered(self, report: Report, reply: Reply | None) -> None:
        if reply is None:
            self.failed(report)
        else:
            self.core.answered(report, reply, self.world.now)
            self.lease_flushes = self.world.store.flushes
        self.use()

    def failed(self, report: Report) -> None:
        self.core.failed(report, self.world.now, "it is lost")
        self.use()


class Beat:
    """One report on its way: two messages to the store and two answers, or more."""

    def __init__(self, world: "World", tenant: Tenant, fault: Fault) -> None:
        self.world, self.tenant, self.fault = world, tenant, fault
        self.stop_at = tenant.core.lease.stop_at
        self.report = tenant.core.begin(world.now)
        self.over = False
        self.round_trip = 0

    def post(self) -> None:
        def execute() -> Seen:
            return self.world.store.post(self.report)

        self.call(self.fault.post, execute, self.receive_seen, self.fault.seen)

    def call(
        self,
        delay: float,
        execute: Callable[[], Seen | None],
        receive: Callable[[Seen | None], None],
        back: float,
    ) -> None:
        """One round trip. It fails after a while, but the store may execute it later."""
        self.round_trip += 1
        number = self.round_trip

        def reply(seen: Seen | None) -> None:
            if not self.over and self.round_trip == number:
                receive(seen)

        def arrive() -> None:
            store = self.world.store
            if self.world.now < store.gone_until:
                return
            if self.world.now < store.frozen_until:
                self.world.at(store.frozen_until, arrive)
                return
            store.clock = self.world.now + self.world.skew
            seen = execute()
            self.send(back, partial(self.tenant.when_awake, partial(reply, seen)))

        self.world.after(TIMEOUT, partial(self.tenant.when_awake, lambda: expire()))
        self.send(delay, arrive)

        def expire() -> None:
            if not self.over and self.round_trip == number:
                self.fail()

    def send(self, delay: float, do: Callable[[], None]) -> None:
        if self.world.now >= self.tenant.cut_until and delay < inf:
            self.world.after(self.tenant.way + delay, do)

    def fail(self) -> None:
        self.over = True
        self.tenant.failed(self.report)

    def receive_seen(self, seen: Seen | None) -> None:
        assert seen is not None
        answer = respond(seen, self.report)
        if not isinstance(answer, Commit):
            self.over = True
            self.tenant.answered(self.report, answer)
        elif self.report.lease_left is not None and self.world.now >= self.stop_at:
            self.fail()
        else:
            self.commit(answer)

    def commit(self, commit: Commit) -> None:
        def execute() -> Seen | None:
            seen = self.world.store.commit(commit)
            if seen is None:
                self.world.committed()
            return seen

        def receive(seen: Seen | None) -> None:
            if seen is None:
                self.over = True
                self.tenant.answered(self.report, commit.reply)
            else:
                self.receive_seen(seen)

        self.call(self.fault.commit, execute, receive, self.fault.done)


class World:
    """All of it.

    Args:
        rate: requests per second.
        fallback: the part of it that a tenant uses without the store.
    """

    def __init__(self, rate: float, fallback: float | None = None) -> None:
        self.now = 0.0
        self.rate, self.slots = float(rate), max(1, int(rate))
        self.fallback = fallback
        # The server counts the requests of so many seconds.
        self.window = max(1.0, self.slots / rate)
        self.period = self.window + CLOCK_GRAIN
        self.skew = 1_790_000_000.0
        self.store = Store()
        self.outage_began = self.outage_until = -inf
        self.tenants: dict[str, Tenant] = {}
        self.uses: list[Use] = []
        # Until then, the promise does not hold: see `committed`.
        self.excused_until = -inf
        # Whether a tenant with a lease from before the flush has reported.
        self.heard = False
        self._ids, self._order = count(), count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []

    def at(self, when: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._order), do))

    def after(self, seconds: float, do: Callable[[], None]) -> None:
        self.at(self.now + seconds, do)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        for tenant in self.tenants.values():
            tenant.use()
        while self._events and self._events[0][0] <= end:
            self.now, _, do = heapq.heappop(self._events)
            do()
            for tenant in self.tenants.values():
                tenant.use()
        self.now = end
        self.check()

    def join(self, want: int) -> Tenant:
        name = f"tenant-{next(self._ids)}"
        self.tenants[name] = tenant = Tenant(self, name, want, self.fallback)
        tenant.use()
        return tenant

    def kill(self, tenant: Tenant) -> None:
        del self.tenants[tenant.name]

    # The store

    def in_outage(self) -> bool:
        return self.now < self.outage_until

    def _outage(self, seconds: float) -> float:
        if not self.in_outage():
            self.outage_began = self.now
        self.outage_until = max(self.outage_until, self.now + seconds)
        return self.now + seconds

    def freeze(self, seconds: float) -> None:
        self.store.frozen_until = max(self.store.frozen_until, self._outage(seconds))

    def lose_store(self, seconds: float) -> None:
        self.store.gone_until = max(self.store.gone_until, self._outage(seconds))

    def end_outages(self) -> None:
        self.store.frozen_until = self.store.gone_until = -inf
        self.outage_until = min(self.outage_until, self.now)

    def flush(self) -> None:
        """The store loses all."""
        self.heard = False
        self.store.flush()

    @property
    def state(self) -> states.State | None:
        data = self.store.state
        return None if data is None else states.decode(data)

    def committed(self) -> None:
        """The ledger never has more tokens than there are.

        After a flush, it listens for a moment. If no tenant with a lease from before
        reports in that time, the tokens of those that come later are not known.
        """
        state = self.state
        assert state is not None
        limit = state.limits.get(NAME)
        if limit is None:
            return
        owned = sum(share.owned for share in state.shares(NAME).values())
        assert owned + len(limit.pool) <= self.slots
        before = {
            name: tenant
            for name, tenant in self.tenants.items()
            if tenant.lease_flushes != self.store.flushes
            and self.now < tenant.core.lease.stop_at
        }
        self.heard |= bool(set(before) & set(state.tenants))
        if state.at >= state.born + LISTEN and not self.heard:
            for tenant in before.values():
                until = tenant.core.lease.stop_at + self.period + DOUBT
                self.excused_until = max(self.excused_until, until)

    # The server

    def arrive(self, when: float, tenant: Tenant) -> None:
        alone = tenant.mode == "alone" and self.is_excused(tenant)
        excused = alone or self.now < self.excused_until
        insort(self.uses, Use(when, tenant.name, excused))

    def is_excused(self, tenant: Tenant) -> bool:
        """Return whether a tenant in its fallback may send one request too many.

        The store is not gone for all: the tenant is cut off, or was before the outage.
        Or it had no lease when the outage began, so that it does not know for how long
        others have one. Or the fallbacks are too many in sum: tenants do not know of
        each other, or there are not enough tokens.
        """
        cut_off = self.now >= self.outage_until + GRACE
        early = tenant.core.lease._others_end < self.outage_began + LEASE
        fallbacks = sum(
            each.core.lease.fallback(self.rate).slots for each in self.tenants.values()
        )
        return cut_off or early or fallbacks > self.slots

    def check(self) -> None:
        """The server has never counted more than N."""
        since = self.now - 3 * self.window - DOUBT - 1
        times = [use.arrives for use in self.uses if not use.excused]
        for first, start in enumerate(times):
            if start < since:
                continue
            last = first + self.slots
            assert last >= len(times) or times[last] >= start + self.window, (
                f"{self.slots + 1} requests in a second from {start} on"
            )

    def busiest(self, since: float = 0.0) -> int:
        """Return the most requests in a second, excused or not."""
        times = [use.arrives for use in self.uses if use.arrives >= since]
        last, most = 0, 0
        for first, start in enumerate(times):
            while last < len(times) and times[last] < start + self.window:
                last += 1
            most = max(most, last - first)
        return most

    def served(self, since: float, until: float) -> float:
        """Return the part of the limit that was used, in whole periods.

        Tokens that move together are used together, once in each period. With a part of
        a period, such a group is counted once more or once less.
        """
        seconds = self.period * max(1, round((until - since) / self.period))
        count = sum(until - seconds <= use.arrives < until for use in self.uses)
        return count / seconds / self.rate


def whole(share: float) -> int:
    """Return how many whole tokens a share needs."""
    return ceil(share - 1e-6)
