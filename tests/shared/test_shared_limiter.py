"""Several processes use one limit fully and never exceed it: real limiters and ledger in
virtual time (`support/shared_simulation.py`). Requests arrive up to 50 ms after they were
sent.
"""

import asyncio
import random
from statistics import median

import pytest
from support.ledger_world import LEASE
from support.shared_simulation import Server, Simulation, now, run

from edgegap_async._limits.limiter import Limiter

from .test_leased_slots import Owner

N = 40
# Seconds after which a new ledger has listened, and all tokens have been used.
STARTED = 2.0


@pytest.fixture(autouse=True)
def seeded() -> None:
    random.seed(0)


@pytest.mark.slow
def test_four_saturated_processes_share_the_limit_evenly() -> None:
    async def main() -> None:
        async with Simulation(4) as simulation:
            for number in range(4):
                simulation.busy(number)
            await simulation.run(20.0)
            assert simulation.busiest() <= N
            assert simulation.share(STARTED, 20.0) >= 0.93
            assert simulation.least_served(STARTED, 20.0) >= 0.9
            assert simulation.store.operations <= 1.2 * len(simulation.times())

    run(main())


def test_the_one_that_is_busy_gets_nearly_all_and_another_takes_over() -> None:
    async def main() -> None:
        async with Simulation(4) as simulation:
            simulation.busy(0)
            for number in (1, 2, 3):
                simulation.busy(number, 1, think=2.0)
            await simulation.run(10.0)
            simulation.stop(0)
            simulation.busy(1)
            await simulation.run(10.0)
            assert simulation.busiest() <= N
            assert simulation.served(STARTED, 10.0)[0] / 8.0 / N >= 0.85
            assert simulation.share(10.0, 11.0) >= 0.7
            assert simulation.served(11.0, 20.0)[1] / 9.0 / N >= 0.85
            # A lone call finds a token.
            waits = [wait for each in simulation.processes[2:] for wait in each.waits]
            assert max(waits[1:5]) < 0.01

    run(main())


@pytest.mark.full
@pytest.mark.slow
def test_more_processes_than_tokens_take_turns() -> None:
    async def main() -> None:
        async with Simulation(16, rate=10) as simulation:
            for number in range(16):
                simulation.busy(number, 10)
            await simulation.run(30.0)
            assert simulation.busiest() <= 10
            assert simulation.share(3.0, 30.0) >= 0.85
            assert simulation.least_served(3.0, 30.0) >= 0.7

    run(main())


@pytest.mark.full
@pytest.mark.slow
def test_among_many_idle_processes_one_gets_nearly_all() -> None:
    async def main() -> None:
        async with Simulation(64) as simulation:
            for number in range(64):
                simulation.busy(number, 1, think=1.0)
            await simulation.run(1.0)
            for number in range(64):
                simulation.stop(number)
            simulation.busy(0)
            await simulation.run(9.0)
            assert simulation.busiest() <= N
            assert simulation.served(4.0, 10.0)[0] / 6.0 / N >= 0.85

    run(main())


@pytest.mark.full
@pytest.mark.parametrize(
    "ways",
    [[0.04] * 4, pytest.param([0.0005] * 15 + [0.04], marks=pytest.mark.slow)],
    ids=["all", "one"],
)
def test_a_store_that_is_far_away_costs_nothing(ways: list[float]) -> None:
    async def main() -> None:
        async with Simulation(len(ways), way=ways) as simulation:
            for number in range(len(ways)):
                simulation.busy(number, 160 // len(ways))
            await simulation.run(20.0)
            assert simulation.busiest() <= N
            assert simulation.share(4.0, 20.0) >= 0.92
            assert simulation.served(4.0, 20.0)[-1] >= 0.8 * 16.0 * 0.92 * N / len(ways)
            assert max(each.silence for each in simulation.processes) <= 1.0

    run(main())


@pytest.mark.slow
def test_without_the_store_half_of_the_limit_is_used_and_soon_all_again() -> None:
    async def main() -> None:
        async with Simulation(4) as simulation:
            for number in range(4):
                simulation.busy(number)
            await simulation.run(6.0)
            simulation.store.gone_until = now() + 8.0
            await simulation.run(20.0)
            assert simulation.busiest() <= N
            # The leases first, then the fallbacks.
            assert simulation.share(6.0, 9.0) >= 0.9
            assert 0.42 <= simulation.share(10.0, 14.0) <= 0.55
            assert simulation.share(14.0 + 4.0, 26.0) >= 0.9

    run(main())


@pytest.mark.slow
def test_a_few_calls_a_minute_wait_for_nothing() -> None:
    async def main() -> None:
        async with Simulation(4) as simulation:
            for number in range(4):
                simulation.busy(number, 1, think=6.0)
            await simulation.run(120.0)
            waits = [wait for each in simulation.processes for wait in each.waits]
            assert len(waits) >= 70
            assert median(waits) <= 0.001
            # But for the first ones, while the new ledger listens.
            assert max(sorted(waits)[:-4]) <= 0.01

    run(main())


def test_a_process_that_is_unused_leaves_and_comes_back_with_the_next_call() -> None:
    async def main() -> None:
        async with Simulation(2) as simulation:
            first, second = simulation.processes
            for process in (first, second):
                await process.call()
            await simulation.run(12.0)
            assert first.tenant.asleep
            assert second.tenant.asleep
            operations = simulation.store.operations
            await simulation.run(60.0)
            assert simulation.store.operations == operations
            began = now()
            await first.call()
            assert first.waits[-1] <= 0.01
            assert now() - began <= 0.2
            await simulation.run(LEASE)

    run(main())


def test_background_calls_of_one_process_yield_to_those_of_others() -> None:
    async def main() -> None:
        async with Simulation(2) as simulation:
            simulation.busy(0)
            simulation.busy(1, priority="background")
            await simulation.run(15.0)
            front, back = simulation.served(5.0, 15.0)
            assert simulation.busiest() <= N
            assert back / (front + back) == pytest.approx(0.1, abs=0.04)

    run(main())


@pytest.mark.full
# With `Retry-After`, each refusal that shows the limit stops all for a second.
@pytest.mark.slow
@pytest.mark.parametrize(("retry_after", "part"), [(None, 0.85), (1.0, 0.75)])
def test_a_lower_limit_is_found_by_all_together(
    retry_after: float | None, part: float
) -> None:
    async def main() -> None:
        server = Server(admits=25, retry_after=retry_after)
        async with Simulation(4, server=server) as simulation:
            for number in range(4):
                simulation.busy(number)
            # In less time, chance decides more: of ten runs, two miss the part.
            await simulation.run(60.0)
            since = simulation.start + 15.0
            admitted = sum(at >= since for at in server.admitted) / 45.0
            assert admitted >= part * 25
            assert len(server.refused) <= 50
            assert sum(at >= since for at in server.refused) <= 35

    run(main())


def test_requests_that_are_cancelled_free_their_tokens_for_all() -> None:
    async def main() -> None:
        async with Simulation(2) as simulation:
            simulation.busy(0, 20)
            simulation.busy(1, 20)
            await simulation.run(5.0)
            for caller in simulation.callers[0][:10]:
                caller.cancel()
            await simulation.run(10.0)
            assert simulation.busiest() <= N
            assert simulation.share(9.0, 15.0) >= 0.9

    run(main())


# A process that is stopped, or waits for the end of a hold, may lose the token that it
# has taken for the call at the head of its queue.


def lose_lease(owner: Owner, *, regained: bool) -> None:
    """Others own the tokens from now on. The store may have said so."""
    owner.lease.end()
    if regained:
        owner.renew(now())
        owner.learn(now(), owned=0)
    owner.slots.wake()


async def is_sent_with_the_next_token(owner: Owner, call: "asyncio.Task[None]") -> bool:
    """Return whether the call waits until the process owns a token again."""
    await asyncio.sleep(20.0)
    if call.done():
        return False
    owner.renew(now())
    owner.learn(now(), 0.0)
    owner.slots.wake()
    await asyncio.sleep(0.1)
    return call.done()


@pytest.mark.parametrize("regained", [True, False])
def test_a_call_that_waits_for_the_end_of_a_hold_loses_its_token_with_the_lease(
    regained: bool,
) -> None:
    async def main() -> None:
        owner = Owner()
        owner.renew(now())
        owner.learn(now(), 0.0)
        owner.slots.hold(now(), 10.0)
        limiter = Limiter(owner.slots)
        call = asyncio.ensure_future(limiter.acquire(limiter.ticket()))
        await asyncio.sleep(9.0)
        lose_lease(owner, regained=regained)
        assert await is_sent_with_the_next_token(owner, call)

    run(main())


@pytest.mark.parametrize("regained", [True, False])
def test_a_call_that_is_delayed_by_the_shaper_loses_its_token_with_the_lease(
    regained: bool,
) -> None:
    async def main() -> None:
        owner = Owner()
        owner.renew(now())
        owner.learn(now(), *[0.0] * 11)
        limiter = Limiter(owner.slots)
        for _ in range(10):
            await limiter.acquire(limiter.ticket())
            limiter.answered(now())
        call = asyncio.ensure_future(limiter.acquire(limiter.ticket()))
        await asyncio.sleep(0.001)
        assert owner.slots.is_waiting_for_answers
        lose_lease(owner, regained=regained)
        assert await is_sent_with_the_next_token(owner, call)

    run(main())


def test_a_call_keeps_its_token_while_the_lease_is_renewed() -> None:
    async def main() -> None:
        owner = Owner()
        owner.renew(now())
        owner.learn(now(), 0.0)
        owner.slots.hold(now(), 100.0)
        limiter = Limiter(owner.slots)
        call = asyncio.ensure_future(limiter.acquire(limiter.ticket()))
        for _ in range(10):
            await asyncio.sleep(9.9)
            owner.renew(now())
            assert owner.report(now()).in_use == 1
        await asyncio.sleep(1.1)
        assert call.done()

    run(main())
