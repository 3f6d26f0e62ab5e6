"""What a session knows about each deployment: one bounded record by request_id.

It serves everything that asks about a deployment: who must stop it (`leases`,
`stopper` in `_deploys/`), how old it is (`existence`), which webhooks are its own
(`_deploys/webhook_router.py`), and when it can be READY (`_waiters/watcher.py`).
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from itertools import islice
from math import inf

from .state import ALIVE, DeployRecord, DeployState

# More than the session can deploy in two minutes. Records that the session must not
# lose, as it has to stop their servers, are kept beyond that.
MOST_RECORDS = 10_000
# Deployments of others whose age is remembered.
MOST_SEEN = 5_000
_DUE = frozenset({DeployState.LEASED, DeployState.STOPPING})


class Records:
    """The record of each deployment that this session has seen."""

    def __init__(self) -> None:
        # The latest last.
        self._records: dict[str, DeployRecord] = {}
        # When other deployments were first seen, on the loop's clock. The latest last.
        self._seen: OrderedDict[str, float] = OrderedDict()
        # With how many records to look for some that can be evicted.
        self._evict_at = 0

    def __contains__(self, request_id: str) -> bool:
        """Whether this session has seen a deployment."""
        return request_id in self._seen or request_id in self._records

    def get(self, request_id: str) -> DeployRecord | None:
        """The record of a deployment, if there is one."""
        return self._records.get(request_id)

    def add(self, request_id: str, record: DeployRecord) -> None:
        """A deploy of this session has got its server."""
        record.request_id = request_id
        if known := self._records.pop(request_id, None):
            record.last_event = record.last_event or known.last_event
        self._records[request_id] = record
        self._evict()

    def of(self, request_id: str) -> DeployRecord:
        """The record of a deployment, perhaps of one that is not of this session."""
        if record := self._records.get(request_id):
            return record
        record = DeployRecord(DeployState.RELEASED)
        self.add(request_id, record)
        return record

    def seen(self, request_ids: Iterable[str]) -> None:
        """Answers of the API show that these deployments exist."""
        now = asyncio.get_running_loop().time()
        for request_id in request_ids:
            record = self._records.get(request_id)
            if record is None:
                self._seen.setdefault(request_id, now)
            elif record.seen_at is None and request_id not in self._seen:
                # A caller has named it before.
                record.seen_at = now
        while len(self._seen) > MOST_SEEN:
            self._seen.popitem(last=False)

    def seen_before(self, request_id: str, time: float) -> bool:
        """Whether a deployment existed at a time, as far as this session knows."""
        record = self._records.get(request_id)
        first = record.seen_at if record else None
        if first is None:
            first = self._seen.get(request_id)
        return first is not None and first < time

    def age(self, request_id: str, now: float) -> float:
        """Seconds since this session first saw that a deployment exists. Infinite if it
        was never seen, or once a stop was accepted: then "gone" may be believed at once.
        """
        record = self._records.get(request_id)
        if record and record.state is DeployState.ENDED:
            return inf
        first = record.seen_at if record else None
        if first is None:
            first = self._seen.get(request_id, -inf)
        return now - first

    def in_state(self, state: DeployState) -> list[DeployRecord]:
        """The records in a state."""
        return [each for each in self._records.values() if each.state is state]

    @property
    def due(self) -> int:
        """How many servers the session has to stop. Any thread may ask."""
        return sum(each.state in _DUE for each in [*self._records.values()])

    def alive(self) -> list[DeployRecord]:
        """The records whose servers run, as far as this session knows."""
        return [each for each in self._records.values() if each.state in ALIVE]

    def _evict(self) -> None:
        if len(self._records) <= max(MOST_RECORDS, self._evict_at):
            return
        evictable = (key for key, it in self._records.items() if it.state not in _DUE)
        too_many = len(self._records) - MOST_RECORDS
        for key in list(islice(evictable, too_many)):
            del self._records[key]
        # If most of them must be kept, looking at all of them each time would hold the
        # loop up.
        kept = len(self._records)
        self._evict_at = kept + kept // 8 if kept > MOST_RECORDS else 0
