"""What changed in a running simulator since the last look: the events of the page.

One look serves all clients. It goes through the deployments that exist, and keeps what
it has shown of each.
"""

from collections import Counter
from math import floor

from ..._version import __version__
from ..http.responses import Json
from ..parts import Parts
from ..world.deployment import Deployment
from ..world.locations import LOCATIONS
from . import bodies

# A page with more rows would be slow. Further deployments are counted, but not shown.
MAX_SHOWN = 20_000
_GROUPS = ("pending", "ready", "error", "terminating")


class Changes:
    """Looks at a simulator again and again."""

    def __init__(self, parts: Parts, *, needs_token: bool) -> None:
        self._parts = parts
        self._needs_token = needs_token
        # What was shown of each deployment: its state and its tags.
        self._shown: dict[str, tuple[str, ...]] = {}
        self._resets = parts.world.resets
        # In whole seconds: the counts of earlier seconds can't change any more.
        self._looked_at = floor(parts.now())

    def noticed_reset(self) -> bool:
        """Return whether the simulator was reset since the last look.

        Then nothing of what was shown exists any more, and clients need a snapshot.
        """
        if self._resets == self._parts.world.resets:
            return False
        self._resets = self._parts.world.resets
        self._shown.clear()
        return True

    def look(self) -> Json:
        """Return what changed since the last look."""
        now, clock = self._parts.now(), self._parts.world.clock
        own = self._own(now)
        removed = self._shown.keys() - {each.request_id for each, _ in own}
        for each in removed:
            del self._shown[each]
        changed = [each for each, state in own if self._is_news(each, state)]
        since, self._looked_at = self._looked_at, floor(now)
        return {
            "deployments": [bodies.row(each, now, clock) for each in changed],
            "removed": list(removed),
            **self._totals(own, now, since),
        }

    def snapshot(self) -> Json:
        """Return everything that was shown. Call it right after a look."""
        parts, now = self._parts, self._parts.now()
        clock, own = parts.world.clock, self._own(now)
        return {
            "url": parts.url,
            "version": __version__,
            "needs_token": self._needs_token,
            "started_at": clock.iso(parts.started_at),
            "cities": _CITIES,
            "deployments": [
                bodies.row(each, now, clock)
                for each, _ in own
                if each.request_id in self._shown
            ],
            **self._totals(own, now, None),
        }

    def _own(self, now: float) -> list[tuple[Deployment, str]]:
        """Return what exists without the neighbours, each with its state."""
        return [
            (each, bodies.state_of(each, now))
            for each in self._parts.world.existing(now)
            if each.number >= 0
        ]

    def _is_news(self, it: Deployment, state: str) -> bool:
        """Return whether something was not shown yet, and keep that it is by now."""
        shown = self._shown.get(it.request_id)
        if shown is None and len(self._shown) >= MAX_SHOWN:
            return False
        # A stop of a deployment that starts does not change its state yet.
        stopped = "stop" if it.stop_requested_at is not None else ""
        current = (state, stopped, *it.tags)
        if shown == current:
            return False
        self._shown[it.request_id] = current
        return True

    def _totals(
        self, own: list[tuple[Deployment, str]], now: float, since: int | None
    ) -> Json:
        parts = self._parts
        groups = Counter[str]()
        for state, count in Counter(state for _, state in own).items():
            groups[bodies.group_of(state)] += count
        return {
            "time": parts.world.clock.iso(now),
            "clock": now,
            "states": {group: groups[group] for group in _GROUPS},
            "not_shown": len(own) - len(self._shown),
            "counts": {
                "deployed": parts.world.deployed_count,
                "stopped": parts.world.stopped_count,
                "most_at_once": parts.world.most_at_once,
                "webhooks": parts.webhooks.counts(),
            },
            **bodies.limits(parts.limits, since),
            "faults": bodies.faults(parts.injector),
        }


_CITIES = [
    {
        "city": each.city,
        "country": each.country,
        "latitude": each.latitude,
        "longitude": each.longitude,
    }
    for each in LOCATIONS
]
