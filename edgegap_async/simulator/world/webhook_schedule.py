"""Schedules the webhooks of deployments. The caller passes the time.

    STARTING -> READY ("ready") -> TERMINATED ("terminated")
             -> ERROR ("error") -> TERMINATED ("terminated")

A stop makes "terminated" due earlier. A deployment that is stopped while it starts
sends only "terminated".
"""

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import count
from math import inf

from .deployment import Deployment

READY, ERROR, TERMINATED = "ready", "error", "terminated"

# Below this number of entries, removing outdated ones is not worth it.
_FEW = 64


@dataclass(frozen=True, slots=True)
class DueWebhook:
    """A webhook to send: the deployment, the event, the URL, and the time."""

    deployment: Deployment
    event: str
    url: str
    when: float


class WebhookSchedule:
    """The webhooks that are not sent yet.

    `pop_due` removes a webhook from its deployment, so it is due only once.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Deployment, str]] = []
        # With a serial number in each entry, the heap never compares deployments, and
        # entries with equal times keep the order of arrival.
        self._serial = count()
        self._crowded = _FEW

    def add(self, deployment: Deployment) -> None:
        """Schedule the webhooks of a deployment that is new, was just stopped, or has
        just crashed.
        """
        if len(self._heap) > self._crowded:
            self._drop_outdated()
        for event in deployment.webhooks:
            # An entry from before a stop stays in the heap. When it is due, its webhook
            # has been sent already, so it is skipped.
            if (when := _due(deployment, event)) < inf:
                heappush(self._heap, (when, next(self._serial), deployment, event))

    def _drop_outdated(self) -> None:
        """Remove the entries whose webhook was sent by another entry.

        The end of a stopped deployment would otherwise be an entry for a day.
        """
        self._heap = [entry for entry in self._heap if entry[3] in entry[2].webhooks]
        heapify(self._heap)
        self._crowded = 2 * len(self._heap) + _FEW

    def next_due(self) -> float:
        """Return the time at which the next webhook is due; inf if there is none."""
        while self._heap and self._heap[0][3] not in self._heap[0][2].webhooks:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else inf

    def pop_due(self, now: float) -> Iterator[DueWebhook]:
        """Remove and yield all webhooks that are due."""
        while self.next_due() <= now:
            when, _, deployment, event = heappop(self._heap)
            url = deployment.webhooks.pop(event)
            if event == TERMINATED or when < deployment.terminating_at:
                yield DueWebhook(deployment, event, url, when)


def _due(deployment: Deployment, event: str) -> float:
    if event == TERMINATED:
        return deployment.terminated_at
    if event == ERROR:
        return deployment.failed_at
    return inf if deployment.fails else deployment.ready_or_failed_at
