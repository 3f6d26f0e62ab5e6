"""`SharedState`: where the processes of one organization share their state."""

import os
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import NoReturn, TypeAlias
from urllib.parse import urlsplit

from .._limits.registry import budget_key
from .._masking import Secret, revealed, secret_of
from ..models._check import fail, label, number, optional_callables

# Makes a synchronous client of Redis or Valkey.
ClientFactory: TypeAlias = Callable[[], object]
# The schemes of URLs for Redis and Valkey, as redis-py calls them.
REDIS_SCHEMES = {
    "redis": "redis",
    "rediss": "rediss",
    "unix": "unix",
    "valkey": "redis",
    "valkeys": "rediss",
    "valkey+unix": "unix",
}
# Hex digits of a hash as a key.
KEY_DIGITS = 24
# Seconds.
LEASE, SHORTEST_LEASE, LONGEST_LEASE = 5.0, 4.0, 60.0
OWNER_LEASE, SHORTEST_OWNER_LEASE, LONGEST_OWNER_LEASE = 60.0, 1.0, 3600.0


@dataclass(frozen=True, slots=True, repr=False, init=False)
class SharedState:
    """Where the processes of one organization share their state: in a file of SQLite, or
    in Redis or Valkey.

        SharedState("sqlite:////var/lib/matchmaker/edgegap.db")  # one machine
        SharedState("redis://10.0.0.5:6379/0")  # many: edgegap-async[redis]

    Give an equal one to each process.

    Args:
        url: of the file, as an absolute path, or of the server. It is never shown.
        client: in place of a URL: makes a synchronous client, such as one for Sentinel
            or a cluster. It is called in a thread. Give the client time-outs of 1 s and
            no retries.
        key: a name for the organization. Not given: a hash of base URL and token.
            Processes with different tokens of one organization need a common key.
        fallback: the part of each limit that a process uses while the store does not
            answer, from 0 to 1. 0: calls wait. Not given: so much that all processes
            together use half of each limit.
        lease: seconds for which a process goes on as before without the store, less
            the time that its last requests need.
        owner_lease: seconds after which another process takes over what a process was
            responsible for, once it does not answer any more.

    Raises:
        ValueError: an argument is wrong; the text names it.
    """

    url: str | None = None
    _: KW_ONLY
    client: ClientFactory | None = None
    key: str | None = None
    fallback: float | None = None
    lease: float = LEASE
    owner_lease: float = OWNER_LEASE

    def __init__(
        self,
        url: str | None = None,
        *,
        client: ClientFactory | None = None,
        key: str | None = None,
        fallback: float | None = None,
        lease: float = LEASE,
        owner_lease: float = OWNER_LEASE,
    ) -> None:
        given = url is not None
        # An error must not leave from a frame that holds the URL.
        checked = secret_of(_checked_url, url) if given else None
        del url
        optional_callables(client=client)
        if given is (client is not None):
            fail("url", "or client must be given, and not both")
        values = {
            "url": None if checked is None else revealed(checked),
            "client": client,
            "key": None if key is None else _key(key),
            "fallback": None
            if fallback is None
            else number("fallback", fallback, 0, 1),
            "lease": number("lease", lease, SHORTEST_LEASE, LONGEST_LEASE),
            "owner_lease": number(
                "owner_lease", owner_lease, SHORTEST_OWNER_LEASE, LONGEST_OWNER_LEASE
            ),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def path(self) -> str | None:
        """The path of the SQLite file. None: it is no file."""
        if self.url is None or not self.url.startswith("sqlite:"):
            return None
        return _sqlite_path(self.url)

    @property
    def redis_url(self) -> Secret:
        """The URL of a server, as redis-py reads it."""
        scheme, _, rest = (self.url or "").partition("://")
        return Secret(f"{REDIS_SCHEMES[scheme]}://{rest}")

    def key_for(self, base_url: str, token: str) -> str:
        """The name of the organization: the one that was given, or a hash."""
        return self.key or budget_key(base_url, token).hex()[:KEY_DIGITS]

    def __repr__(self) -> str:
        if not hasattr(self, "owner_lease"):
            # A debugger shows it while its arguments are checked.
            return "SharedState()"
        kind = "client" if self.url is None else urlsplit(self.url).scheme
        key = "" if self.key is None else f", key={self.key!r}"
        lease = "" if self.owner_lease == OWNER_LEASE else f", {self.owner_lease:g} s"
        return f"SharedState(<{kind}>{key}{lease})"


def _checked_url(value: object) -> str:
    if not isinstance(value, str):
        fail("url", f"must be a string, not {type(value).__name__}")
    url = str.__str__(value).strip()
    scheme = url.partition("://")[0].lower()
    if scheme == "sqlite":
        _sqlite_path(url)
    elif scheme in REDIS_SCHEMES:
        _check_redis(url)
    else:
        _fail_of_form()
    return scheme + url[len(scheme) :]


def _sqlite_path(url: str) -> str:
    """The path in `sqlite:///path`, where an absolute one begins with a fourth slash."""
    rest = url[len("sqlite://") :]
    path = rest[1:]
    if not rest.startswith("/") or path in ("", ":memory:") or "?" in path:
        _fail_of_form()
    if "\0" in path or path.endswith("/"):
        fail("url", "must name a file")
    if not os.path.isabs(path):
        fail(
            "url",
            "must have an absolute path, with four slashes: sqlite:////var/lib/matchmaker/edgegap.db. With a relative "
            "one, each working directory would have a file of its own",
        )
    return path


def _check_redis(url: str) -> None:
    try:
        parts = urlsplit(url)
        named = parts.path if "unix" in parts.scheme else parts.hostname
        valid = bool(named) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        fail("url", "must have a host and a port: redis://host:6379/0")


def _fail_of_form() -> NoReturn:
    # The URL may hold a password, so it is not shown.
    fail(
        "url",
        "must be sqlite:////absolute/path for the processes of one machine, or redis://host:6379/0 (rediss:// with "
        "TLS) for many machines",
    )


def _key(value: object) -> str:
    key = label("key", value)
    if "{" in key or "}" in key:
        fail("key", "must have no braces")
    return key
