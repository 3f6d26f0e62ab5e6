"""`wait_many`: an outcome for each deployment, in the order in which they are known."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine
from typing import TypeAlias

from .schedule import Outcome, WaitFuture, WaitHandle

Until: TypeAlias = Callable[
    [Coroutine[object, object, None], float | None], Awaitable[bool]
]


class ReadyStream:
    """The outcomes of `wait_many`, as (request_id, outcome): an asynchronous iterator, from
    which several tasks may take.

    When the time is over or the session is closed, the rest have that as their outcome.

    Args:
        until: waits no longer than a deadline, which all waits share.
        tell: returns the outcome of a wait, and ends it.
    """

    def __init__(
        self,
        places: Collection[WaitHandle],
        until: Until,
        tell: Callable[[WaitHandle], Outcome],
    ) -> None:
        self._until, self._tell = until, tell
        self._left = {place.caller: place for place in places}
        self._deadline = next((place.deadline for place in places), None)
        self._settled: deque[WaitFuture] = deque()
        self._changed = asyncio.Event()
        for caller in self._left:
            caller.add_done_callback(self._settle)

    def _settle(self, caller: WaitFuture) -> None:
        self._settled.append(caller)
        self._changed.set()

    def __aiter__(self) -> AsyncIterator[tuple[str, Outcome]]:
        return self

    async def __anext__(self) -> tuple[str, Outcome]:
        """The next outcome."""
        while self._left:
            if not self._settled:
                self._changed.clear()
                if not await self._until(_set(self._changed), self._deadline):
                    self._settled.extend(self._left)
            elif place := self._left.pop(self._settled.popleft(), None):
                # Its time may have been over before.
                if not self._left:
                    # For other tasks that take.
                    self._changed.set()
                return place.wait.request_id, self._tell(place)
        raise StopAsyncIteration


async def _set(event: asyncio.Event) -> None:
    await event.wait()
