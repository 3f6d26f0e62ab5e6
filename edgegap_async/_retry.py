"""Pure decisions: whether a call is tried again, and when. No socket and no clock is in
here.

never sent                          again, at no cost: nothing happened; but not if the
                                    server's certificate is invalid
429                                 again, at no cost: it was refused, not processed
no answer, 408 or 5xx               again for GET and DELETE, out of the session's
budget; POST and PATCH never
anything else                       is the answer
"""

from datetime import datetime
from email.utils import parsedate_to_datetime
from math import inf

from msgspec import Struct

from .errors import (
    ApiError,
    DeadlineExceeded,
    EdgegapError,
    RateLimited,
    SessionClosed,
    TransportError,
)
from .models._check import seconds, whole_number

# seconds; more would leave a 60 s deadline with too few tries
LONGEST_PAUSE = 8.0
# seconds of Retry-After that are believed; one wrong header must not stop a matchmaker
# for an hour
LONGEST_HOLD = 60.0
# seconds of nothing but 429 after which a call without a deadline ends
LONGEST_REFUSAL = 60.0
# seconds without any connection after which a call without a deadline ends
LONGEST_OUTAGE = 60.0
# seconds between two attempts to connect: they cost the server nothing, and whoever has
# a time-out of 15 s must not sleep through the end of an outage
LONGEST_RECONNECT_PAUSE = 2.0
# seconds before the deadline in which another attempt to connect is not worth it
LAST_MOMENT = 0.05
# what a first answer gives back to the budget: one call in five may be a repeat for
# ever
REFUND = 0.2


class Retry(Struct, frozen=True, kw_only=True):
    """How a session repeats.

    Args:
        tries: how often one call is sent at most. Refusals with 429 and requests that
            were never sent (no connection) don't count: they are retried until the
            deadline, without one for a minute. 1 turns all retries off, these too.
        backoff: seconds that the first repeat waits at most; doubled for each further
            one, drawn at random below that.
        budget: how many repeats of lost or failed requests the session may have
            outstanding; each success gives some back. When it is empty a failure is
            raised at once, so that an outage is not multiplied.
    """

    tries: int = 5
    backoff: float = 0.25
    budget: int = 100

    def __post_init__(self) -> None:
        whole_number("retry: tries", self.tries, 1)
        seconds("retry: backoff", self.backoff)
        whole_number("retry: budget", self.budget, 0)


class Budget:
    """The repeats that a session has left."""

    def __init__(self, size: int) -> None:
        self._size = self._left = float(size)

    def take(self) -> bool:
        """Spend one repeat, if there is one."""
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def give_back(self, taken: int) -> None:
        """A call succeeded after `taken` repeats."""
        self._left = min(self._size, self._left + (taken or REFUND))


class History:
    """What one call has been through so far."""

    def __init__(self, repeatable: bool, retry: Retry, budget: Budget) -> None:
        self._repeatable = repeatable
        self._retry = retry
        self._budget = budget
        self._refused_since: float | None = None
        self._refusals = 0
        self._unsent_since: float | None = None
        self._unsent = 0
        # attempts that were sent, and not refused with 429
        self.tries = 0
        # of these, what the budget paid for: an earlier attempt may have done its deed
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
            error: that of the latest attempt.
            chance: drawn from [0, 1): full jitter, so that a thousand calls that failed
                together don't return together.
            sent: whether the latest attempt may have been sent; `error` tells that of
                the whole call.
            connected: when the session's latest request set out that was sent, on the
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
        if not (self._repeatable and _is_passing(error) and self._budget.take()):
            return None
        self.repeats += 1
        pause = self._jitter(self.tries, chance)
        return (
            max(pause, obeyed(error.retry_after or 0.0))
            if isinstance(error, ApiError)
            else pause
        )

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
        # The bucket as a whole is held until then, and the call goes back to its place
        # in the queue; but "at once" is no leave to hammer.
        held = obeyed(error.retry_after)
        if deadline is not None and now + held >= deadline:
            return None
        return pause if pause > held else 0.0

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
        return left if left <= LAST_MOMENT else chance * min(pause, left)

    def _backoff(self, count: int) -> float:
        return self._retry.backoff * 2.0 ** min(count - 1, 16)

    def _jitter(self, count: int, chance: float) -> float:
        return chance * min(LONGEST_PAUSE, self._backoff(count))


def obeyed(retry_after: float) -> float:
    """Seconds of a `Retry-After` that are obeyed."""
    return min(retry_after, LONGEST_HOLD)


def _is_passing(error: EdgegapError) -> bool:
    if isinstance(error, ApiError):
        return error.status == 408 or error.status >= 500
    return isinstance(error, TransportError)


def retry_after(value: str | None, date: str | None, now: datetime) -> float | None:
    """Seconds that a `Retry-After` header asks for: a number, or a date read against
    the answer's own `Date`.

    None where there is none or it can't be read; more than a minute is cut to a minute
    by who obeys it.
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
    return wait if 0 <= wait < float("inf") else 0.0 if wait < 0 else None


def _http_date(value: str | None) -> datetime | None:
    try:
        parsed = parsedate_to_datetime(value or "")
    except (ValueError, OverflowError):
        return None
    return parsed if parsed.tzinfo else None
