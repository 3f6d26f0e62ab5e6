"""Records what happens in a load test: 32 bytes for each deploy, and some numbers for each
second. This module does no I/O.
"""

from array import array
from collections import defaultdict
from collections.abc import Iterator
from heapq import heappush, heappushpop
from math import nan

from .._deploys.batch import DeployOutcome
from ..endpoints import LimitName
from ..errors import EdgegapError
from .report import FailureKind, Slow

# The slowest servers that a report lists.
SLOWEST = 20
# Examples of each kind of failure.
MOST_IDS = 5
# Characters of the message of a failure.
LONGEST_MESSAGE = 300


class PerSecond:
    """Counts for each second of a test."""

    def __init__(self) -> None:
        self._counts = array("l")

    def add(self, at: float, count: int = 1) -> None:
        """Count something that happened so many seconds after the beginning."""
        second = max(int(at), 0)
        if second >= len(self._counts):
            self._counts.extend([0] * (second + 1 - len(self._counts)))
        self._counts[second] += count

    def values(self, seconds: int) -> list[int]:
        """The counts of so many seconds. The last one has what came later."""
        kept = self._counts[:seconds].tolist()
        kept += [0] * (seconds - len(kept))
        kept[-1] += sum(self._counts[seconds:])
        return kept


class Recording:
    """What was recorded so far. All times are in seconds from the beginning of the test.

    Attributes:
        due, queued, accepted_after, ready_after: of each deploy that was sent; NaN: it
            was not accepted, or not ready.
        outcomes, ready, failed, stopped: how many there were.
    """

    def __init__(self) -> None:
        self.due: array[float] = array("d")
        self.queued: array[float] = array("d")
        self.accepted_after: array[float] = array("d")
        self.ready_after: array[float] = array("d")
        self.outcomes: int = 0
        self.ready: int = 0
        self.failed: int = 0
        self.stopped: int = 0
        self.seconds: defaultdict[str, PerSecond] = defaultdict(PerSecond)
        self.failures_by_second: defaultdict[str, PerSecond] = defaultdict(PerSecond)
        self.refused: defaultdict[LimitName, PerSecond] = defaultdict(PerSecond)
        self.failures: dict[str, FailureKind] = {}
        # A heap of (total, number, row).
        self._slowest: list[tuple[float, int, Slow]] = []

    def add(self, outcome: DeployOutcome, due: float, taken: float, now: float) -> None:
        """Record an outcome.

        Args:
            due: when its deploy was due.
            taken: when `deploy_many` took it.
            now: when its outcome was known.
        """
        self.outcomes += 1
        if outcome.queued is not None:
            sent = taken + outcome.queued
            self.seconds["sent"].add(sent)
            self.seconds["done"].add(now)
            self._add_row(outcome, due, sent - due)
        if outcome.error is not None:
            self._add_failure(outcome.error, now)

    def _add_row(self, outcome: DeployOutcome, due: float, queued: float) -> None:
        accepted, ready = outcome.accepted_after, outcome.ready_after
        self.due.append(due)
        self.queued.append(queued)
        self.accepted_after.append(nan if accepted is None else accepted)
        self.ready_after.append(nan if ready is None else ready)
        if ready is None or outcome.deployment is None:
            return
        self.ready += 1
        self.seconds["ready"].add(due + queued + ready)
        slow = Slow(
            request_id=outcome.deployment.request_id,
            due=due,
            queued=queued,
            accepted_after=ready if accepted is None else accepted,
            ready_after=ready,
        )
        entry = (slow.total, self.outcomes, slow)
        if len(self._slowest) < SLOWEST:
            heappush(self._slowest, entry)
        else:
            heappushpop(self._slowest, entry)

    def _add_failure(self, error: EdgegapError, now: float) -> None:
        self.failed += 1
        kind = type(error).__name__
        self.failures_by_second[kind].add(now)
        known = self.failures.get(kind)
        request_id = getattr(error, "request_id", None)
        ids = known.request_ids if known else []
        if isinstance(request_id, str) and len(ids) < MOST_IDS:
            ids = [*ids, request_id]
        self.failures[kind] = FailureKind(
            kind=kind,
            count=known.count + 1 if known else 1,
            first=known.first if known else now,
            last=now,
            message=known.message if known else str(error)[:LONGEST_MESSAGE],
            request_ids=ids,
        )

    def add_stopped(self, now: float, *, was_ready: bool) -> None:
        """A server was stopped."""
        self.stopped += 1
        if was_ready:
            self.seconds["stopped"].add(now)

    @property
    def slowest(self) -> list[Slow]:
        """The servers that took longest, the slowest first."""
        return [slow for *_, slow in sorted(self._slowest, reverse=True)]

    @property
    def sent_by(self) -> Iterator[float]:
        """When each deploy was sent."""
        return map(float.__add__, self.due, self.queued)
