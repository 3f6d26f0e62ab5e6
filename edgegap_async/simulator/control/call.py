"""`ControlCall`: a request to an endpoint under `/_simulator/`, as its handler gets it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from msgspec import DecodeError, json

from ..parts import Parts
from ..world.deployment import Deployment
from ..world.errors import ApiError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ControlCall:
    """One request.

    Args:
        parts: The parts of the simulator.
        path_params: The parameters of the path.
        query: The parameters of the query string.
        body: The body.
        has_token: Whether the request may see the values of an environment.
    """

    parts: Parts
    path_params: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes
    has_token: bool

    def deployment(self) -> Deployment:
        """Return the deployment in the path, past or present.

        Raises:
            ApiError: 404: it never existed, or is forgotten.
        """
        request_id, world = self.path_params["request_id"], self.parts.world
        world.advance(self.parts.now())
        try:
            return world.known(request_id)
        except LookupError:
            raise ApiError(404, f"Deployment {request_id} not found") from None

    def decoded(self, type_: type[T]) -> T:
        """Return the body as a struct.

        Raises:
            ApiError: 400: the body is wrong.
        """
        try:
            return json.decode(self.body, type=type_)
        except (DecodeError, UnicodeDecodeError) as error:
            raise ApiError(400, f"Bad request: {error}") from None

    def only(self, *names: str) -> None:
        """Check the names of the query.

        Raises:
            ApiError: 400: the query has another parameter.
        """
        for name in self.query:
            if name not in names:
                raise ApiError(
                    400, f"there is no parameter {name}; there are: {', '.join(names)}"
                )
