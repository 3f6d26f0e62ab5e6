"""What each operation does: one handler per row of the table in `endpoints.py`, by the
method that serves the row.

A handler is pure: it takes a call, acts on the world, and gives the answer. A new row
needs its line in HANDLERS.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from msgspec import DecodeError, json

from ... import endpoints as rows
from ..._endpoint import Endpoint
from ...models.deploy import DeployRequest
from ...models.deployment import BulkStopRequest
from ...models.paging import ListQuery
from ...models.tag import TagRequest
from ..faults.fault import Fault, Stage
from ..world.clock import WRITTEN
from ..world.deployment import Deployment, Phase
from ..world.errors import Refusal
from ..world.listing import misread
from ..world.world import World
from . import bodies as answers
from . import container
from .bodies import Json

B = TypeVar("B")
T = TypeVar("T")

_LIST_QUERY = json.Decoder(ListQuery)
# digits
_LONGEST_NUMBER = 10
# inferred: nobody says how long a page is unless asked
_PAGE_SIZE = 10


@dataclass(frozen=True, slots=True)
class Call:
    """One request, in the words of the API: `words` are those of its path, `now` is in
    seconds.

    `strike` gives the fault that strikes it at a stage, by the fields that it filters
    by; `allocated`: a deploy gets a server.
    """

    world: World
    now: float
    words: Mapping[str, str]
    query: Mapping[str, str]
    authorization: str
    strike: Callable[[Stage, Collection[str]], Fault | None]
    allocated: bool = True

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
    """Serves a row. `own_token`: it takes no API token, but one of its own, and checks
    it itself.
    """

    answer: Callable[[Call, bytes], Reply]
    own_token: bool = False


Named: TypeAlias = tuple[str, Handler]


def _asks(
    row: Endpoint[None, T], deed: Callable[[Call], Reply], *, own_token: bool = False
) -> Named:
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
    made = call.world.deploy(body, call.now, allocated=call.allocated)
    if not call.allocated:
        return Reply(422, {"request_id": made.request_id, "message": answers.NO_SERVER})
    return Reply(202, {"request_id": made.request_id})


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
    """200 if the stop is carried out at once, 202 if it waits; both with all that the
    page's sample has.
    """
    waits = found.phase is Phase.STARTING
    call.world.stop(found, call.now)
    summary = answers.status(found, call.now, call.world.clock)
    message = f"Instance {found.request_id} will be deleted"
    return Reply(
        202 if waits else 200, {"message": message, "deployment_summary": summary}
    )


def _bulk_stop(call: Call, body: BulkStopRequest) -> Reply:
    found = call.world.bulk_stop(body.filters, call.now)
    return Reply(202, {"processable": [{"request_id": it.request_id} for it in found]})


def _list(call: Call) -> Reply:
    try:
        query = _LIST_QUERY.decode(call.query.get("query", "{}"))
    except (DecodeError, UnicodeDecodeError) as problem:
        raise Refusal(400, f"query: {problem}") from None
    if query.filters and (
        fault := call.strike("filters", [each.field for each in query.filters])
    ):
        query = misread(query, fault)
    lag = _lag(call)
    page = call.world.page(
        query, _count(call, "page", 1), _count(call, "limit", _PAGE_SIZE), call.now, lag
    )
    return Reply(200, answers.page(page, call.now - lag, call.world.clock))


def _lag(call: Call) -> float:
    fault = call.strike("lag", ())
    return (fault.seconds or 0.0) if fault else 0.0


def _count(call: Call, name: str, default: int) -> int:
    text = call.query.get(name, str(default))
    if not (
        text.isascii()
        and text.isdigit()
        and 0 < len(text) < _LONGEST_NUMBER
        and int(text)
    ):
        raise Refusal(400, f"{name}: must be a whole number from 1, not {text!r}")
    return int(text)


def _locations(call: Call) -> Reply:
    # Every location has the resources for every application: `app` and `version` leave
    # none out.
    return Reply(
        200, answers.locations(call.query.get("type"), call.query.get("tags") == "true")
    )


def _container_logs(call: Call) -> Reply:
    return Reply(200, container.logs(call.deployment(), call.now, call.world.clock))


def _metrics(call: Call) -> Reply:
    start, end = _time(call, "start_time"), _time(call, "end_time")
    if start is not None and (call.now if end is None else end) <= start:
        raise Refusal(400, "end_time: must be greater than start_time")
    # Raw data is every sample there is, whatever the steps.
    steps = None if call.query.get("raw") == "true" else call.query.get("steps")
    return Reply(
        200,
        container.metrics(
            call.deployment(), call.now, call.world.clock, start, end, steps
        ),
    )


def _time(call: Call, name: str) -> float | None:
    text = call.query.get(name)
    if text is None:
        return None
    try:
        return call.world.clock.seconds_as_written(text)
    except ValueError:
        raise Refusal(400, f"{name}: must match {WRITTEN}, not {text!r}") from None


def _fleet_hosts(call: Call) -> Reply:
    hosts = call.world.fleet(call.words["fleet_name"])
    return Reply(
        200,
        {
            "data": [
                answers.host(it, call.world.on_host(it, call.now), call.world.clock)
                for it in hosts
            ]
        },
    )


def _tags(call: Call) -> Reply:
    tags = [
        answers.tag(name, it, call.world.clock)
        for name, it in call.deployment().tags.items()
    ]
    return Reply(200, {"tags": tags, "count": len(tags), "pagination": {}})


def _tag(call: Call) -> Reply:
    name = call.words["tag_name"]
    return Reply(
        200,
        answers.tag(name, call.world.tag(call.deployment(), name), call.world.clock),
    )


def _create_tag(call: Call, body: TagRequest) -> Reply:
    tag = call.world.create_tag(call.deployment(), body.name, call.now)
    return Reply(200, answers.tag(body.name, tag, call.world.clock))


def _update_tag(call: Call, body: TagRequest) -> Reply:
    tag = call.world.rename_tag(
        call.deployment(), call.words["tag_name"], body.name, call.now
    )
    return Reply(200, answers.tag(body.name, tag, call.world.clock))


def _delete_tag(call: Call) -> Reply:
    call.world.delete_tag(call.deployment(), call.words["tag_name"])
    return Reply(204)


HANDLERS: Mapping[str, Handler] = dict(
    (
        _takes(rows.DEPLOY, _deploy),
        _asks(rows.STATUS, _status),
        _asks(rows.STOP, _stop),
        _asks(rows.SELF_STOP, _self_stop, own_token=True),
        _takes(rows.BULK_STOP, _bulk_stop),
        _asks(rows.LIST, _list),
        _asks(rows.LOCATIONS, _locations),
        _asks(rows.CONTAINER_LOGS, _container_logs),
        _asks(rows.METRICS, _metrics),
        # the renamed row is served by the same method
        _takes(rows.FLEET_DEPLOY, _deploy),
        _asks(rows.FLEET_HOSTS, _fleet_hosts),
        _asks(rows.TAGS, _tags),
        _asks(rows.TAG, _tag),
        _takes(rows.CREATE_TAG, _create_tag),
        _takes(rows.UPDATE_TAG, _update_tag),
        _asks(rows.DELETE_TAG, _delete_tag),
    )
)
