"""The connections of a session.

Requests that a lost answer makes doubtful (POST, PUT, PATCH) go out on a fresh
connection, or on one that was idle for a moment only: a balancer that closes idle
connections would cost a search for the server each time. So they have a pool of their
own.

Deploys and stops keep a part of the connections. All others together use the rest, so
bodies that never end can't delay a deploy.
"""

import asyncio
import warnings
from collections.abc import Mapping
from math import inf
from typing import Any

import aiohttp

from ..endpoints import Endpoint
from .environment import DIRECT, Network
from .permits import Permit, Permits

# Connections; aiohttp writes it as 0.
UNLIMITED = 1e9
# Seconds that a connection may be idle before a POST. Balancers that are known to close
# early do so after two seconds, and the request has to get there before.
LONGEST_IDLE = 1.0
# Bodies of more than 1 MiB that are read or decoded at a time.
MOST_LARGE = 4


class Connector(aiohttp.TCPConnector):
    """Connections that a forked child can leave to its parent.

    Attributes:
        of_parent: they are not closed when the connector is collected. To close one in
            the child is to take it out of the parent's event loop too.
    """

    of_parent = False

    def __del__(self, _warnings: Any = warnings) -> None:
        if not self.of_parent:
            super().__del__(_warnings)


class Pool:
    """The HTTP session of the caller, or two that are made for the first request.

    Args:
        http: the caller's, which is never closed here. Its connections stay idle as
            long as its own settings allow.
        connections: how many requests there can be at a time.
        kept: how many of them are for deploys and stops alone.
        headers: of every request.
        network: how our own connections reach the API.

    Attributes:
        has_headers: whether the HTTP sessions send our headers by themselves.
    """

    def __init__(
        self,
        http: aiohttp.ClientSession | None,
        connections: float,
        kept: float,
        headers: Mapping[str, str],
        network: Network = DIRECT,
    ) -> None:
        self._http = http
        self._headers = headers
        self._network = network
        self._size = connections if connections < UNLIMITED else inf
        # Ours, by `Endpoint.repeatable`: for GET and DELETE, and for the other methods.
        self._own: dict[bool, aiohttp.ClientSession] = {}
        # aiohttp sends the headers of a session to its proxy, too, which must not get
        # the token.
        self.has_headers: bool = http is None and network.proxy is None
        self._closed = False
        # For large bodies: together they must not fill the memory.
        self._large = Permits(MOST_LARGE)
        # For decoding, which needs several times the memory of the body.
        self.decoding = asyncio.Lock()
        size = self._size if http is None else _size_of(http)
        self._others: Permits | None = None
        if size < inf:
            share = 1 - kept / connections if connections < inf else 0.5
            self._others = Permits(max(1, int(size * share)))

    @property
    def closed(self) -> bool:
        """Whether the HTTP session is closed, ours or the caller's."""
        return self._closed if self._http is None else self._http.closed

    def permit(self, endpoint: Endpoint[Any, Any]) -> Permit:
        """What a call needs to use a connection, and to hold a large body."""
        others = None if endpoint.keeps_connections else self._others
        return Permit(others, self._large)

    def http(self, endpoint: Endpoint[Any, Any]) -> aiohttp.ClientSession:
        """The HTTP session for an operation."""
        if self._http is not None:
            return self._http
        made = self._own.get(endpoint.repeatable)
        return made or self._open(repeatable=endpoint.repeatable)

    def _open(self, *, repeatable: bool) -> aiohttp.ClientSession:
        limit = int(self._size) if self._size < inf else 0
        # True: aiohttp's own context, which is made once per process.
        certificates = self._network.certificates or True
        connector = (
            Connector(limit=limit, ssl=certificates)
            if repeatable
            else Connector(
                limit=limit, ssl=certificates, keepalive_timeout=LONGEST_IDLE
            )
        )
        # The session's headers are copied as they are; a request's are merged one by
        # one.
        self._own[repeatable] = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=self._headers if self.has_headers else None,
            proxy=self._network.proxy,
        )
        return self._own[repeatable]

    def clear_dns_cache(self) -> None:
        """No connection was made: the API, or a proxy, may have moved."""
        for http in (self._http, *self._own.values()):
            connector = http.connector if http else None
            if isinstance(connector, aiohttp.TCPConnector):
                connector.clear_dns_cache()

    def discard(self) -> None:
        """Drop the HTTP sessions that are ours, after their loop has ended."""
        self._closed = True
        for http in self._own.values():
            connector = http.connector
            http.detach()
            with warnings.catch_warnings():
                # The session itself says that it was not closed.
                warnings.simplefilter("ignore", ResourceWarning)
                del connector
        self._own.clear()

    def leave_to_parent(self) -> None:
        """Never use nor close the connections, in a forked child."""
        self._closed = True
        for http in self._own.values():
            if isinstance(http.connector, Connector):
                http.connector.of_parent = True
            http.detach()

    async def aclose(self) -> None:
        """Close the HTTP sessions that are ours."""
        self._closed = True
        for http in [*self._own.values()]:
            await http.close()


def _size_of(http: aiohttp.ClientSession) -> float:
    """The connections of a caller's pool."""
    connector = http.connector
    if connector is None:
        return inf
    return min(connector.limit or inf, connector.limit_per_host or inf)
