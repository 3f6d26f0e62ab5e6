"""From the simulator's seconds to the texts that stand in answers, and back."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

WRITTEN = "%Y-%m-%d %H:%M:%S.%f"


class Clock:
    """Time in words. `zero` is the date at which the simulator's seconds are 0, taken
    once: no clock is set later.
    """

    def __init__(self, zero: datetime) -> None:
        self._zero = zero

    def at(self, seconds: float) -> datetime:
        """The date at a time."""
        return self._zero + timedelta(seconds=seconds)

    def text(self, seconds: float) -> str:
        """As most answers write it: "2025-11-29 22:35:31.971359"."""
        return self.at(seconds).strftime(WRITTEN)

    def text_in_milliseconds(self, seconds: float) -> str:
        """As metrics write it: "2021-07-14 14:17:37.711"."""
        return self.text(seconds)[:-3]

    def iso(self, seconds: float) -> str:
        """As fleet hosts write it: "2025-11-26T16:32:30.825138Z"."""
        return self.at(seconds).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def http(self, seconds: float) -> str:
        """As a header writes it: "Sat, 29 Nov 2025 22:35:31 GMT"."""
        return format_datetime(self.at(seconds), usegmt=True)

    def seconds(self, text: str) -> float:
        """The time that an ISO 8601 date means; without a zone it is UTC.

        Raises:
            ValueError: it is no such date.
        """
        return self._seconds(datetime.fromisoformat(text))

    def seconds_as_written(self, text: str) -> float:
        """The time that a text means which is written as most answers write it, and in
        no other way.

        Raises:
            ValueError: it is not.
        """
        return self._seconds(datetime.strptime(text, WRITTEN))

    def _seconds(self, date: datetime) -> float:
        return (
            (date if date.tzinfo else date.replace(tzinfo=UTC)) - self._zero
        ).total_seconds()
