"""Calls a function for many items."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


async def for_each(
    items: Iterable[T], do: Callable[[T], Awaitable[None]], at_once: int
) -> None:
    """Call `do` for all items, at most `at_once` at a time."""
    pending = iter(items)

    async def work() -> None:
        for item in pending:
            await do(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(work())


async def answers(
    items: Iterable[T], ask: Callable[[T], Coroutine[object, object, R]]
) -> list[R]:
    """Call `ask` for all items at once, and return the results in their order. The first
    error ends all, and is raised as it is.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ask(item)) for item in items]
    except ExceptionGroup as errors:
        first = errors.exceptions[0]
        raise first from first.__cause__
    return [task.result() for task in tasks]
