"""All that is said to aiolimiter: a short burst, then an even pace."""

from aiolimiter import AsyncLimiter

# Halvings by which the available tokens are estimated: to a thousandth of the burst.
PRECISION = 10
# A refill rate that differs by less keeps its bucket, as a new one costs half a turn of
# it.
TOLERANCE = 0.02


class BurstShaper:
    """Shapes the requests that the slots let through.

    Args:
        burst: how many requests may be sent at once after a pause; 0: any number.
        refill: requests per second after the burst.
    """

    def __init__(self, burst: int, refill: float) -> None:
        self._bucket = _bucket(burst, refill)
        self._burst, self._refill = burst, refill
        # Tokens that are known to be available. They stay so until they are taken.
        self._known = 0.0

    @property
    def unlimited(self) -> bool:
        """Whether it lets everything through."""
        return self._bucket is None

    def try_reserve(self) -> bool:
        """Reserve a token if one is certainly available. `acquire` then takes it
        without waiting.
        """
        if self._bucket is None:
            return True
        self._known = self._known or _certain(self._bucket)
        if not self._known:
            return False
        self._known -= 1
        return True

    async def acquire(self) -> None:
        """Wait for a token, and take it."""
        if self._bucket is not None:
            await self._bucket.acquire()

    def forget(self) -> None:
        """The head of the queue takes a token that a newcomer may know of."""
        self._known = 0.0

    def differs(self, burst: int, refill: float) -> bool:
        """Whether another burst or pace is wanted."""
        if self._bucket is None:
            return False
        return self._burst != burst or abs(refill - self._refill) >= TOLERANCE * refill

    async def reshape(self, burst: int, refill: float) -> None:
        """Follow another rate. An `AsyncLimiter` can't change its pace, and a new one
        starts with its burst, so that is taken from it.
        """
        self._burst, self._refill = burst, refill
        self._bucket = _bucket(burst, refill)
        if self._bucket is not None:
            await self._bucket.acquire(burst)

    def available(self) -> float:
        """The tokens that are available, rather a little more: aiolimiter only tells
        whether an amount is there.
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


def _bucket(burst: int, refill: float) -> AsyncLimiter | None:
    return AsyncLimiter(burst, burst / refill) if burst else None


def _certain(bucket: AsyncLimiter) -> float:
    """Tokens that are certainly available: all, one or none, as asking costs as much as
    taking.
    """
    for amount in (bucket.max_rate, 1.0):
        if bucket.has_capacity(amount):
            return amount
    return 0.0
