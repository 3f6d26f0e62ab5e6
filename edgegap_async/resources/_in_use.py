"""How a session notices that nobody can close it any more."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TypeVar
from warnings import warn

from .._deploys.blocks import Block
from .._transport.client import Transport

T = TypeVar("T")


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


class BlockInUse(Block[T]):
    """A block of a session that is in use while somebody holds the block. A forked child
    that leaves it stops nothing: its servers are the parent's.

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
        super().__init__(block, f"edgegap.{call}", target)
        self._session = session

    async def __aenter__(self) -> T:
        if not self._entered:
            self._session.enter()
        return await super().__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        if self._session.in_child:
            return None
        return await super().__aexit__(kind, error, trace)
