"""Ends an event loop as `asyncio.run` does, in each turn of a program.

Only the program ends: the simulator goes on in the same loop, so that what became of
its servers can be seen, and time is virtual.
"""

import asyncio
import contextvars
import gc
from collections.abc import Awaitable, Callable, Collection, Coroutine
from dataclasses import dataclass, field
from typing import Any

from edgegap_async import EdgegapSession
from edgegap_async.simulator import Fault, Simulator
from support.owning import SteppingLoop, forgotten
from support.turns import chosen_turns

# Whether the code that runs now belongs to the program. Tasks inherit it.
_in_program = contextvars.ContextVar("_in_program", default=False)


@dataclass
class Program:
    """What a program has: a simulator to call, and what was given to it.

    Attributes:
        sim: the simulator.
        sessions: the sessions that it opened. They live until the end.
        held: IDs of the servers that the caller owns.
        objects: what has to live until the end.
    """

    sim: Simulator
    sessions: list[EdgegapSession] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    objects: list[Any] = field(default_factory=list)

    def session(self, **options: Any) -> EdgegapSession:
        self.sessions.append(
            EdgegapSession("made-up", base_url=self.sim.url, **options)
        )
        return self.sessions[-1]

    def unnamed(self) -> set[str]:
        """Return the servers that run on, and of which no session and no caller knows."""
        left = [it for session in self.sessions for it in session.leftovers]
        ids, tags = {it for it, _ in left}, {tag for _, tag in left if tag}
        return {
            it
            for it in forgotten(self.sim, self.held) - ids
            if not tags & {*self.sim.tags_of(it)}
        }


class EndingLoop(SteppingLoop):
    """A loop that knows the tasks of the program."""

    def __init__(self) -> None:
        super().__init__()
        self.tasks: list[asyncio.Task[Any]] = []
        self.ended = False
        self.errors: list[str] = []
        self.set_task_factory(self._make_task)
        self.set_exception_handler(self._failed)

    def _make_task(
        self,
        loop: asyncio.AbstractEventLoop,
        coro: Coroutine[Any, Any, Any],
        context: contextvars.Context | None = None,
        **options: Any,
    ) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=loop, context=context, **options)
        if (context or contextvars.copy_context()).get(_in_program):
            if self.ended:
                self.errors.append(f"begun after the end: {coro}")
            self.tasks.append(task)
        return task

    def _failed(self, _: object, details: dict[str, Any]) -> None:
        self.errors.append(f"{details.get('message')}: {details.get('exception')!r}")


async def end_as_asyncio_run_does(loop: EndingLoop) -> None:
    """Cancel the tasks of the program once, wait for them, and close the asynchronous
    generators.
    """
    left = [task for task in loop.tasks if not task.done()]
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left)
    await loop.shutdown_asyncgens()
    loop.ended = True
    loop.errors += [
        f"not done at the end: {task}" for task in loop.tasks if not task.done()
    ]


async def _ended_in(
    turn: int,
    main: Callable[[Program], Awaitable[object]],
    faults: Collection[Fault],
    options: dict[str, Any],
) -> tuple[bool, set[str]]:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, EndingLoop)
    async with (
        asyncio.timeout(24 * 60 * 60),
        Simulator(faults=faults, ready_after=(0.0, 0.0), **options) as sim,
    ):
        program = Program(sim)
        context = contextvars.copy_context()
        context.run(_in_program.set, True)
        now = asyncio.Event()
        task = loop.create_task(_run(main, program), context=context)
        task.add_done_callback(lambda _: now.set())
        loop.begin({turn: now.set})
        await now.wait()
        over = task.done()
        await end_as_asyncio_run_does(loop)
        # Requests that are under way are still carried out.
        await asyncio.sleep(60)
        return over, program.unnamed()


async def _run(main: Callable[[Program], Awaitable[object]], program: Program) -> None:
    await main(program)


def end_the_loop_at_every_turn(
    main: Callable[[Program], Awaitable[object]],
    *faults: Fault,
    most: int = 2000,
    **options: Any,
) -> int:
    """Run a program, and end its loop in its turns, one run per turn.

    Args:
        main: the program.
        faults: faults of the simulator.
        most: the most turns that the program may take.
        options: further arguments of the simulator.

    Returns:
        The number of turns.

    Raises:
        AssertionError: a server was forgotten, a task was left behind or begun after
            the end, or an error reached the loop. The text names the turn.
    """
    wrong = {}
    for turn in chosen_turns(most):
        with asyncio.Runner(loop_factory=EndingLoop) as runner:
            over, unnamed = runner.run(_ended_in(turn, main, faults, options))
            loop = runner.get_loop()
            assert isinstance(loop, EndingLoop)
            if unnamed or loop.errors:
                wrong[turn] = unnamed, loop.errors
            # aiohttp caches handlers of the simulator, and they lead to the loop.
            loop.tasks.clear()
        if over:
            break
    else:
        raise AssertionError("it took longer than that")
    # Sessions that nobody has closed are not to be collected in another test.
    gc.collect()
    assert not wrong, f"forgotten, and errors, by turn: {wrong}"
    return turn
