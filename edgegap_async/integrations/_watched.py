"""What metrics have in common: open sessions tell gauges how they are at any moment. Any
thread may read it.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias
from weakref import ref

from .._limits.config import LimitUsage
from .._limits.limiter import Limiter
from ..endpoints import LIMITS, LimitName
from ..events import Event
from ..models._check import instance
from ..session import EdgegapSession, limiters_of

Kind: TypeAlias = Literal["counter", "histogram", "gauge"]
# The upper ends of the buckets, for requests, queues and servers.
SECONDS = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)


class Load(NamedTuple):
    """How much a limit is used.

    Attributes:
        rate: requests per second that are allowed at the moment.
        waiting: calls in the queues.
        in_flight: requests that have no answer yet.
    """

    rate: float = 0.0
    waiting: int = 0
    in_flight: int = 0


class SessionWatcher:
    """Watches sessions, for gauges. It keeps none of them alive."""

    def __init__(self) -> None:
        # It is replaced, never changed: other threads read it.
        self._sessions: tuple[ref[EdgegapSession], ...] = ()

    def watch(self, session: EdgegapSession) -> EdgegapSession:
        """Let the gauges tell of a session too, until it is closed. They are sums over all
        sessions that are watched, and keep none of them alive. What sessions share, as they
        have the same token, counts once.

        Returns:
            The session.

        Raises:
            ValueError: it is no session.
        """
        instance("session", session, EdgegapSession)
        known = {ref(each) for each in self._alive()}
        self._sessions = (*(known | {ref(session)}),)
        return session

    def _alive(self) -> list[EdgegapSession]:
        return [it for each in self._sessions if (it := each()) is not None]

    def _held(self) -> int:
        """How many servers the sessions have to stop."""
        return sum(it.held for it in self._alive() if limiters_of(it) is not None)

    def _loads(self) -> Mapping[LimitName, Load]:
        """How much each limit is used. Sessions with the same token share a budget, which
        counts once.
        """
        limiters = [it for each in self._alive() if (it := limiters_of(each))]
        return {
            limit.name: _total([each[limit.name] for each in limiters])
            for limit in LIMITS
        }


def by(event: Event) -> str:
    """Who has made a call: "user" or "session"."""
    return "session" if event.caused_by else "user"


def _total(limiters: list[Limiter]) -> Load:
    # A limiter is the queue of one loop, and its slots are those of the process.
    queues = {id(each): each.usage() for each in limiters}
    budgets: dict[int, LimitUsage] = {
        id(each.slots): queues[id(each)] for each in limiters
    }
    return Load(
        rate=sum(
            float("inf") if it.rate is None else it.rate for it in budgets.values()
        ),
        waiting=sum(it.waiting for it in queues.values()),
        in_flight=sum(it.in_flight for it in budgets.values()),
    )
