"""A call of an operation, and what serves it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from msgspec import DecodeError, json

from ...endpoints import B, Endpoint, T
from ..faults.lists import PickFault
from ..world.deployment import Deployment
from ..world.errors import ApiError
from ..world.world import World
from .required import check_required
from .responses import JsonResponse


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an operation.

    Args:
        world: The state of the API.
        now: The current time in seconds.
        path_params: The parameters of the path.
        query: The parameters of the query string.
        authorization: The `Authorization` header.
        pick_fault: Returns the fault of this call at a stage. It also takes the fields
            that the call filters by.
        allocated: Whether a deploy gets a server.
    """

    world: World
    now: float
    path_params: Mapping[str, str]
    query: Mapping[str, str]
    authorization: str
    pick_fault: PickFault
    allocated: bool = True

    def deployment(self) -> Deployment:
        """Return the deployment in the path."""
        return self.world.find(self.path_params["request_id"], self.now)

    def deployment_to_stop(self) -> Deployment:
        """Return the deployment in the path, or raise the errors of a stop."""
        return self.world.find_to_stop(self.path_params["request_id"], self.now)


@dataclass(frozen=True, slots=True)
class Handler:
    """Serves a row of `endpoints.py`.

    With `own_token`, the operation checks another token than the API token.
    """

    respond: Callable[[Call, bytes], JsonResponse]
    own_token: bool = False


Entry: TypeAlias = tuple[str, Handler]


def without_body(
    endpoint: Endpoint[None, T],
    operation: Callable[[Call], JsonResponse],
    *,
    own_token: bool = False,
) -> Entry:
    """Return the entry of an operation that has no body."""
    return endpoint.call, Handler(lambda call, body: operation(call), own_token)


def with_body(
    endpoint: Endpoint[B, T], operation: Callable[[Call, B], JsonResponse]
) -> Entry:
    """Return the entry of an operation that has a body. A wrong body is answered 400."""
    decoder = json.Decoder(endpoint.takes)

    def respond(call: Call, body: bytes) -> JsonResponse:
        try:
            decoded = decoder.decode(body)
            check_required(body)
            return operation(call, decoded)
        except (DecodeError, UnicodeDecodeError) as error:
            raise ApiError(400, f"Bad request: {error}") from None

    return endpoint.call, Handler(respond)
