"""Conversion between the simulator's seconds and the dates in the API's JSON."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

DATE_FORMAT = "%Y-%m-%d %H:%M:%S.%f"


class Clock:
    """Formats and parses dates.

    Args:
        epoch: The date at which the simulator's seconds are 0. It never changes, so an
            adjustment of the system clock has no effect.
    """

    def __init__(self, epoch: datetime) -> None:
        self._epoch = epoch

    def at(self, seconds: float) -> datetime:
        """Return the date at a time."""
        return self._epoch + timedelta(seconds=seconds)

    def text(self, seconds: float) -> str:
        """Format a time as most responses do: "2025-11-29 22:35:31.971359"."""
        return self.at(seconds).strftime(DATE_FORMAT)

    def text_in_milliseconds(self, seconds: float) -> str:
        """Format a time as metrics do: "2021-07-14 14:17:37.711"."""
        return self.text(seconds)[:-3]

    def iso(self, seconds: float) -> str:
        """Format a time as fleet hosts do: "2025-11-26T16:32:30.825138Z"."""
        return self.at(seconds).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def http(self, seconds: float) -> str:
        """Format a time for an HTTP header: "Sat, 29 Nov 2025 22:35:31 GMT"."""
        return format_datetime(self.at(seconds), usegmt=True)

    def seconds(self, text: str) -> float:
        """Parse an ISO 8601 date. Without a time zone, it is UTC.

        Raises:
            ValueError: The text is not an ISO 8601 date.
        """
        return self._seconds(datetime.fromisoformat(text))

    def parse_exact(self, text: str) -> float:
        """Parse a date in `DATE_FORMAT`, and in no other format.

        Raises:
            ValueError: The text has another format.
        """
        return self._seconds(datetime.strptime(text, DATE_FORMAT))

    def _seconds(self, date: datetime) -> float:
        in_utc = date if date.tzinfo else date.replace(tzinfo=UTC)
        return (in_utc - self._epoch).total_seconds()
