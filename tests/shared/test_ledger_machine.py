"""The shared budget holds, whatever happens between tenants, store and server.

Hypothesis makes things happen (`support/ledger_world.py`). After each of them, the
server has never counted more than N requests in a second. At the end, all is well again
for a while: then no token is lost, and each tenant has its fair share.
"""

from collections.abc import Callable
from math import ceil, floor, inf
from typing import Any, TypeAlias

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from support.ledger_world import LEASE, NAME, TIMEOUT, Fault, Tenant, World
from support.max_min import fair_share

from edgegap_async._shared.lease import SETTLE
from edgegap_async._shared.state import State

WAITS = st.sampled_from([0.01, 0.05, 0.1, 0.25, 0.25, 0.5, 1.0, 1.3, 4.0])
WAYS = st.sampled_from([0.0, 0.04, 0.15, 0.4])
DELAYS = st.sampled_from([inf, 0.3, 0.9, 2.0, 4.0, 6.0, 15.0])
MESSAGES = st.sampled_from(Fault._fields)
# A step of less than a second forward can't be told from time that passes.
STEPS = st.sampled_from([1.0, 1.3, 3.0, 30.0, 59.0, 3600.0, -0.3, -1.5, -3.0, -3600.0])
OUTAGES = st.sampled_from([0.5, 2.0, 4.0, 8.0])
ANY = st.integers(0, 1000)
Do: TypeAlias = Callable[..., None]
# Seconds after which all is as it should be: leases, a whole lease of listening, the
# fallback and its end, and some beats.
AT_REST = 2 * LEASE + SETTLE + 5 * TIMEOUT
# How often to look, within two periods.
MOMENTS = 24


def event(**arguments: st.SearchStrategy[Any]) -> Callable[[Do], Any]:
    """Make a rule of a method: it happens, and time passes."""

    def decorate(do: Do) -> Any:
        def happen(self: "SharedBudget", seconds: float, **values: Any) -> None:
            do(self, **values)
            self.world.run(seconds)

        # Hypothesis prints it.
        happen.__name__ = do.__name__
        return rule(seconds=WAITS, **arguments)(happen)

    return decorate


class SharedBudget(RuleBasedStateMachine):
    """Tenants that share one limit."""

    world: World

    @initialize(
        rate=st.sampled_from([0.5, 1, 3, 3, 10, 40]),
        wants=st.lists(st.sampled_from([0, 40, 40]), min_size=2, max_size=4),
    )
    def begin(self, rate: float, wants: list[int]) -> None:
        self.world = World(rate)
        for want in wants:
            self.world.join(want)
        self.world.run(2.0)

    def tenant(self, number: int) -> Tenant:
        tenants = list(self.world.tenants.values())
        return tenants[number % len(tenants)]

    @event()
    def wait(self) -> None:
        pass

    @event(number=ANY, want=st.sampled_from([0, 1, 2, 5, 20, 40, 100]))
    def change_want(self, number: int, want: int) -> None:
        self.tenant(number).want = want

    @event(number=ANY, background=st.sampled_from([0, 3, 40]))
    def change_priority(self, number: int, background: int) -> None:
        self.tenant(number).background = background

    @event(number=ANY, up=WAYS, down=st.sampled_from([0.0, 0.1]))
    def change_network(self, number: int, up: float, down: float) -> None:
        tenant = self.tenant(number)
        tenant.up, tenant.down = min(up, 0.15), down

    @event(number=ANY, gives_up=st.booleans())
    def give_up_requests(self, number: int, gives_up: bool) -> None:
        self.tenant(number).gives_up = gives_up

    @event(number=ANY, way=WAYS)
    def change_way_to_store(self, number: int, way: float) -> None:
        self.tenant(number).way = way

    @event(number=ANY, message=MESSAGES, delay=DELAYS)
    def lose_or_delay(self, number: int, message: str, delay: float) -> None:
        self.tenant(number).faults.append(Fault(**{message: delay}))

    @event(number=ANY)
    def beat_now(self, number: int) -> None:
        self.tenant(number).beat_now()

    @event(number=ANY, duration=OUTAGES)
    def cut_off(self, number: int, duration: float) -> None:
        self.tenant(number).cut_until = self.world.now + duration

    @event(number=ANY, duration=OUTAGES)
    def pause(self, number: int, duration: float) -> None:
        self.tenant(number).paused_until = self.world.now + duration

    @event(duration=OUTAGES)
    def freeze(self, duration: float) -> None:
        self.world.freeze(duration)

    @event(duration=OUTAGES)
    def lose_store(self, duration: float) -> None:
        self.world.lose_store(duration)

    @event()
    def flush(self) -> None:
        self.world.flush()

    @event()
    def evict_inbox(self) -> None:
        self.world.store.evict_inbox()

    @precondition(lambda self: self.world.state and self.world.state.tenants)
    @event(change=STEPS)
    def step_clock(self, change: float) -> None:
        self.world.skew += change

    @precondition(lambda self: len(self.world.tenants) < 6)
    @event(want=st.sampled_from([0, 1, 40]))
    def join(self, want: int) -> None:
        self.world.join(want)

    @precondition(lambda self: len(self.world.tenants) > 1)
    @event(number=ANY)
    def kill(self, number: int) -> None:
        self.world.kill(self.tenant(number))

    @event(number=ANY)
    def sleep(self, number: int) -> None:
        """Long unused, it leaves."""
        self.tenant(number).want = 0
        self.tenant(number).slots.used_at = -inf

    def teardown(self) -> None:
        world = self.world
        for tenant in world.tenants.values():
            tenant.faults, tenant.cut_until, tenant.paused_until = [], -inf, -inf
            tenant.gives_up, tenant.way, tenant.background = False, 0.0, 0
            # It may have left while requests that were given up are in doubt.
            tenant.want = max(tenant.want, tenant.in_use() + 1)
        world.end_outages()
        world.run(AT_REST + 6 * world.period)
        state = world.state
        assert state is not None
        shares = state.shares(NAME)
        assert sorted(shares) == sorted(world.tenants), "nobody is forgotten"
        owned = owned_by(state)
        pool = state.limits[NAME].pool
        assert sum(owned.values()) + len(pool) == world.slots, "no token is lost"
        assert all(cool <= state.at + 2 * world.period for cool in pool)
        assert owned == {name: at.owned for name, at in world.tenants.items()}
        wants = {name: at.want for name, at in world.tenants.items()}
        # Tenants that send all they want at once have stopped sending until it is cool
        # again: they give their tokens back, and get them with their next calls. So each
        # must have its fair share at some moment, and no more than that at some moment.
        moments = [owned]
        for _ in range(MOMENTS):
            world.run(2 * world.period / MOMENTS)
            assert world.state is not None
            moments.append(owned_by(world.state))
        for name, fair in fair_share(wants, world.slots).items():
            seen = [moment[name] for moment in moments]
            assert max(seen) >= floor(fair + 1e-6) - 1, (name, wants, moments)
            # Whoever wants less may have a reserve.
            if wants[name] > fair:
                assert min(seen) <= ceil(fair - 1e-6) + 1, (name, wants, moments)


def owned_by(state: State) -> dict[str, int]:
    return {name: share.owned for name, share in state.shares(NAME).items()}


def run(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        SharedBudget,
        settings=settings(max_examples=examples, stateful_step_count=steps),
    )


@pytest.mark.slow
def test_the_limit_holds_and_no_token_is_lost() -> None:
    run(2, 12)


@pytest.mark.slow
@pytest.mark.full
def test_the_limit_holds_and_no_token_is_lost_in_longer_runs() -> None:
    run(60, 50)


@pytest.mark.full
@pytest.mark.slow
def test_the_limit_holds_and_no_token_is_lost_in_very_many_runs() -> None:
    run(1000, 60)
