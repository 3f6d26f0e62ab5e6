"""Redis or Valkey, for many machines.

Each operation is one script, as nothing else runs meanwhile. All keys have one hash tag,
so they are in one slot of a cluster.

A client of the package `valkey` works too, so errors are told by the names of their
classes.
"""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, cast

from msgspec import Struct

from .._masking import Secret
from ..models._check import fail
from .store import CONNECT, ROUND_TRIP, StoreError

NO_PERMISSION = (
    "the user has no permission for EVALSHA and EVAL, for another command, or for these keys or channels: see "
    "docs/several-processes.md"
)
# By the names of redis-py's classes, the most special first.
REASONS = {
    "AuthenticationError": "the user or the password is wrong, or missing",
    "AuthenticationWrongNumberOfArgsError": "the user or the password is wrong",
    "NoPermissionError": NO_PERMISSION,
    "AuthorizationError": NO_PERMISSION,
    "ReadOnlyError": "it is a replica that can't be written to",
    "MovedError": "it is a cluster: use client= with a client for clusters",
    "OutOfMemoryError": "it is out of memory",
    "BusyLoadingError": "it is loading its data",
    "MaxConnectionsError": "it has too many connections",
    "InvalidResponse": "it does not speak the protocol of Redis: check the port",
    "TimeoutError": f"no answer within {ROUND_TRIP:g} s",
}
# Parts of errors that a server answers with.
ANSWERS = {
    "OOM": REASONS["OutOfMemoryError"],
    "NOPERM": NO_PERMISSION,
    "ACL failure": NO_PERMISSION,
    "user executing the script": NO_PERMISSION,
    "not allowed from script": "it does not allow a command in a script, such as TIME",
    "NOAUTH": REASONS["AuthenticationError"],
    "WRONGPASS": REASONS["AuthenticationError"],
    "READONLY": REASONS["ReadOnlyError"],
    "unknown command": "it allows no scripts (EVALSHA and EVAL)",
    "WRONGTYPE": "other data is stored under these keys: use another key=",
}


class Script(Struct, frozen=True):
    """A script in Lua, and the hash that a server knows it by."""

    text: str
    sha: str

    @classmethod
    def of(cls, text: str) -> "Script":
        """A script with this text."""
        return cls(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


class RedisStore:
    """Redis or Valkey. The client is made when it is first used.

    Args:
        make_client: makes a synchronous client.
        key: a name for the organization.
    """

    def __init__(self, make_client: Callable[[], Any], key: str) -> None:
        self._make_client, self._prefix = make_client, f"edgegap:{{{key}}}:"
        self._client: Any = None

    def name(self, *parts: str) -> str:
        """The name of a key."""
        return self._prefix + ":".join(parts)

    def run(self, script: Script, keys: Sequence[str], args: Sequence[object]) -> Any:
        """Run a script. A server that does not know it gets its text.

        Returns:
            Its reply. Texts are bytes.

        Raises:
            StoreError: it has failed. It may have run, if no reply came.
        """
        try:
            return _as_bytes(self._run(script, (len(keys), *keys, *args)))
        except Exception as error:  # noqa: BLE001 (all kinds of errors of all clients)
            # The next operation connects again: after a failover, the address may be that
            # of another server, while this one goes on as a replica.
            self.close()
            problem = store_error(error)
        # Not with the error as its context, which may show the URL with the password.
        raise problem

    def new_client(self) -> Any:
        """Make a client for connections of its own."""
        return self._make_client()

    def _run(self, script: Script, arguments: Sequence[object]) -> Any:
        if self._client is None:
            self._client = self._make_client()
        try:
            return self._client.execute_command("EVALSHA", script.sha, *arguments)
        except Exception as error:
            if "NoScriptError" not in _names(error):
                raise
        return self._client.execute_command("EVAL", script.text, *arguments)

    def close(self) -> None:
        """Close the connection."""
        client, self._client = self._client, None
        if client is not None:
            with suppress(Exception):
                client.close()


def client_of(url: Secret) -> Callable[[], Any]:
    """Return what makes the client for a URL. The package is imported now, as the import
    would hold the event loop up for some 50 ms if a thread did it.

    Raises:
        ModuleNotFoundError: redis-py is not installed.
        ValueError: the URL has an option that can't be used.
    """
    try:
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.exceptions import ConnectionError as ConnectionFailed
        from redis.retry import Retry
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "shared needs redis-py: pip install 'edgegap-async[redis]'",
            name=error.name,
        ) from None

    make = partial(
        cast("Any", Redis).from_url,
        url,
        socket_timeout=ROUND_TRIP,
        socket_connect_timeout=CONNECT,
        # A connection that was idle may have been closed meanwhile.
        retry=Retry(NoBackoff(), 1, (ConnectionFailed,)),
        # It connects in fewer round trips than protocol 3.
        protocol=2,
    )
    if not _can_be_made(make):
        fail("shared", "has a URL with an option that redis-py can't use")
    return make


def _can_be_made(make_client: Callable[[], Any]) -> bool:
    """Whether a client and a connection can be made. Nothing is connected."""
    try:
        pool = make_client().connection_pool
        pool.connection_class(**pool.connection_kwargs)
    except Exception:  # noqa: BLE001 (its frames and its text show the URL)
        return False
    return True


def store_error(error: Exception) -> StoreError:
    """What a client has raised, as an error that may be shown."""
    return StoreError(f"shared store: {_reason(error)}")


def _names(error: BaseException) -> list[str]:
    return [kind.__name__ for kind in type(error).__mro__]


def _reason(error: Exception) -> str:
    names = _names(error)
    for name, why in REASONS.items():
        if name in names:
            return why
    if "ResponseError" in names:
        text = str(error)
        found = (why for part, why in ANSWERS.items() if part in text)
        return next(found, f"it has answered an error ({text.partition(' ')[0]})")
    cause = error.__cause__ or error.__context__
    if isinstance(cause, OSError) and cause.strerror:
        return f"no connection: {cause.strerror.lower()}"
    if "ConnectionError" in names or isinstance(error, OSError):
        return "no connection"
    return f"the client has raised {names[0]}"


def _as_bytes(reply: Any) -> Any:
    """A reply of a client that decodes texts, or does not."""
    if isinstance(reply, str):
        return reply.encode()
    if isinstance(reply, list):
        parts = cast("Sequence[object]", reply)
        return [_as_bytes(part) for part in parts]
    return reply
