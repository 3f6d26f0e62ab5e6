"""Permits of a pool: for connections and for large bodies."""

import asyncio
import gc
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegap_async._transport.permits import Permit, Permits


async def turns(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def free(permits: Permits) -> int:
    """How many can be taken; they are given back."""
    taken = 0
    while permits.try_acquire():
        taken += 1
    for _ in range(taken):
        permits.release()
    return taken


async def test_who_waits_is_served_in_turn_and_nobody_overtakes() -> None:
    permits = Permits(1)
    assert permits.try_acquire()
    served: list[int] = []

    async def wait(number: int) -> None:
        await permits.acquire()
        served.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(3):
            group.create_task(wait(number))
        await turns()
        for expected in ([0], [0, 1], [0, 1, 2]):
            permits.release()
            # It belongs to the one that waits, who runs in the next turn.
            assert not permits.try_acquire()
            await turns()
            assert served == expected
    permits.release()
    assert free(permits) == 1


@pytest.mark.parametrize("released_first", [False, True])
async def test_a_cancelled_call_keeps_nothing(released_first: bool) -> None:
    permits = Permits(1)
    assert permits.try_acquire()
    first, second = (asyncio.create_task(permits.acquire()) for _ in range(2))
    await turns()
    if released_first:
        # Its turn has come, and it is cancelled before it runs.
        permits.release()
        first.cancel()
    else:
        first.cancel()
        await turns()
        permits.release()
    await turns()
    assert first.cancelled()
    assert second.done()
    assert not second.cancelled()
    permits.release()
    assert free(permits) == 1


async def test_a_wait_that_is_closed_takes_nothing() -> None:
    permits = Permits(1)
    assert permits.try_acquire()
    # As the garbage collector does.
    waiting = permits.acquire()
    waiting.send(None)
    waiting.close()
    permits.release()
    assert free(permits) == 1


async def test_calls_that_gave_up_waiting_take_no_memory() -> None:
    """All connections may be in use for as long as one attempt takes."""
    permits = Permits(1)
    assert permits.try_acquire()

    def futures() -> int:
        return sum(isinstance(it, asyncio.Future) for it in gc.get_objects())

    before = futures()
    for _ in range(20):
        with suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                await permits.acquire()
    # The traceback of the last one may hold it.
    assert futures() <= before + 1


@given(
    st.integers(1, 3),
    st.lists(
        st.tuples(st.integers(0, 5), st.sampled_from(["acquire", "release", "cancel"]))
    ),
)
def test_none_is_lost_or_given_twice(size: int, steps: list[tuple[int, str]]) -> None:
    async def run() -> None:
        permits = Permits(size)
        tasks: dict[int, asyncio.Task[None]] = {}
        for caller, step in steps:
            task = tasks.get(caller)
            if step == "acquire" and task is None:
                tasks[caller] = asyncio.create_task(permits.acquire())
            elif step == "release" and task and task.done():
                permits.release()
                del tasks[caller]
            elif step == "cancel" and task and not task.done():
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
                if task.cancelled():
                    del tasks[caller]
            if caller % 2:
                await asyncio.sleep(0)
        await turns()
        held = sum(task.done() for task in tasks.values())
        assert held == min(size, len(tasks))
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
        assert free(permits) == size - held

    asyncio.run(run())


async def test_a_call_takes_one_connection_and_one_large_body_and_gives_back_both() -> (
    None
):
    connections, large = Permits(1), Permits(1)
    permit = Permit(connections, large)
    assert permit.try_connect()
    # It has one already.
    assert permit.try_connect()
    await permit.connect()
    await permit.hold_large()
    assert (free(connections), free(large)) == (0, 0)
    permit.release()
    permit.release()
    assert (free(connections), free(large)) == (1, 1)


async def test_calls_that_keep_connections_need_none() -> None:
    permit = Permit(None, Permits(1))
    assert permit.try_connect()
    await permit.connect()
    permit.release()
