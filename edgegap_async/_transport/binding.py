"""What the first call of a session decides: the event loop and the process that it is
bound to, and the budget that it shares there.
"""

import asyncio
from collections.abc import Callable

from .._limits.config import Limits
from .._limits.limiter import Limiter
from .._limits.registry import REGISTRY, LoopBudget, Sharing, fork_count, unused_budget
from ..endpoints import LimitName
from ..errors import WrongLoop
from .deadlines import running_loop

OTHER_PROCESS = (
    "the session was first used in another process, from which this one was forked: make a session after the fork "
    "(gunicorn --preload, multiprocessing), in each process"
)


class Binding:
    """Binds a session to the event loop and the process of its first call, and lets it
    join the sessions there that share a budget.

    Args:
        base_url, token: sessions with the same ones share a budget.
        limits: of the budget.
        sharing: shares it with other processes.

    Attributes:
        limits, sharing: as given.
        loop: that of the first call. None: there was no call. Once it is closed,
            nothing can be sent any more.
        on_first_use: called in that loop.
    """

    def __init__(
        self, base_url: str, token: str, limits: Limits, sharing: Sharing | None
    ) -> None:
        self._base_url, self._token = base_url, token
        self.limits: Limits = limits
        self.sharing: Sharing | None = sharing
        self.loop: asyncio.AbstractEventLoop | None = None
        self.on_first_use: Callable[[], object] | None = None
        self._forks = fork_count()
        self._budget: LoopBudget | None = None
        self._left = False

    @property
    def limiters(self) -> dict[LimitName, Limiter]:
        """The limiter of each limit."""
        if self._budget is None:
            self._budget = unused_budget(self.limits, self.sharing)
        return self._budget.limiters

    def enter(self) -> asyncio.AbstractEventLoop:
        """The running loop, which the first call makes the session's.

        Raises:
            WrongLoop: it is another one, or this is another process.
        """
        loop = running_loop()
        if self.loop is loop and self._forks == fork_count():
            return loop
        if self.loop is not None:
            raise WrongLoop(
                OTHER_PROCESS
                if self.in_child
                else _other_loop(ended=self.loop.is_closed())
            )
        self._budget = REGISTRY.acquire(
            loop, self._base_url, self._token, self.limits, self.sharing
        )
        self.loop, self._forks = loop, fork_count()
        if self.on_first_use:
            self.on_first_use()
        return loop

    @property
    def in_child(self) -> bool:
        """Whether this process is a fork of the one that uses the session. What is in
        progress, and every server, belongs to the parent.
        """
        return self.loop is not None and self._forks != fork_count()

    def leave(self) -> None:
        """Leave the sessions that share the budget."""
        if self._budget is not None and not self._left:
            self._left = True
            REGISTRY.release(self._budget)


def _other_loop(*, ended: bool) -> str:
    """The text of the error in another loop than that of the first call.

    Args:
        ended: that loop has ended. Else it runs in another thread, or will run again.
    """
    causes = (
        "is another one, and has ended. Usual causes: a global session and asyncio.run() more than once; a fixture "
        "of pytest whose loop_scope is not that of its test"
        if ended
        else "is another one. Usual causes: a call from another thread (use asyncio.run_coroutine_threadsafe), or a "
        "fixture of pytest whose loop_scope is not that of its test"
    )
    return (
        f"a session belongs to the event loop of its first call, which {causes}. Make a session in each loop: they "
        "share the limits"
    )
