"""What may still be running after a session was closed."""

import logging
from collections.abc import Iterable
from typing import TypeAlias

from .._records.lifecycle import Lifecycle

log: logging.Logger = logging.getLogger("edgegap_async")
Leftover: TypeAlias = tuple[str | None, str | None]


class Leftovers:
    """The servers of a session that may still be running.

    Args:
        lifecycle: reports each of them as an event, once the session is closed.

    Attributes:
        found: request_id and tag of each.
        reported: the session was closed, and `report` was called.
    """

    def __init__(self, lifecycle: Lifecycle) -> None:
        self.found: tuple[Leftover, ...] = ()
        self.reported: bool = False
        self._lifecycle = lifecycle

    def add(self, leftover: Leftover) -> None:
        """Add a server. It is reported now if the session is closed, else by `report`."""
        if leftover in self.found:
            return
        self.found = (*self.found, leftover)
        if self.reported:
            self._lifecycle.left_over(leftover[0])

    def report(self, more: Iterable[Leftover]) -> None:
        """Add these, and report all of them, as the session is closed."""
        self.reported = True
        self.found = tuple(dict.fromkeys((*self.found, *more)))
        for request_id, _ in self.found:
            self._lifecycle.left_over(request_id)
        if self.found:
            names = ", ".join(map(_describe, self.found))
            log.warning("session closed: these may still be running: %s", names)


def _describe(leftover: Leftover) -> str:
    request_id, tag = leftover
    return request_id or (
        f"a server under the tag {tag}" if tag else "a server without a tag"
    )
