"""Whether a list can be believed when it shows nothing: its filters may be ignored,
refused, or match nothing. Pure.
"""

from collections.abc import Collection
from math import inf

# characters of IDs in a URL of 6,000 bytes: about 280 of them
ROOM = 5600
# where even so few are refused, it is not their number
LEAST_ROOM = 400
# seconds after which a list must show what a status has shown: lists lag
LAG = 3.0
# seconds until the filters get another chance
DISTRUST = 60.0
# lists that fail in a row, after which each status is asked for
FAILING = 3
# seconds until a list is tried again then
RETRY_AFTER_FAILURE = 2.0
MOST_EXPECTED = 20


class FilterHealth:
    """What the lists have been worth so far."""

    def __init__(self) -> None:
        # a list of those in a state has shown something of ours
        self.proven: bool = False
        self.room: int = ROOM
        self._failures = 0
        # when lists that fail get another chance
        self._retry_at = -inf
        # when distrust of the filters ends
        self._until = -inf
        # READY by their status, since when; the list has not shown them
        self._expected: dict[str, float] = {}

    @property
    def failing(self) -> bool:
        """Whether lists tell nothing at all at the moment."""
        return self._failures >= FAILING

    @property
    def expected(self) -> Collection[str]:
        """What the next list must show, or it is wrong."""
        return tuple(self._expected)

    def filters(self, now: float) -> bool:
        """Whether the filters are believed."""
        return now >= self._until

    def distrust(self, now: float) -> None:
        """The filters do not do what they are for."""
        self._until, self._expected, self.proven, self.room = (
            now + DISTRUST,
            {},
            False,
            ROOM,
        )

    def refused(self, size: int, now: float) -> None:
        """A list with so many characters of IDs was refused: for its length, or for its
        filters.
        """
        self.room = min(self.room, size // 2)
        if self.room < LEAST_ROOM:
            self.distrust(now)

    def lists(self, now: float) -> bool:
        """Whether to ask for lists at all: for those that fail only now and then."""
        return not self.failing or now >= self._retry_at

    def failed(self, now: float) -> None:
        """A list was not answered, or with an error."""
        self._failures += 1
        self._retry_at = now + RETRY_AFTER_FAILURE

    def answered(self) -> None:
        """A list was answered."""
        self._failures = 0

    def not_shown(self, request_id: str, now: float) -> None:
        """A status says READY, and no list did."""
        if len(self._expected) < MOST_EXPECTED:
            self._expected.setdefault(request_id, now)

    def forget(self, request_id: str) -> None:
        """It is being stopped: no list needs to show it."""
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
        """A filtered list asked for at `began` has shown these. `sound`: all in the
        state that was asked for; `full`: there is more that it did not show.
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
