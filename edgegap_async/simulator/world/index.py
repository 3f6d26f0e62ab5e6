"""The deployments that exist, indexed by ID, tag, phase and host.

No look-up scans all deployments. A deployment changes its phase at most four times. A
heap holds the times of these changes, and each look-up first carries out the changes
that are due.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping
from heapq import heapify, heappop, heappush
from itertools import count
from math import inf
from operator import itemgetter

from .deployment import Deployment, Phase, Tag
from .locations import Host

# Below this number of outdated phase changes, removing them is not worth it.
_FEW = 64


class Index:
    """The deployments that exist. Each mapping goes from request ID to deployment."""

    def __init__(self) -> None:
        self._all: dict[str, Deployment] = {}
        self._by_phase: dict[Phase, dict[str, Deployment]] = {
            phase: {} for phase in Phase
        }
        self._by_tag: dict[str, dict[str, Deployment]] = {}
        self._by_host: Counter[str] = Counter()
        self._phase_changes: list[tuple[float, int, Deployment]] = []
        # In the order of the times at which the index noticed the end. This is never
        # before the end itself.
        self._ended: list[tuple[float, Deployment]] = []
        # How many exist that are not of neighbours.
        self.own: int = 0
        # With a serial number in each entry, the heap never compares deployments.
        self._serial = count()

    @property
    def all(self) -> Mapping[str, Deployment]:
        """All deployments, in the order of arrival."""
        return self._all

    def in_phase(self, phase: Phase) -> Mapping[str, Deployment]:
        """Return the deployments in a phase."""
        return self._by_phase[phase]

    def with_tag(self, name: str) -> Mapping[str, Deployment]:
        """Return the deployments with a tag."""
        return self._by_tag.get(name, {})

    def on_host(self, host: Host) -> int:
        """Return how many deployments are on a host."""
        return self._by_host[host.host_id]

    def ended_since(self, when: float) -> list[Deployment]:
        """Return the deployments that existed at a time and have ended since."""
        first = bisect_right(self._ended, when, key=itemgetter(0))
        return [
            deployment
            for _, deployment in self._ended[first:]
            if deployment.terminated_at > when
        ]

    def forget_ended(self, keep: int) -> list[Deployment]:
        """Forget and return all ended deployments but the last `keep`."""
        excess = max(0, len(self._ended) - keep)
        forgotten = [deployment for _, deployment in self._ended[:excess]]
        del self._ended[:excess]
        return forgotten

    def advance(self, now: float) -> None:
        """Carry out all phase changes that are due."""
        while self._phase_changes and self._phase_changes[0][0] <= now:
            self.update(heappop(self._phase_changes)[2], now)

    def add(self, deployment: Deployment, now: float) -> None:
        """Add a new deployment."""
        self._all[deployment.request_id] = deployment
        for name in deployment.tags:
            self._by_tag.setdefault(name, {})[deployment.request_id] = deployment
        if deployment.host:
            self._by_host[deployment.host.host_id] += 1
        self.own += deployment.number >= 0
        self.update(deployment, now)

    def update(self, deployment: Deployment, now: float) -> None:
        """Update a deployment whose phase or next phase change may differ."""
        self._by_phase[deployment.phase].pop(deployment.request_id, None)
        deployment.phase = deployment.phase_at(now)
        if deployment.phase is Phase.ENDED:
            self._remove(deployment, now)
            return
        self._by_phase[deployment.phase][deployment.request_id] = deployment
        # Older entries of this deployment stay in the heap. An entry without a phase
        # change has no effect.
        self._add_phase_change(deployment, now)
        if len(self._phase_changes) > 2 * len(self._all) + _FEW:
            self._drop_outdated(now)

    def _add_phase_change(self, deployment: Deployment, now: float) -> None:
        if (change := deployment.next_phase_change(now)) < inf:
            heappush(self._phase_changes, (change, next(self._serial), deployment))

    def _drop_outdated(self, now: float) -> None:
        """Keep the next phase change of each deployment that exists.

        The entry for the end by age of a stopped deployment is due only after a day.
        """
        # A change that is due now is kept: `advance` may be about to carry it out.
        due = [entry for entry in self._phase_changes if entry[0] <= now]
        self._phase_changes = due
        heapify(self._phase_changes)
        for deployment in self._all.values():
            self._add_phase_change(deployment, now)

    def add_tag(self, deployment: Deployment, name: str, tag: Tag) -> None:
        """Add a tag to a deployment."""
        deployment.tags[name] = tag
        self._by_tag.setdefault(name, {})[deployment.request_id] = deployment

    def remove_tag(self, deployment: Deployment, name: str) -> None:
        """Remove a tag from a deployment."""
        del deployment.tags[name]
        self._forget_tag(deployment, name)

    def _remove(self, deployment: Deployment, now: float) -> None:
        if self._all.pop(deployment.request_id, None) is None:
            return
        self._ended.append((now, deployment))
        self.own -= deployment.number >= 0
        for name in deployment.tags:
            self._forget_tag(deployment, name)
        if deployment.host:
            self._by_host[deployment.host.host_id] -= 1

    def _forget_tag(self, deployment: Deployment, name: str) -> None:
        tagged = self._by_tag[name]
        del tagged[deployment.request_id]
        if not tagged:
            del self._by_tag[name]
