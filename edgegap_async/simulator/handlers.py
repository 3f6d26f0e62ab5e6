"""What each operation does: one handler per row of the table in `endpoints.py`, by the method that serves the row.

A handler is pure: it takes a call, acts on the world, and gives the answer. A new row needs its line in HANDLERS.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from msgspec import DecodeError, json

from .._endpoint import Endpoint
from ..models.deploy import DeployRequest
from ..models.deployment import BulkStopRequest
from . import answers
from .answers import Json
from .life import Deployment, Phase
from .world import Refusal, World

B = TypeVar("B")
T = TypeVar("T")

_PAGE_SIZE = 10  # inferred: nobody says how long a page is unless asked


@dataclass(frozen=True, slots=True)
class Call:
    """One request, in the words of the API: `words` are those of its path, `now` is in seconds."""

    world: World
    now: float
    words: Mapping[str, str]
    query: Mapping[str, str]
    authorization: str

    def deployment(self) -> Deployment:
        """The deployment that the path names."""
        return self.world.find(self.words["request_id"], self.now)


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered."""

    status: int
    body: Json | None = None


@dataclass(frozen=True, slots=True)
class Handler:
    """Serves a row. `own_token`: it takes no API token, but one of its own, and checks it itself."""

    answer: Callable[[Call, bytes], Reply]
    own_token: bool = False


Named: TypeAlias = tuple[str, Handler]


def _asks(row: Endpoint[None, T], deed: Callable[[Call], Reply], *, own_token: bool = False) -> Named:
    return row.call, Handler(lambda call, body: deed(call), own_token)


def _takes(row: Endpoint[B, T], deed: Callable[[Call, B], Reply]) -> Named:
    decoder = json.Decoder(row.takes)

    def answer(call: Call, body: bytes) -> Reply:
        try:
            return deed(call, decoder.decode(body))
        except (DecodeError, UnicodeDecodeError) as problem:
            raise Refusal(400, f"Bad request: {problem}") from None

    return row.call, Handler(answer)


def _deploy(call: Call, body: DeployRequest) -> Reply:
    return Reply(202, {"request_id": call.world.deploy(body, call.now).request_id})


def _status(call: Call) -> Reply:
    found = call.world.find(call.words["request_id"], call.now, ended_too=True)
    return Reply(200, answers.status(found, call.now, call.world.clock))


def _stop(call: Call) -> Reply:
    return _stopped(call, call.world.find_to_stop(call.words["request_id"], call.now))


def _self_stop(call: Call) -> Reply:
    found = call.world.find_to_stop(call.words["request_id"], call.now)
    if call.authorization != found.delete_token:
        raise Refusal(401, "Invalid token")
    if call.words["access_point_id"] != str(found.access_point):
        raise Refusal(404, "Access point not found")
    return _stopped(call, found)


def _stopped(call: Call, found: Deployment) -> Reply:
    """200 if the stop is carried out at once, 202 if it waits; both with all that the page's sample has."""
    waits = found.phase is Phase.STARTING
    call.world.stop(found, call.now)
    summary = answers.status(found, call.now, call.world.clock)
    message = f"Instance {found.request_id} will be deleted"
    return Reply(202 if waits else 200, {"message": message, "deployment_summary": summary})


def _bulk_stop(call: Call, body: BulkStopRequest) -> Reply:
    with _naming_the_field():
        found = call.world.bulk_stop(body.filters, call.now)
    return Reply(202, {"processable": [{"request_id": it.request_id} for it in found]})
