"""The deployments that exist, found by ID, by tag and by phase.

No look-up walks them all. A deployment changes its phase three times in its life, and a
heap knows when: whoever asks first carries out what has come due.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping
from heapq import heappop, heappush
from itertools import count
from math import inf
from operator import itemgetter

from .deployment import Deployment, Phase, Tag
from .locations import Host


class Index:
    """The deployments that exist. Each mapping goes from request ID to deployment."""

    def __init__(self) -> None:
        self._all: dict[str, Deployment] = {}
        self._by_phase: dict[Phase, dict[str, Deployment]] = {
            phase: {} for phase in Phase
        }
        self._by_tag: dict[str, dict[str, Deployment]] = {}
        self._by_host: Counter[str] = Counter()
        self._turns: list[tuple[float, int, Deployment]] = []
        # by the time at which that was seen, never before it ended
        self._ended: list[tuple[float, Deployment]] = []
        # keeps the heap from comparing deployments
        self._serial = count()

    @property
    def all(self) -> Mapping[str, Deployment]:
        """All, in the order of arrival."""
        return self._all

    def in_phase(self, phase: Phase) -> Mapping[str, Deployment]:
        """Those in a phase."""
        return self._by_phase[phase]

    def tagged(self, name: str) -> Mapping[str, Deployment]:
        """Those with a tag."""
        return self._by_tag.get(name, {})

    def on_host(self, host: Host) -> int:
        """How many are on a host."""
        return self._by_host[host.host_id]

    def ended_since(self, when: float) -> list[Deployment]:
        """Those that existed then and have ended."""
        first = bisect_right(self._ended, when, key=itemgetter(0))
        return [
            deployment
            for _, deployment in self._ended[first:]
            if deployment.ends > when
        ]

    def advance(self, now: float) -> None:
        """Carry out all that has come due."""
        while self._turns and self._turns[0][0] <= now:
            self.sort_in(heappop(self._turns)[2], now)

    def add(self, deployment: Deployment, now: float) -> None:
        """Take in a new one."""
        self._all[deployment.request_id] = deployment
        for name in deployment.tags:
            self._by_tag.setdefault(name, {})[deployment.request_id] = deployment
        if deployment.host:
            self._by_host[deployment.host.host_id] += 1
        self.sort_in(deployment, now)

    def sort_in(self, deployment: Deployment, now: float) -> None:
        """Put one where it belongs: its phase has changed, or the time of its next
        change has.
        """
        self._by_phase[deployment.phase].pop(deployment.request_id, None)
        deployment.phase = deployment.phase_at(now)
        if deployment.phase is Phase.ENDED:
            self._drop(deployment, now)
            return
        self._by_phase[deployment.phase][deployment.request_id] = deployment
        # What the heap holds of it already stays there: an entry that comes due for
        # nothing changes nothing.
        if (turn := deployment.next_turn(now)) < inf:
            heappush(self._turns, (turn, next(self._serial), deployment))

    def tag(self, deployment: Deployment, name: str, tag: Tag) -> None:
        """Tag one."""
        deployment.tags[name] = tag
        self._by_tag.setdefault(name, {})[deployment.request_id] = deployment

    def untag(self, deployment: Deployment, name: str) -> None:
        """Take a tag from one."""
        del deployment.tags[name]
        self._forget_tag(deployment, name)

    def _drop(self, deployment: Deployment, now: float) -> None:
        if self._all.pop(deployment.request_id, None) is None:
            return
        self._ended.append((now, deployment))
        for name in deployment.tags:
            self._forget_tag(deployment, name)
        if deployment.host:
            self._by_host[deployment.host.host_id] -= 1

    def _forget_tag(self, deployment: Deployment, name: str) -> None:
        tagged = self._by_tag[name]
        del tagged[deployment.request_id]
        if not tagged:
            del self._by_tag[name]
