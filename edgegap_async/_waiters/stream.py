"""The stream of `wait_many`: one outcome per deployment, as soon as it is known."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from typing import TypeAlias

from .outcomes import Outcome
from .waiter import WaitHandle

Until: TypeAlias = Callable[[Awaitable[object], float | None], Awaitable[bool]]


class ReadyStream:
    """The outcomes of `wait_many`, as pairs (request_id, outcome).

    An asynchronous iterator. Several tasks may iterate over it at once, and each
    outcome goes to one of them. After the time-out or the end of the session, the
    remaining outcomes are the errors for that.
    """

    def __init__(
        self,
        handles: Collection[WaitHandle[Outcome]],
        until: Until,
        result: Callable[[WaitHandle[Outcome]], Outcome],
    ) -> None:
        """Make a stream.

        Args:
            handles: the waits. They share one deadline.
            until: waits for an awaitable until a deadline, and returns whether it ended
                in time.
            result: returns the outcome of a wait, and ends the wait.
        """
        self._until, self._result = until, result
        self._remaining = {handle.future: handle for handle in handles}
        self._deadline = next((handle.deadline for handle in handles), None)
        self._resolved: deque[asyncio.Future[Outcome | None]] = deque()
        self._changed = asyncio.Event()
        for future in self._remaining:
            future.add_done_callback(self._mark_resolved)

    def _mark_resolved(self, future: asyncio.Future[Outcome | None]) -> None:
        self._resolved.append(future)
        self._changed.set()

    def close(self) -> None:
        """The block has ended: no task may wait for further outcomes."""
        self._remaining.clear()
        self._changed.set()

    def __aiter__(self) -> AsyncIterator[tuple[str, Outcome]]:
        return self

    async def __anext__(self) -> tuple[str, Outcome]:
        """Return the next (request_id, outcome)."""
        while self._remaining:
            if not self._resolved:
                self._changed.clear()
                if not await self._until(self._changed.wait(), self._deadline):
                    self._resolved.extend(self._remaining)
            # A future that ended after the time-out is in `_resolved` twice.
            elif handle := self._remaining.pop(self._resolved.popleft(), None):
                if not self._remaining:
                    # Other tasks that iterate must end, too.
                    self._changed.set()
                return handle.waiter.request_id, self._result(handle)
        raise StopAsyncIteration
