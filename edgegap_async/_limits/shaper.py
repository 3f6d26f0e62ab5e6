"""The shaper of a limit: it allows a burst of requests, then spaces them evenly.

This is the only module that uses aiolimiter.
"""

from collections.abc import Awaitable

from aiolimiter import AsyncLimiter

# Steps of the binary search for the available tokens. Ten find them to a thousandth of
# the burst.
PRECISION = 10
# A change of the refill rate by less than this share keeps the bucket. A new bucket
# delays the next request, on average by half of the time between two requests.
TOLERANCE = 0.02


class BurstShaper:
    """Delays requests that have a slot, so that they are sent evenly after a burst.

    Args:
        burst: how many requests may be sent at once after a pause. 0: any number.
        refill: requests per second after the burst.
    """

    def __init__(self, burst: int, refill: float) -> None:
        self._bucket = _bucket(burst, refill)
        self._burst, self._refill = burst, refill
        # Tokens that are certainly available, until a call takes them.
        self._known = 0.0

    @property
    def unlimited(self) -> bool:
        """Whether the shaper delays no request."""
        return self._bucket is None

    def try_reserve(self) -> bool:
        """Reserve a token if one is certainly available.

        After True, `acquire` takes the token without waiting.
        """
        if self._bucket is None:
            return True
        self._known = self._known or _certain(self._bucket)
        if not self._known:
            return False
        self._known -= 1
        return True

    def acquire(self) -> Awaitable[None]:
        """Wait for a token, and take it."""
        return _at_once() if self._bucket is None else self._bucket.acquire()

    def forget(self) -> None:
        """Forget which tokens are certainly available.

        The head of the queue calls it before it takes a token that may be among them.
        """
        self._known = 0.0

    def differs(self, burst: int, refill: float) -> bool:
        """Return whether these values differ from the current ones."""
        if self._bucket is None:
            return False
        return self._burst != burst or abs(refill - self._refill) >= TOLERANCE * refill

    async def reshape(self, burst: int, refill: float) -> None:
        """Change the burst and the refill rate.

        An `AsyncLimiter` can't change its rate, so a new one replaces it. A new one
        starts full and would allow another burst, so all its tokens are taken first.
        """
        self._burst, self._refill = burst, refill
        self._bucket = _bucket(burst, refill)
        if self._bucket is not None:
            await self._bucket.acquire(burst)

    def available(self) -> float:
        """Return the available tokens, rounded up to a thousandth of the burst.

        aiolimiter only reports whether a given amount is available, so this is a binary
        search.
        """
        if self._bucket is None:
            return 0.0
        least, most = 0.0, self._bucket.max_rate
        for _ in range(PRECISION):
            middle = (least + most) / 2
            if self._bucket.has_capacity(middle):
                least = middle
            else:
                most = middle
        return most


async def _at_once() -> None:
    pass


def _bucket(burst: int, refill: float) -> AsyncLimiter | None:
    return AsyncLimiter(burst, burst / refill) if burst else None


def _certain(bucket: AsyncLimiter) -> float:
    """Return a number of tokens that are certainly available: all, one or none.

    A more exact search would cost more than it saves: a question to aiolimiter takes as
    long as an `acquire`.
    """
    for amount in (bucket.max_rate, 1.0):
        if bucket.has_capacity(amount):
            return amount
    return 0.0
