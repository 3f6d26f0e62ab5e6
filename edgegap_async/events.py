"""Events for metrics and traces of a session: `EdgegapSession(on_event=...)`.

    attempt     a request has ended, with an answer or without
    call        a call has ended: one event for each, with what its caller got
    ready       a server is READY
    stopped     the API has accepted a stop of a server by this session, or must have: the
                answer was lost, and then the server was gone
    ended       a server has ended, as far as this session knows
    leftover    the session is closed, and a server may still be running

`ready`, `stopped` and `ended` are reported at most once for each server, when the session
learns of it: by a poll for a waiter, or by a webhook. There is one `leftover` for each of
`session.leftovers`. Once the event loop of the session has ended, nothing is reported.

An event of a call is reported in the context of its caller. The session also sends
requests by itself: polls for waiters, searches for tags, stops. They run in an empty
context, and `caused_by` names the calls that they are for.
"""

from collections.abc import Callable
from typing import Literal, TypeAlias

from .endpoints import LimitName, Method
from .models._plain import PlainData

EventKind: TypeAlias = Literal[
    "attempt", "call", "ready", "stopped", "ended", "leftover"
]


class Event(PlainData, frozen=True, kw_only=True):
    """Something that has happened in a session.

    Attributes:
        kind: see the table at the top of this module.
        call_id: the number of the call in this process. Of a server: the call that has
            started it, or the first one that named it, such as `wait_until_ready`. 0: of
            a leftover whose call is not known.
        caused_by: the numbers of the calls for which the session has made this call by
            itself. Empty: the user has made it.
        host: the host of the API, and its port unless it is the usual one.
        operation: the method of the session, such as "deployments.status". Empty for
            servers, as are the attributes from here to `queued`.
        method: of HTTP.
        path: the template of the path, such as "/v1/status/{request_id}". Of
            `session.request`: the path.
        limit: the limit that the operation counts for.
        queued: seconds in the queue of the limit, and in pauses and searches before
            retries. For a call: the sum over its attempts.
        round_trip: seconds from the request to the answer. For a call: the sum over its
            attempts.
        outcome: the HTTP status of the answer. Without a whole answer: the name of the class
            of the error. For a call: of its last attempt. For a server: "ready",
            "stopped", or why it has ended: "stopped", "failed" or "gone". For a leftover:
            "leftover".
        error: the name of the class of the error. For a call: of the error that its
            caller got. None: it has succeeded.
        attempt: the number of the attempt, from 1. For a call: the number of attempts.
            A deploy whose caller has left may have attempts that end after its call.
        recovered: the call has succeeded, although the outcome of an attempt was lost: a
            deploy has found its server by its tag, or was sent again; a stop that was
            sent again was answered "not found".
        seconds: of `ready`, from the sending of the deploy until the session knew. None:
            this session has not started the server.
        request_id: the deployment, if it is known.
        rate: requests per second that the limit allows at the moment. None: no limit.
    """

    kind: EventKind
    call_id: int
    caused_by: tuple[int, ...] = ()
    host: str
    operation: str = ""
    method: Method | Literal[""] = ""
    path: str = ""
    limit: LimitName | None = None
    queued: float = 0.0
    round_trip: float = 0.0
    outcome: int | str
    error: str | None = None
    attempt: int = 0
    recovered: bool = False
    seconds: float | None = None
    request_id: str | None = None
    rate: float | None = None


OnEvent: TypeAlias = Callable[[Event], object]
