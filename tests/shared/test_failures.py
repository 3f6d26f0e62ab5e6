"""What happens when store, processes or clocks fail: the failure table, row by row.

Real tenants over a store in memory, in virtual time (`support/ledger_world.py`). The
counts are of requests that arrive in any second, and none is excused.
"""

from functools import partial

import pytest
from support.ledger_world import LEASE, TIMEOUT, Tenant, World

from edgegap_async._shared.lease import FIRST, UNKNOWN_TENANTS
from edgegap_async._shared.tenant import SLEEPY

N = 40
ALL = 100
# Seconds after the beginning of an outage when the last lease has ended.
LEASES_END = LEASE + TIMEOUT


def world_of(*wants: int, fallback: float | None = None) -> tuple[World, list[Tenant]]:
    """Four tenants or so, awake, that have all had a lease for a while."""
    world = World(N, fallback)
    tenants = [world.join(1) for _ in wants]
    world.run(2.5)
    for tenant, want in zip(tenants, wants, strict=True):
        tenant.want = want
    world.run(3.0)
    return world, tenants


def want(tenants: list[Tenant], *wants: int) -> None:
    for tenant, count in zip(tenants, wants, strict=True):
        tenant.want = count


def at_offsets(*offsets: float) -> pytest.MarkDecorator:
    """Beats are up to 0.7 s apart: what a failure meets differs from offset to offset."""
    further = [pytest.param(each, marks=pytest.mark.slow) for each in offsets[1:]]
    return pytest.mark.parametrize("offset", [offsets[0], *further])


# The store is gone


@pytest.mark.slow
@at_offsets(0.0, 0.13, 0.31)
def test_without_the_store_leases_are_used_and_then_the_fallbacks(
    offset: float,
) -> None:
    world, _ = world_of(ALL, ALL, ALL, ALL)
    world.run(offset)
    start = world.now
    world.lose_store(8.0)
    world.run(20.0)
    assert world.busiest(start) <= N
    assert world.served(start, start + 3.0) >= 0.9
    assert 0.45 <= world.served(start + LEASES_END, start + 8.0) <= 0.55
    assert world.served(start + 8.0 + 4.0, start + 20.0) >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize("offset", [0.0, 0.2, 0.4, 0.6])
@pytest.mark.parametrize("after", [0.2, 2.0, 3.6, 4.0])
def test_leases_that_end_a_beat_apart_make_no_request_too_many(
    after: float, offset: float
) -> None:
    world, tenants = world_of(ALL, 0, 0, 0)
    world.run(offset)
    start = world.now
    world.lose_store(8.0)
    world.run(after)
    # Those that own next to nothing have calls now, while one still uses its lease.
    want(tenants, ALL, ALL, ALL, ALL)
    world.run(20.0)
    assert world.busiest(start) <= N


@pytest.mark.slow
def test_processes_without_a_lease_use_their_fallback_before_other_leases_end() -> None:
    world, tenants = world_of(ALL, 0, 0, 0)
    world.run(SLEEPY + 1.0)
    assert [tenant.core.asleep for tenant in tenants] == [False, True, True, True]
    start = world.now
    world.lose_store(9.0)
    world.run(0.5)
    want(tenants, ALL, 5, 5, 5)
    world.run(18.0)
    # No call waits for more than a second. The bound is N and their fallbacks.
    first = min(use.arrives for use in world.uses if use.tenant == tenants[1].name)
    woken = [use for use in world.uses if use.tenant != tenants[0].name]
    assert min(use.arrives for use in woken if use.arrives > start) <= (
        start + 0.5 + FIRST + 0.01
    )
    assert first < start
    fallback = N // (2 * UNKNOWN_TENANTS)
    assert N < world.busiest(start) <= N + 3 * fallback
    assert world.busiest(start + LEASES_END) <= N


@pytest.mark.slow
def test_a_process_that_is_cut_off_adds_no_more_than_its_fallback() -> None:
    world, tenants = world_of(ALL, ALL, ALL, ALL)
    start = world.now
    tenants[0].cut_until = start + 12.0
    world.run(30.0)
    assert world.busiest(start) <= N + N // 8
    assert world.served(world.now - 5.0, world.now) >= 0.9


@at_offsets(0.6, 0.5, 0.8)
def test_requests_given_up_in_the_fallback_lead_to_none_too_many_after_it(
    offset: float,
) -> None:
    world, tenants = world_of(ALL, ALL)
    tenants[0].cut_until = world.now + 8.5
    world.run(8.5 - offset)
    tenants[0].gives_up = True
    world.run(4.0)
    back = tenants[0].cut_until + 1.0
    sent = [use for use in world.uses if use.tenant == tenants[0].name]
    assert any(use.arrives > back for use in sent)
    # The requests of the fallback count for a second.
    assert world.busiest(back) <= N


@pytest.mark.full
@pytest.mark.slow
def test_with_no_fallback_a_process_that_is_cut_off_waits() -> None:
    world, tenants = world_of(ALL, ALL, ALL, ALL, fallback=0.0)
    start = world.now
    tenants[0].cut_until = start + 12.0
    world.run(30.0)
    assert world.busiest(start) <= N
    mine = [use.arrives for use in world.uses if use.tenant == tenants[0].name]
    assert not [at for at in mine if start + LEASE < at < start + 12.0]
    assert [at for at in mine if at > start + 12.0]


@pytest.mark.full
@pytest.mark.slow
def test_more_processes_than_tokens_take_turns_in_their_fallback() -> None:
    world = World(10)
    for _ in range(16):
        world.join(ALL)
    world.run(8.0)
    start = world.now
    world.lose_store(40.0)
    world.run(40.0)
    since = start + LEASES_END + 4.0
    assert 0.45 <= world.served(since, start + 40.0) <= 0.55
    times = {use.tenant for use in world.uses if use.arrives >= since}
    assert len(times) == 16


@pytest.mark.slow
@pytest.mark.parametrize("offset", [0.0, 0.3, 0.6])
@pytest.mark.parametrize("seconds", [2.0, 5.0])
def test_a_store_that_is_frozen_makes_no_request_too_many(
    seconds: float, offset: float
) -> None:
    world, tenants = world_of(ALL, ALL, 0, 0)
    world.run(offset)
    start = world.now
    world.freeze(seconds)
    world.run(0.5)
    want(tenants, ALL, ALL, ALL, ALL)
    world.run(20.0)
    assert world.busiest(start) <= N
    assert world.served(start + seconds + 6.0, world.now) >= 0.9


# The store has lost everything


@at_offsets(0.0, 0.2, 0.4, 0.6)
def test_after_a_flush_nothing_changes_for_those_that_are_busy(offset: float) -> None:
    world, tenants = world_of(ALL, ALL, ALL, 0)
    world.run(offset)
    start = world.now
    world.flush()
    world.run(0.3)
    want(tenants, ALL, ALL, 0, ALL)
    world.run(12.0)
    assert world.busiest(start) <= N
    assert world.served(start, start + 5.0) >= 0.6
    assert world.served(start + 6.0, world.now) >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize("offset", [0.0, 0.2, 0.4])
@pytest.mark.parametrize("listened", [0.05, 0.6, 1.4, 3.0])
def test_a_flush_that_an_outage_follows_makes_no_request_too_many(
    listened: float, offset: float
) -> None:
    world, tenants = world_of(ALL, ALL, 0, 0)
    world.run(offset)
    start = world.now
    world.flush()
    world.run(listened)
    world.lose_store(8.0)
    world.run(0.5)
    want(tenants, ALL, ALL, ALL, ALL)
    world.run(20.0)
    assert world.busiest(start) <= N


@pytest.mark.slow
def test_what_was_used_in_an_outage_while_the_ledger_listened_is_waited_for() -> None:
    world, tenants = world_of(ALL, ALL, ALL, ALL)
    for tenant in tenants:
        tenant.cut_until = world.now + 3.0
    # Only a newcomer tells the new ledger anything, until just before it has listened.
    world.flush()
    newcomer = world.join(1)
    world.run(1.45)
    world.lose_store(8.0)
    world.run(8.0)
    start = world.now
    # The others, in their fallback, come back a moment later.
    newcomer.beat_now()
    world.run(0.02)
    newcomer.beat_now()
    world.run(0.02)
    world.join(ALL)
    world.run(8.0)
    assert world.busiest(start - 1.0) <= N
    assert world.served(start + 4.0, world.now) >= 0.9


@pytest.mark.parametrize("silence", ["cut", "stopped"])
def test_after_a_flush_the_lease_of_the_only_one_that_is_silent_is_used_beside(
    silence: str,
) -> None:
    world, (holder,) = world_of(ALL)
    start = world.now
    stop_at = holder.core.lease.stop_at
    if silence == "cut":
        holder.cut_until = start + 6.0
    else:
        holder.paused_until = start + 2.0
    world.flush()
    world.join(ALL)
    world.run(15.0)
    # Nobody can tell the new ledger of it: two faults at once. The bound is 2 N, until
    # the lease is over or its owner has reported.
    assert N < world.busiest(start) <= 2 * N
    assert world.busiest(stop_at + 1.0) <= N + N // 2


def test_an_old_dump_lets_too_much_pass_for_a_moment_only() -> None:
    world, tenants = world_of(ALL, 0, 0, 0)
    dump = world.store.state, dict(world.store.inbox)
    world.run(1.0)
    want(tenants, 0, ALL, 0, 0)
    world.run(2.0)
    moved = tenants[1].owned
    assert moved > 30
    start = world.now
    world.store.flush()
    world.store.state, world.store.inbox = dump
    world.run(10.0)
    assert world.busiest(start - 1.0) <= N + moved
    assert world.busiest(start + 0.7 + 1.0) <= N
    assert world.served(start + 4.0, world.now) >= 0.9


# Processes


@at_offsets(0.0, 0.2, 0.4)
def test_a_killed_process_keeps_its_share_for_one_lease(offset: float) -> None:
    world, tenants = world_of(ALL, ALL, ALL, ALL)
    world.run(offset)
    start = world.now
    world.kill(tenants[0])
    world.run(12.0)
    assert world.busiest(start) <= N
    assert world.served(start + 1.0, start + 4.0) == pytest.approx(0.75, abs=0.05)
    assert world.served(start + LEASE + 1.0, world.now) >= 0.9


@pytest.mark.parametrize("offset", [0.0, 0.1, 0.2])
@pytest.mark.parametrize("seconds", [0.5, 2.0, 4.0, 10.0])
def test_a_stopped_process_makes_no_request_too_many_when_it_goes_on(
    seconds: float, offset: float
) -> None:
    world, tenants = world_of(ALL, ALL, ALL, ALL)
    world.run(offset)
    start = world.now
    tenants[1].paused_until = start + seconds
    world.run(seconds + 8.0)
    assert world.busiest(start) <= N
    assert world.served(world.now - 2.0, world.now) >= 0.9


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize("message", ["posted", "seen", "committed"])
@pytest.mark.parametrize("before", [0.01, 0.2])
def test_a_process_that_was_stopped_within_a_beat_folds_nothing_old(
    message: str, before: float
) -> None:
    world, tenants = world_of(ALL, 0, 0, 0)
    holder = tenants[0]
    holder.way = 0.02
    ways = {"posted": 0.5, "seen": 1.5, "committed": 3.5}[message]
    # It says that it keeps all tokens, and then it stops.
    holder.beat_now()
    while not holder.core._beating:
        world.run(0.001)
    world.run(ways * holder.way)
    start = world.now
    holder.paused_until = start + LEASE + 3.0
    world.run(3.0)
    want(tenants, ALL, ALL, ALL, ALL)
    world.run(holder.paused_until - world.now - before)
    # The new ledger would believe it.
    world.flush()
    world.run(15.0)
    assert world.busiest(start) <= N
    assert world.served(world.now - 3.0, world.now) >= 0.9


# Clocks


@pytest.mark.parametrize("offset", [0.0, 0.3])
@pytest.mark.parametrize("change", [1.3, 3.0, 59.0, 3600.0, -0.3, -3.0, -3600.0])
def test_a_clock_that_is_set_makes_no_request_too_many(
    change: float, offset: float
) -> None:
    world, tenants = world_of(ALL, ALL, 0, 0)
    world.run(offset)
    start = world.now
    for move in (partial(want, tenants, 0, ALL, ALL, 0), lambda: None):
        world.skew += change
        move()
        world.run(0.7)
    world.run(8.0)
    assert world.busiest(start) <= N
    assert world.served(world.now - 3.0, world.now) >= 0.9


def test_a_clock_that_is_set_forward_by_less_than_a_second_ends_no_lease() -> None:
    world, tenants = world_of(ALL, 0, 0, 0)
    start = world.now
    want(tenants, 0, ALL, 0, 0)
    world.run(0.1)
    world.skew += 0.9
    world.run(8.0)
    # It can't be told from time that passes: tokens that move just then are cool too
    # soon, once.
    assert world.busiest(start) <= 2 * N
    assert world.busiest(start + 2.0) <= N
