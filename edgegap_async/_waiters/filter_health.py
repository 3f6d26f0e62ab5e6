"""Checks whether the list filters work.

A server may ignore a filter, refuse it, or match nothing with it. Then a list that
shows nothing means nothing. This module does no I/O and reads no clock.
"""

from collections.abc import Collection
from math import inf

from .._transport.queries import ROOM, TOO_LONG

# Characters of IDs. If the API refuses even a list with fewer, its length is not the
# cause.
LEAST_ROOM = 400
# Seconds after which a list must show a deployment whose status is READY. Lists lag
# behind statuses.
LAG = 3.0
# HTTP statuses with which the API refuses a filter or a URL that is too long.
REFUSALS = (400, *TOO_LONG)
# Seconds until filters that do not work are used again.
DISTRUST = 60.0
# So many failed lists in a row make the poller poll each status.
FAILING = 3
# Seconds between two lists then.
RETRY_AFTER_FAILURE = 2.0
# Deployments that a list must show at a time. Their IDs take room in its filter.
MOST_EXPECTED = 20


class FilterHealth:
    """The results of the lists so far.

    Attributes:
        proven: a filtered list has shown a deployment of a waiter.
        room: how many characters of IDs fit into a URL.
    """

    def __init__(self) -> None:
        self.proven: bool = False
        self.room: int = ROOM
        self._failures = 0
        # The time of the next list while lists fail.
        self._retry_at = -inf
        # The time at which the filters are trusted again.
        self._until = -inf
        # Deployments whose status is READY, but that no list has shown, with the time
        # of that status.
        self._expected: dict[str, float] = {}

    @property
    def failing(self) -> bool:
        """Whether all lists fail at the moment."""
        return self._failures >= FAILING

    @property
    def expected(self) -> Collection[str]:
        """The deployments that the next list must show."""
        return tuple(self._expected)

    def filters_trusted(self, now: float) -> bool:
        """Return whether the filters are trusted."""
        return now >= self._until

    def distrust(self, now: float) -> None:
        """Stop trusting the filters for a minute."""
        self._until, self._expected, self.proven, self.room = (
            now + DISTRUST,
            {},
            False,
            ROOM,
        )

    def refused(self, size: int, now: float) -> None:
        """Record that the API refused a list, for its length or for its filters.

        Args:
            size: characters of IDs in its URL.
        """
        self.room = min(self.room, size // 2)
        if self.room < LEAST_ROOM:
            self.distrust(now)

    def lists_work(self, now: float) -> bool:
        """Return whether to poll lists now. While they fail, they are polled rarely."""
        return not self.failing or now >= self._retry_at

    def failed(self, now: float) -> None:
        """Record a list that had no answer, or an error."""
        self._failures += 1
        self._retry_at = now + RETRY_AFTER_FAILURE

    def answered(self) -> None:
        """Record a list that was answered."""
        self._failures = 0

    def not_shown(self, request_id: str, now: float) -> None:
        """Record a deployment whose status is READY, but that no list has shown."""
        if len(self._expected) < MOST_EXPECTED:
            self._expected.setdefault(request_id, now)

    def forget(self, request_id: str) -> None:
        """No longer expect a deployment in a list: it is stopped, or was shown."""
        self._expected.pop(request_id, None)

    def judge(
        self,
        shown: Collection[str],
        asked: Collection[str],
        began: float,
        *,
        sound: bool,
        full: bool,
    ) -> None:
        """Check the filters by the rows of a list.

        Args:
            shown: the IDs of its rows.
            asked: the IDs of its filter.
            began: when its request began.
            sound: all rows have the state of its filter.
            full: there are more rows on further pages.
        """
        self.answered()
        if not sound or not set(shown) <= set(asked):
            self.distrust(began)
            return
        self.proven = self.proven or bool(shown)
        for request_id in shown:
            self.forget(request_id)
        if not full and any(began > since + LAG for since in self._expected.values()):
            self.distrust(began)
