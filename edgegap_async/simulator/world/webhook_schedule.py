"""Which webhook is due when. Pure: who asks gives the time.

    STARTING -> READY -> ... -> TERMINATED
             |  "ready"         "terminated", when it is gone; a stop makes that earlier
             -> ERROR -> ...
                "error"

Who is stopped while it starts never is READY or in ERROR, to no status call: only its
end is told.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from math import inf

from .deployment import Deployment

READY, ERROR, TERMINATED = "ready", "error", "terminated"


@dataclass(frozen=True, slots=True)
class Notice:
    """A webhook that is due: what is told of a deployment as it was at a time, and to
    which URL.
    """

    deployment: Deployment
    url: str
    when: float


class Notices:
    """The webhooks that are still to come. What is handed out is taken from its
    deployment, so it is due once.
    """

    def __init__(self) -> None:
        self._turns: list[tuple[float, int, Deployment, str]] = []
        # keeps the heap from comparing deployments, and equal times in the order of
        # arrival
        self._serial = count()

    def expect(self, deployment: Deployment) -> None:
        """Take in a new deployment, or one that a stop ends earlier."""
        for event in deployment.webhooks:
            # An entry of before a stop stays in the heap: by the time that it comes up
            # its webhook is gone.
            if (when := _due(deployment, event)) < inf:
                heappush(self._turns, (when, next(self._serial), deployment, event))

    def next(self) -> float:
        """When the next one is due; inf if there is none."""
        while self._turns and self._turns[0][3] not in self._turns[0][2].webhooks:
            heappop(self._turns)
        return self._turns[0][0] if self._turns else inf

    def due(self, now: float) -> Iterator[Notice]:
        """Hand out all that are due."""
        while self.next() <= now:
            when, _, deployment, event = heappop(self._turns)
            url = deployment.webhooks.pop(event)
            if event == TERMINATED or when < deployment.leaves:
                yield Notice(deployment, url, when)


def _due(it: Deployment, event: str) -> float:
    if event == TERMINATED:
        return it.ends
    return it.settles if it.fails is (event == ERROR) else inf
