"""For code that runs inside a deployment: its ARBITRIUM_* variables, and its stop."""

import os
from collections.abc import Mapping
from types import NoneType
from typing import ClassVar, TypeVar
from urllib.parse import urlsplit

import msgspec

from ._limits.config import Limits
from ._masking import revealed, secret_of, without_frames
from ._transport.client import Transport
from ._transport.retry import Retry
from .endpoints import OTHER_LIMIT, Endpoint
from .models._check import fail, log_storage_query
from .models._lenient import UnreadableError, decode
from .models._urls import api_url, token_text
from .models._wire import Answer, ByName
from .models.deployment import Port, StopResult
from .models.location import Location

T = TypeVar("T")
# Seconds for the stop, and for each attempt: the defaults of a session.
STOP_TIMEOUT, ATTEMPT_TIMEOUT = 60.0, 15.0


class _PortsMapping(Answer, frozen=True, kw_only=True):
    ports: ByName[Port] = msgspec.field(default_factory=dict[str, Port])


class Container(Answer, frozen=True, kw_only=True):
    """The ARBITRIUM_* variables of the container of a deployment.

    Its repr hides the delete token, and `to_dict` leaves it out, with the URL.
    """

    secret_fields: ClassVar[frozenset[str]] = frozenset({"delete_url", "delete_token"})

    request_id: str
    public_ip: str | None = None
    host_id: str | None = None
    tags: tuple[str, ...] = ()
    location: Location | None = None
    ports: Mapping[str, Port] = msgspec.field(default_factory=dict[str, Port])
    delete_url: str | None = None
    delete_token: str | None = None

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> "Container":
        """Read the variables.

        Args:
            environ: the variables. None: those of the process.

        Raises:
            ValueError: a variable is missing or can't be read; the text names it.
        """
        try:
            return cls._of(os.environ if environ is None else environ)
        except ValueError as error:
            del environ
            raise without_frames(error)  # noqa: B904

    @classmethod
    def _of(cls, env: Mapping[str, str]) -> "Container":
        return cls(
            request_id=_given(env, "ARBITRIUM_REQUEST_ID"),
            public_ip=env.get("ARBITRIUM_PUBLIC_IP"),
            host_id=env.get("ARBITRIUM_HOST_ID"),
            tags=tuple(
                tag
                for tag in env.get("ARBITRIUM_DEPLOYMENT_TAGS", "").split(",")
                if tag
            ),
            location=_read(env, "ARBITRIUM_DEPLOYMENT_LOCATION", Location),
            ports=(
                _read(env, "ARBITRIUM_PORTS_MAPPING", _PortsMapping) or _PortsMapping()
            ).ports,
            delete_url=env.get("ARBITRIUM_DELETE_URL"),
            delete_token=env.get("ARBITRIUM_DELETE_TOKEN"),
        )

    def __repr__(self) -> str:
        return f"Container({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        # rich calls this method. The one of msgspec would show the delete token.
        return [
            ("request_id", self.request_id),
            ("public_ip", self.public_ip),
            ("ports", self.ports),
        ]


def _given(env: Mapping[str, str], name: str) -> str:
    """A variable that Edgegap sets in every container."""
    value = env.get(name)
    if not value:
        fail(name, "is not set: this is not a deployment's container")
    return value


def _read(env: Mapping[str, str], name: str, kind: type[T]) -> T | None:
    if env.get(name, "").strip() in ("", "null"):
        return None
    try:
        return decode(env[name].encode("utf-8", "surrogatepass"), kind)
    except UnreadableError as error:
        fail(name, f"can't be read: {error}")


def _own(name: object) -> str:
    """A variable of this process."""
    try:
        return _given(os.environ, str(name))
    except ValueError as error:
        # The environment holds the delete token.
        raise without_frames(error)  # noqa: B904


def _own_token(name: object) -> str:
    return token_text(str(name), _own(name))


async def stop_self(container_log_storage: bool | str | None = None) -> StopResult:
    """Stop the deployment in which this code runs.

    It calls DELETE /v1/self/stop/{request_id}/{access_point_id} with
    ARBITRIUM_DELETE_URL and ARBITRIUM_DELETE_TOKEN, which Edgegap sets in the
    container.

    Args:
        container_log_storage: whether to keep the logs, or the name of the endpoint
            storage that keeps them. None: the API decides.

    Raises:
        ValueError: a variable is missing or wrong; the text names it.
        EdgegapError: see the tree in `errors`.
    """
    url = api_url("ARBITRIUM_DELETE_URL", _own("ARBITRIUM_DELETE_URL"))
    token = revealed(secret_of(_own_token, "ARBITRIUM_DELETE_TOKEN"))
    parts = urlsplit(url)
    endpoint = Endpoint(
        "DELETE",
        parts.path,
        NoneType,
        StopResult,
        OTHER_LIMIT,
        "container.stop_self",
        delete_token=True,
    )
    transport = Transport(
        f"{parts.scheme}://{parts.netloc}",
        token,
        scheme="",
        limits=Limits(),
        retry=Retry(),
        timeout=STOP_TIMEOUT,
        attempt_timeout=ATTEMPT_TIMEOUT,
    )
    try:
        return await transport.call(
            endpoint, query=log_storage_query(container_log_storage)
        )
    finally:
        transport.abort()
        await transport.aclose()
