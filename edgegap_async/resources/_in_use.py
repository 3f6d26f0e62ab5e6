"""How a session notices that nobody can close it any more, and what its blocks say if
they are not entered as they must be.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, TypeVar
from warnings import warn

from .._transport.client import Transport

T = TypeVar("T")
SERVER, OUTCOMES = "server", "outcomes"


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


class OpenSession:
    """Held by a session, and by every part of it that a caller may hold instead: its
    namespaces and its blocks. If all of them are gone, and nobody has closed the
    session, it closes itself. The parts below it do not hold it, so that needs no
    garbage collector.

    Args:
        close_soon: called then.

    Attributes:
        closed: somebody has closed the session.
    """

    def __init__(self, transport: Transport, close_soon: Callable[[], object]) -> None:
        self._transport, self._close_soon = transport, close_soon
        self.closed: bool = False

    @property
    def in_child(self) -> bool:
        """Whether this process is a fork of the one that uses the session."""
        return self._transport.in_child

    def enter(self) -> None:
        """A block of the session is entered.

        Raises:
            SessionClosed, WrongLoop: it can't be.
        """
        self._transport.enter()

    def __del__(self) -> None:
        if self.closed or self._transport.loop is None or self.in_child:
            return
        try:
            warn(
                f"the EdgegapSession for {self._transport.base_url} was not closed: use "
                "`async with`, or call `aclose()`",
                ResourceWarning,
                source=self,
                stacklevel=1,
            )
        finally:
            # Warnings may be errors.
            self._close_soon()


class BlockInUse(AsyncOnly, AbstractAsyncContextManager[T]):
    """A block of a session that is in use while somebody holds the block. It can be
    entered once. A forked child that leaves it stops nothing: its servers are the
    parent's.
    Awaiting it, or iterating over it, is a TypeError that says so.

    Args:
        call: the method that has returned it.
        target: what the block is given: SERVER or OUTCOMES.
    """

    def __init__(
        self,
        session: OpenSession,
        block: AbstractAsyncContextManager[T],
        call: str,
        target: str,
    ) -> None:
        iterate = f", and iterate over {target}" if target == OUTCOMES else ""
        super().__init__(f"`async with edgegap.{call}(...) as {target}:`{iterate}")
        self._session, self._block, self._call = session, block, call
        self._entered = False

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
        self._session.enter()
        self._entered = True
        return await self._block.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        if self._session.in_child:
            return None
        return await self._block.__aexit__(kind, error, trace)
