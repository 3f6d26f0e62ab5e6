"""One process that takes part in the shared budget: its beats, and what it learns.

A tenant reads no clock and does no I/O. Somebody drives it: when `due()` has come, it
calls `begin`, brings the report to the store, and calls `answered` or `failed`. Calls
take tokens meanwhile, in any thread; they never wait for the driver.
"""

import logging
import os
from collections.abc import Callable
from math import inf
from random import uniform
from secrets import token_hex

from ..endpoints import Limit, LimitName
from .lease import Lease
from .leased_slots import LeasedSlots
from .messages import Reply, Report

log = logging.getLogger("edgegap_async")

# Seconds: between two beats at least, until a beat that failed is repeated, and without
# use until the tenant leaves.
SOONEST, RETRY, SLEEPY = 0.05, 0.25, 10.0
# The next beat is due earlier or later by up to this part: beats in step would meet in
# the store.
JITTER = 0.1


class Tenant:
    """This process, in one shared budget.

    Args:
        lease: the seconds for which it may use what it owns after a beat.
        fallback: the part of each limit to use without the store. None: see `Lease`.
        wake: the driver should look at `due` again. It may be called in any thread.

    Attributes:
        id: of this tenant, and of no other one ever.
        slots: of each limit that it uses.
        asleep: whether it has no beats until a call wants a token.
        sleep_after: seconds without use until it leaves.
        closed: whether no session is open. Then the tenant leaves though requests may be
            on their way; the ledger waits for them.
    """

    def __init__(
        self, *, lease: float, fallback: float | None, wake: Callable[[], None]
    ) -> None:
        self.id: str = f"{os.getpid()}-{token_hex(8)}"
        self.slots: dict[LimitName, LeasedSlots] = {}
        self.lease: Lease = Lease(lease, fallback)
        self.asleep: bool = True
        self.sleep_after: float = SLEEPY
        self.closed: bool = False
        self._wake = wake
        self._sequence = 0
        self._sent_at = -inf
        self._due = inf
        # Whether a call wants a beat. Loops set it, and only the driver clears it.
        self._wanted = False
        self._beating = False
        self._warned = False

    def add(self, limit: Limit, *, early_return: bool) -> LeasedSlots:
        """Return the slots of a limit."""
        slots = LeasedSlots(
            limit, self.lease, self.want_beat, early_return=early_return
        )
        self.slots[limit.name] = slots
        return slots

    def want_beat(self) -> None:
        """Beat as soon as possible. It may be called in any thread."""
        if not self._wanted:
            self._wanted = True
            self._wake()

    def due(self) -> float:
        """Return when the next beat is due. Infinity: when a call wants one."""
        if self._beating:
            return inf
        return self._sent_at + SOONEST if self._wanted else self._due

    def begin(self, now: float) -> Report:
        """Begin a beat. Return the report."""
        self._wanted, self._beating = False, True
        has_lease = now < self.lease.stop_at
        leaving = has_lease and self._is_idle(now)
        lease_left = self.lease.stop_at - now if has_lease else None
        self.asleep = False
        self._sequence += 1
        self._sent_at = now
        report = Report(
            self.id,
            self._sequence,
            self.lease.seconds,
            lease_left,
            {
                name: slots.report(now, has_lease=has_lease, leaving=leaving)
                for name, slots in self.slots.items()
            },
            bye=leaving,
        )
        if leaving:
            self._leave()
        else:
            self.lease.asked(now)
            if not has_lease:
                # Those that wait look when the tenant is alone.
                self._wake_calls()
        return report

    def _is_idle(self, now: float) -> bool:
        return all(
            slots.is_idle(now, self.sleep_after)
            and (self.closed or not slots.is_waiting_for_answers)
            for slots in self.slots.values()
        )

    @property
    def has_left(self) -> bool:
        """Whether it sleeps, and its last beat has ended."""
        return self.asleep and not self._beating

    def _leave(self) -> None:
        self.asleep, self._due = True, inf
        self.lease.end()
        for slots in self.slots.values():
            slots.forget()

    def _wake_calls(self) -> None:
        for slots in self.slots.values():
            slots.wake()

    def answered(self, report: Report, reply: Reply, now: float) -> None:
        """A beat is answered."""
        self._beating = False
        if report.bye:
            return
        # First the tokens, then the lease: other threads use them.
        for name, slots in self.slots.items():
            if limit := reply.limits.get(name):
                slots.learn(limit, now)
        self.lease.answered(
            now, self._sent_at, doubt=self._doubt(), tenants=reply.tenants
        )
        self._due = self._sent_at + reply.next_beat * uniform(1 - JITTER, 1 + JITTER)
        if any(slots.owes_much() for slots in self.slots.values()):
            self._due = min(self._due, self._sent_at + SOONEST)
        if self._warned:
            self._warned = False
            # As loud as the outage, or an alarm would never end.
            log.warning("shared budget: the store answers again")
        self._wake_calls()

    def _doubt(self) -> float:
        return max((slots.doubt for slots in self.slots.values()), default=0.0)

    def failed(self, report: Report, now: float, why: str) -> None:
        """A beat has no answer. What is leased is used as long as the lease.

        Args:
            why: the reason, without any secret.
        """
        self._beating = False
        if report.bye:
            return
        self._due = now + RETRY * uniform(1 - JITTER, 1 + JITTER)
        if self.lease.mode(now) == "alone" and not self._warned:
            self._warned = True
            log.warning(
                "shared budget: the store does not answer, each process goes on with its fallback: %s",
                why,
            )
        if self._is_idle(now) and now >= self.lease.stop_at:
            self._leave()
