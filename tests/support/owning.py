"""Helpers of the tests of deploys: which servers exist, and which of them a caller
owns.

All of them use the simulator in virtual time.
"""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from typing import Any

from edgegap_async import EdgegapSession
from edgegap_async._limits.limiter import Limiter
from edgegap_async.simulator import Fault, Simulator, VirtualTimeLoop
from support.turns import chosen_turns

PLAYERS = ["203.0.113.7"]
# Seconds after which the SDK no longer searches for the server of a lost deploy. It is
# longer than the quarantine by one search.
QUARANTINE = 310


def deploy(edgegap: EdgegapSession, **options: Any) -> Awaitable[Any]:
    return edgegap.deployments.deploy("game", "1", users=PLAYERS, **options)


def running(edgegap: EdgegapSession, **options: Any) -> Any:
    return edgegap.deployments.running("game", "1", users=PLAYERS, **options)


@asynccontextmanager
async def owning(
    *faults: Fault | Collection[Fault],
    options: dict[str, Any] | None = None,
    **session: Any,
) -> AsyncIterator[tuple[EdgegapSession, Simulator]]:
    """Open a session on a simulator with these faults.

    A test that hangs fails after a day.

    Args:
        faults: faults of the simulator.
        options: further arguments of the simulator.
        session: arguments of the session.
    """
    flat = [
        each
        for fault in faults
        for each in (fault if isinstance(fault, Collection) else (fault,))
    ]
    async with (
        asyncio.timeout(24 * 60 * 60),
        Simulator(faults=flat, **(options or {})) as sim,
        EdgegapSession("made-up", base_url=sim.url, **session) as edgegap,
    ):
        yield edgegap, sim


def forgotten(sim: Simulator, held: Iterable[str] = ()) -> set[str]:
    """Return the servers that were started, are not stopped, and no caller owns."""
    return {*sim.deployed()} - sim.stopped() - {*held}


# Seconds by which the clock moves in a turn in which a task is cancelled. A loop that
# is never idle does not jump to its next timer.
BUSY_TURN = 0.001


class SteppingLoop(VirtualTimeLoop):
    """A virtual-time loop that calls functions before given turns.

    Turns are counted from `begin`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._turns = 0
        self._dues: dict[int, Callable[[], object]] = {}
        self._stubborn: list[asyncio.Task[Any]] = []

    def cancel_every_turn(self, task: asyncio.Task[Any]) -> None:
        """Cancel a task in each turn until it has ended, as anyio does."""
        self._stubborn.append(task)

    def begin(self, dues: dict[int, Callable[[], object]]) -> None:
        self._turns, self._dues = 0, dues

    def _run_once(self) -> None:
        self._turns += 1
        if due := self._dues.pop(self._turns, None):
            due()
        self._stubborn = [task for task in self._stubborn if not task.done()]
        for task in self._stubborn:
            # Like anyio, it does not cancel a task that is about to run.
            waiter = task._fut_waiter  # type: ignore[attr-defined]
            if waiter is None or not waiter.done():
                task.cancel()
            self._clock.now += BUSY_TURN
        super()._run_once()  # type: ignore[misc]


Attempt = Callable[[EdgegapSession, Simulator], Awaitable[object]]


async def _struck(
    attempt: Attempt,
    steps: Collection[int],
    strike: str | Callable[[], object],
    faults: Collection[Fault],
    options: dict[str, Any],
    taken: set[str],
) -> tuple[bool, set[str], tuple[Any, ...], Any]:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SteppingLoop)
    async with owning(faults, options={"ready_after": (0.0, 0.0), **options}) as (
        edgegap,
        sim,
    ):
        closing: list[asyncio.Task[None]] = []
        task = asyncio.ensure_future(attempt(edgegap, sim))

        def act() -> None:
            if callable(strike):
                strike()
            elif strike == "cancel-every-turn":
                loop.cancel_every_turn(task)
            elif strike == "cancel" or closing:
                task.cancel()
            else:
                closing.append(loop.create_task(edgegap.aclose()))

        dues: dict[int, Callable[[], object]] = dict.fromkeys(steps, act)
        loop.begin(dues)
        await asyncio.wait([task])
        # The attempt ended before the first step.
        over = min(steps) in dues
        dues.clear()
        held = (
            task.result() if not task.cancelled() and task.exception() is None else None
        )
        await asyncio.gather(*closing)
        if not closing:
            # In this time, deploys in flight are answered, found and stopped.
            await asyncio.sleep(10)
        left = forgotten(sim, [held] if isinstance(held, str) else taken)
        await edgegap.aclose()
        assert {
            usage.in_flight + usage.waiting for usage in edgegap.usage().values()
        } == {0}
        leftovers = edgegap.leftovers
        error = None if task.cancelled() else task.exception()
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    assert not tasks, f"tasks left behind: {tasks}"
    return over, left, leftovers, error


def at_every_turn(
    attempt: Attempt,
    *faults: Fault,
    strike: str | Callable[[], object] = "cancel",
    again: Collection[int] = (),
    most: int = 2000,
    taken: set[str] | None = None,
    **options: Any,
) -> tuple[list[Any], int]:
    """Disturb an attempt in the turns of the loop that it takes, one run per turn.

    Args:
        attempt: If it returns a text, that is the request_id of a server that the
            caller owns.
        faults: faults of the simulator.
        strike: "cancel", "cancel-every-turn", "close" (the session), or a function to
            call.
        again: cancel once more after so many turns.
        most: the most turns that the attempt may take.
        taken: IDs of further servers that the caller owns. The attempt adds them.
        options: further arguments of the simulator.

    Returns:
        The error of each run, and the number of turns.

    Raises:
        AssertionError: a run left a server that no caller owns. The text names its
            turn.
    """
    wrong, errors = {}, []
    taken = set() if taken is None else taken
    with asyncio.Runner(loop_factory=SteppingLoop) as runner:
        for turn in chosen_turns(most):
            steps = [turn, *(turn + each for each in again)]
            over, left, leftovers, error = runner.run(
                _struck(attempt, steps, strike, faults, options, taken)
            )
            errors.append(error)
            taken.clear()
            if left or leftovers:
                wrong[turn] = left, leftovers
            if over:
                break
        else:
            raise AssertionError("it took longer than that")
    gc.collect()
    assert all(
        limiter.usage().in_flight == 0
        for limiter in gc.get_objects()
        if type(limiter) is Limiter
    )
    assert not wrong, f"forgotten or left, by turn: {wrong}"
    return errors, turn
