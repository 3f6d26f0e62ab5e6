"""Tasks with an owner that ends them."""

import asyncio


class Tasks:
    """Tasks that are under way; one that has ended is forgotten."""

    def __init__(self) -> None:
        self._busy: set[asyncio.Task[object]] = set()

    def add(self, task: asyncio.Task[object]) -> None:
        """Take in a task."""
        self._busy.add(task)
        task.add_done_callback(self._busy.discard)

    async def end(self) -> None:
        """Cancel all, and return when the last one has ended."""
        while self._busy:
            for task in self._busy:
                task.cancel()
            await asyncio.wait(self._busy)
