"""Whether a list can be trusted when it shows nothing: its filters may be ignored,
refused, or match nothing. Pure.
"""

from collections.abc import Collection
from math import inf

# Characters of IDs in a URL of 6,000 bytes: about 280 IDs.
ROOM = 5600
# If even so few are refused, their number is not the cause.
LEAST_ROOM = 400
# Seconds after which a list must show what a status has shown: lists lag.
LAG = 3.0
# Seconds until the filters are tried again.
DISTRUST = 60.0
# Lists in a row that fail, after which each status is polled.
FAILING = 3
# Seconds until a list is tried again then.
RETRY_AFTER_FAILURE = 2.0
MOST_EXPECTED = 20


class FilterHealth:
    """How the lists have behaved so far."""

    def __init__(self) -> None:
        # A list of those in a state has shown one of ours.
        self.proven: bool = False
        self.room: int = ROOM
        self._failures = 0
        # When lists that fail are tried again.
        self._retry_at = -inf
        # When the filters are trusted again.
        self._until = -inf
        # Deployments that are READY by their status, and since when, that no list has
        # shown.
        self._expected: dict[str, float] = {}

    @property
    def failing(self) -> bool:
        """Whether lists do not work at all at the moment."""
        return self._failures >= FAILING

    @property
    def expected(self) -> Collection[str]:
        """The deployments that the next list must show."""
        return tuple(self._expected)

    def filters(self, now: float) -> bool:
        """Whether the filters are trusted."""
        return now >= self._until

    def distrust(self, now: float) -> None:
        """The filters do not work."""
        self._until, self._expected, self.proven, self.room = (
            now + DISTRUST,
            {},
            False,
            ROOM,
        )

    def refused(self, size: int, now: float) -> None:
        """A list with so many characters of IDs was refused, for its length or for its
        filters.
        """
        self.room = min(self.room, size // 2)
        if self.room < LEAST_ROOM:
            self.distrust(now)

    def lists(self, now: float) -> bool:
        """Whether to ask for lists. Lists that fail are asked for now and then."""
        return not self.failing or now >= self._retry_at

    def failed(self, now: float) -> None:
        """A list had no answer, or an error."""
        self._failures += 1
        self._retry_at = now + RETRY_AFTER_FAILURE

    def answered(self) -> None:
        """A list was answered."""
        self._failures = 0

    def not_shown(self, request_id: str, now: float) -> None:
        """A status says READY, and no list has shown it."""
        if len(self._expected) < MOST_EXPECTED:
            self._expected.setdefault(request_id, now)

    def forget(self, request_id: str) -> None:
        """It is being stopped, so no list must show it."""
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
        """Judge the filters by what a list has shown.

        Args:
            asked: the IDs that it was filtered by.
            began: when it was asked for.
            sound: all rows are in the state that was asked for.
            full: there are more rows than it showed.
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
