"""Who has which server: what the tests of ownership share. All against the simulator,
in virtual time.
"""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from typing import Any

from edgegap_async import EdgegapSession
from edgegap_async._limits.limiter import Limiter
from edgegap_async.simulator import Fault, Simulator, VirtualTimeLoop

PLAYERS = ["203.0.113.7"]
# seconds, a look-up more than it lasts: what turns up later is not looked for any more
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
    """A session and its simulator, on which these faults strike. What hangs, fails
    after a day.
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
    """What was started and not stopped, and nobody has."""
    return {*sim.deployed()} - sim.stopped() - {*held}


# Seconds that the clock moves in a turn in which a task is cancelled: a loop that never
# rests does not jump to its next timer.
BUSY_TURN = 0.001


class SteppingLoop(VirtualTimeLoop):
    """Does something before the turns of the loop with these numbers, counted from
    `begin`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._turns = 0
        self._dues: dict[int, Callable[[], object]] = {}
        self._stubborn: list[asyncio.Task[Any]] = []

    def cancel_every_turn(self, task: asyncio.Task[Any]) -> None:
        """Cancel a task on each turn until it has ended, as anyio's cancel scopes do."""
        self._stubborn.append(task)

    def begin(self, dues: dict[int, Callable[[], object]]) -> None:
        self._turns, self._dues = 0, dues

    def _run_once(self) -> None:
        self._turns += 1
        if due := self._dues.pop(self._turns, None):
            due()
        self._stubborn = [task for task in self._stubborn if not task.done()]
        for task in self._stubborn:
            # As anyio does: not a task that is about to run anyway.
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
        # it ended before
        over = min(steps) in dues
        dues.clear()
        held = (
            task.result() if not task.cancelled() and task.exception() is None else None
        )
        await asyncio.gather(*closing)
        if not closing:
            # what was sent is answered, found and stopped
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
    """Cancel an attempt (or close its session, or whatever the strike does) in each
    turn of the loop that it takes, and cancel it so many turns later. What it returns
    is a request_id that the caller has, if it is text; what it adds to `taken` the
    caller has too. How it ended each time; what was forgotten, by turn, is an
    AssertionError.
    """
    wrong, errors = {}, []
    taken = set() if taken is None else taken
    with asyncio.Runner(loop_factory=SteppingLoop) as runner:
        for turn in range(1, most):
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
