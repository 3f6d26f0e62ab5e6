"""Two values: what an operation of the API is, and what a documented limit is.

Client, simulator, README and tests read the same values; who wants to know a path or a
rate asks the table in `endpoints.py`, which is made of these.
"""

from typing import Generic, Literal, TypeVar

from msgspec import Struct

LimitName = Literal["deploy", "status", "list", "other"]
Method = Literal["GET", "POST", "PATCH", "DELETE"]

# Invariant on purpose: with covariance a wrong body would pass both type checkers.
B = TypeVar("B")
T = TypeVar("T")


class Limit(Struct, frozen=True):
    """A limit of the API: `rate` requests per second, `burst` of them at once.

    `rate=None` is no limit at all; `burst=None` leaves it to the bucket.
    """

    name: LimitName
    rate: float | None
    burst: int | None = None


class Endpoint(Struct, Generic[B, T], frozen=True):
    """One operation of the API: a row of the table in `endpoints.py`.

    `{name}` in `path` is the syntax of aiohttp's router, so that client and simulator
    use the string as it stands.
    """

    method: Method
    path: str
    takes: type[B]
    returns: type[T]
    limit: Limit
    # the method of the session that serves it
    call: str
    # a lost answer may have started a server that costs money
    starts_server: bool = False
    # the answer may hold bytes that are not UTF-8, and is still wanted
    lossy_text: bool = False
    # the path under which the API may serve it by now
    renamed: "Endpoint[B, T] | None" = None

    @property
    def repeatable(self) -> bool:
        """Whether a request whose answer was lost may be sent again without doing its
        deed twice.
        """
        return self.method in ("GET", "DELETE")

    def __str__(self) -> str:
        return f"{self.call} ({self.method} {self.path})"
