"""Whether a call is tried again, and when. Pure: no socket and no clock.

never sent              retried at no cost, as nothing was done; but not if the server's
                        certificate is invalid
429                     retried at no cost: it was refused, not processed
no answer, 408 or 5xx   GET and DELETE are retried, out of the session's retry budget;
                        POST, PUT and PATCH never
anything else           is the answer
"""

import logging
from datetime import datetime
from email.utils import parsedate_to_datetime
from math import inf

from msgspec.structs import force_setattr

from ..errors import (
    ApiError,
    DeadlineExceeded,
    EdgegapError,
    RateLimited,
    ResponseTooLarge,
    SessionClosed,
    TransportError,
    UnexpectedAnswer,
)
from ..models._check import seconds, whole_number
from ..models._plain import PlainData

log = logging.getLogger("edgegap_async")
# Seconds between two attempts at most; more would leave a 60 s deadline with too few.
LONGEST_PAUSE = 8.0
# Seconds of Retry-After that are obeyed at most. One wrong header must not stop a
# matchmaker for an hour.
LONGEST_RETRY_AFTER = 60.0
# Seconds of nothing but 429 after which a call without a deadline ends.
LONGEST_REFUSAL = 60.0
# Seconds without any connection after which a call without a deadline ends.
LONGEST_OUTAGE = 60.0
# Seconds between two attempts to connect at most. They cost the server nothing, and a
# call with a timeout of 15 s must not sleep through the end of an outage.
LONGEST_RECONNECT_PAUSE = 2.0
# Seconds before the deadline in which another attempt to connect is not worth it.
TOO_LATE_TO_CONNECT = 0.05
# What a success without a retry gives back to the budget: one call in five may be a
# retry for ever.
REFUND = 0.2


class Retry(PlainData, frozen=True, kw_only=True):
    """How a session retries.

    Args:
        tries: how often one call is sent at most. Refusals with 429 and requests that
            were never sent (no connection) don't count: they are retried until the
            deadline, or for a minute without one. 1 turns all retries off, these too.
        backoff: seconds that the first retry waits at most, doubled for each further
            one. The wait is drawn at random below that.
        budget: how many retries of lost or failed requests the session may have
            outstanding. Each success gives some back. When it is empty, a failure is
            raised at once, so that an outage is not multiplied.
    """

    tries: int = 5
    backoff: float = 0.25
    budget: int = 100

    def __post_init__(self) -> None:
        force_setattr(self, "tries", whole_number("retry: tries", self.tries, 1))
        force_setattr(self, "backoff", seconds("retry: backoff", self.backoff))
        force_setattr(self, "budget", whole_number("retry: budget", self.budget, 0))


class RetryBudget:
    """The retries that a session has left."""

    def __init__(self, size: int) -> None:
        self._size = self._left = float(size)

    def take(self) -> bool:
        """Spend one retry, if there is one."""
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def refund(self, taken: int) -> None:
        """A call succeeded after `taken` retries."""
        self._left = min(self._size, self._left + (taken or REFUND))


class RetryState:
    """The failures of one call so far."""

    def __init__(self, repeatable: bool, retry: Retry, budget: RetryBudget) -> None:
        self._repeatable = repeatable
        self._retry = retry
        self._budget = budget
        self._refused_since: float | None = None
        self._refusals = 0
        self._unsent_since: float | None = None
        self._unsent = 0
        # Attempts that were sent, and not refused with 429.
        self.tries = 0
        # The attempts that the budget has paid for: one before them may have been
        # processed.
        self.repeats = 0

    def pause(
        self,
        error: EdgegapError,
        now: float,
        deadline: float | None,
        chance: float,
        *,
        sent: bool,
        connected: float = -inf,
    ) -> float | None:
        """Seconds to wait before the next attempt, or None if `error` ends the call.

        Args:
            error: the error of the latest attempt.
            chance: drawn from [0, 1). With full jitter, a thousand calls that failed
                together don't return together.
            sent: whether the latest attempt may have been sent. `error.request_sent`
                speaks of the whole call.
            connected: when the session last started a request that was sent, on the
                loop's clock.
        """
        if self._retry.tries == 1 or isinstance(
            error, DeadlineExceeded | SessionClosed
        ):
            return None
        if not sent:
            return self._pause_unsent(error, now, deadline, chance, connected)
        self._unsent, self._unsent_since = 0, None
        if isinstance(error, RateLimited):
            return self._pause_refused(error, now, deadline, chance)
        self._refusals, self._refused_since = 0, None
        self.tries += 1
        if self.tries >= self._retry.tries:
            return None
        if not (self._repeatable and _is_temporary(error) and self._budget.take()):
            return None
        self.repeats += 1
        pause = self._jitter(self.tries, chance)
        if isinstance(error, ApiError):
            return max(pause, error.retry_after or 0.0)
        return pause

    def _pause_refused(
        self, error: RateLimited, now: float, deadline: float | None, chance: float
    ) -> float | None:
        self._refusals += 1
        if self._refused_since is None:
            self._refused_since = now
        if deadline is None and now - self._refused_since >= LONGEST_REFUSAL:
            return None
        pause = self._jitter(self._refusals, chance)
        if error.retry_after is None:
            return pause
        # Afterwards the call goes back to its place in the queue. Even with
        # `Retry-After: 0`, wait the backoff.
        if deadline is not None and now + error.retry_after >= deadline:
            return None
        return max(pause, error.retry_after)

    def _pause_unsent(
        self,
        error: EdgegapError,
        now: float,
        deadline: float | None,
        chance: float,
        connected: float,
    ) -> float | None:
        self._refusals, self._refused_since = 0, None
        if isinstance(error, TransportError) and error.permanent:
            return None
        self._unsent += 1
        if self._unsent_since is None:
            self._unsent_since = now
        pause = min(LONGEST_RECONNECT_PAUSE, self._backoff(self._unsent))
        if deadline is None:
            outage = now - max(self._unsent_since, connected)
            return None if outage >= LONGEST_OUTAGE else chance * pause
        left = deadline - now
        return left if left <= TOO_LATE_TO_CONNECT else chance * min(pause, left)

    def _backoff(self, count: int) -> float:
        return self._retry.backoff * 2.0 ** min(count - 1, 16)

    def _jitter(self, count: int, chance: float) -> float:
        return chance * min(LONGEST_PAUSE, self._backoff(count))


def _is_temporary(error: EdgegapError) -> bool:
    if isinstance(error, ApiError):
        return error.status == 408 or error.status >= 500
    if isinstance(error, UnexpectedAnswer):
        # A page of a proxy, or an answer that was cut off. A larger one stays large.
        return error.status < 300 and not isinstance(error, ResponseTooLarge)
    return isinstance(error, TransportError)


def parse_retry_after(
    value: str | None, date: str | None, now: datetime
) -> float | None:
    """Seconds of a `Retry-After` header that are obeyed, at most `LONGEST_RETRY_AFTER`.
    The arguments and None are those of `read_retry_after`.
    """
    wait = read_retry_after(value, date, now)
    return None if wait is None else clamp_retry_after(wait)


def read_retry_after(
    value: str | None, date: str | None, now: datetime
) -> float | None:
    """Seconds that a `Retry-After` header asks for. Below 0: a time that has passed.

    Args:
        value: a number, or an HTTP date.
        date: the answer's own `Date`, against which a date is read.

    Returns:
        None if there is no value or it can't be read.
    """
    if value is None:
        return None
    try:
        wait = float(value)
    except ValueError:
        until = _http_date(value)
        if until is None:
            return None
        wait = (until - (_http_date(date) or now)).total_seconds()
    # Also False for NaN.
    return wait if wait < inf else None


def clamp_retry_after(wait: float) -> float:
    """The seconds of a `Retry-After` that are obeyed."""
    if wait > LONGEST_RETRY_AFTER:
        log.warning(
            "Retry-After of %.0f s is clamped to %.0f s",
            wait,
            LONGEST_RETRY_AFTER,
            extra={"wait": wait},
        )
    return min(max(wait, 0.0), LONGEST_RETRY_AFTER)


def _http_date(value: str | None) -> datetime | None:
    try:
        parsed = parsedate_to_datetime(value or "")
    except (ValueError, OverflowError):
        return None
    return parsed if parsed.tzinfo else None
