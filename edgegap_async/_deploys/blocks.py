"""What is used by `async with`, and says so if it is used in another way."""

from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, TypeVar

T = TypeVar("T")
SERVER, OUTCOMES, POOL = "server", "outcomes", "pool"


class AsyncOnly:
    """What can only be used by `async with`. A plain `with` is a TypeError that says so.

    Args:
        usage: how to use it, such as "`async with f(...) as server:`".
    """

    def __init__(self, usage: str) -> None:
        self._usage = usage

    def _misused(self, *_: object) -> NoReturn:
        raise TypeError(f"use {self._usage}")

    # A type checker reports a `with` by itself, as it sees no such methods.
    if not TYPE_CHECKING:
        __enter__ = __exit__ = _misused


class Block(AsyncOnly, AbstractAsyncContextManager[T]):
    """A block that can be entered once. Awaiting it, or iterating over it, is a TypeError
    that says so.

    Args:
        call: the method that has returned it, such as "edgegap.deployments.running" or
            "pool.take".
        target: what the block is given: SERVER, OUTCOMES or POOL.
    """

    def __init__(
        self, block: AbstractAsyncContextManager[T], call: str, target: str
    ) -> None:
        iterate = f", and iterate over {target}" if target == OUTCOMES else ""
        super().__init__(f"`async with {call}(...) as {target}:`{iterate}")
        self._block, self._call = block, call.removeprefix("edgegap.")
        self._entered = False

    def __repr__(self) -> str:
        return f"<{self._call}(...): use {self._usage}>"

    # Not for sessions: programs ask what they are given whether it can be awaited.
    if not TYPE_CHECKING:
        __await__ = __iter__ = __aiter__ = __anext__ = AsyncOnly._misused

        def __getattr__(self, name: str) -> NoReturn:
            # Of the server or the outcomes, which only the block has.
            raise AttributeError(
                f"{self._call}(...) has no {name!r}: use {self._usage}"
            )

    async def __aenter__(self) -> T:
        if self._entered:
            raise RuntimeError(
                f"this block was entered before: call {self._call}(...) again for each `async with`"
            )
        self._entered = True
        return await self._block.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        return await self._block.__aexit__(kind, error, trace)
