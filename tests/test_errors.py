"""Errors: the tree is as drawn, each status has its class, and what a deploy leaves
open is said.
"""

import copy
import pickle
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web
from support.echo import Echo, echoing
from support.samples import status

from edgegap_async import EdgegapSession, Retry, errors
from edgegap_async._transport.response import Reply, read
from edgegap_async._transport.retry import parse_retry_after
from edgegap_async.endpoints import (
    BULK_STOP,
    CONTAINER_LOGS,
    DELETE_TAG,
    DEPLOY,
    FLEET_DEPLOY,
    FLEET_DEPLOY_RENAMED,
    LIST,
    STATUS,
    STOP,
)
from edgegap_async.errors import (
    AllocationFailed,
    ApiError,
    BadRequest,
    Conflict,
    DeployOutcomeUnknown,
    EdgegapError,
    Forbidden,
    Gone,
    NotFound,
    RateLimited,
    ServerError,
    Unauthorized,
    UnexpectedAnswer,
    is_gone,
    may_be_done,
)

_DRAWN = re.compile(r"^    ([| ]*)(?:[|`]-- )?([A-Z]\w+) {2,}(.*)$", re.MULTILINE)


def drawn() -> dict[str, tuple[str | None, set[str]]]:
    """The tree in the docstring: each class with its parent and the attributes that the
    text names.
    """
    path: list[tuple[int, str]] = []
    tree: dict[str, tuple[str | None, set[str]]] = {}
    for line in _DRAWN.finditer(errors.__doc__ or ""):
        depth = line.start(2) - line.start()
        path = [(at, name) for at, name in path if at < depth]
        tree[line[2]] = (
            path[-1][1] if path else None,
            set(re.findall(r"\.(\w+)", line[3])),
        )
        path.append((depth, line[2]))
    return tree


SEEN = status()
ONE_OF_EACH: list[EdgegapError] = [
    EdgegapError("text", request_sent=True),
    *(
        kind("row", 418, "no", {"a": [1]})
        for kind in (
            ApiError,
            *errors.BY_STATUS.values(),
            AllocationFailed,
            ServerError,
        )
    ),
    errors.TransportError("cut", request_sent=True),
    errors.TransportError("refused"),
    UnexpectedAnswer("row", 200, b"\xff<html>", "it is not UTF-8"),
    DeployOutcomeUnknown("row: cut", tag="once-123456789abcdef"),
    errors.DeadlineExceeded("late", request_sent=True),
    errors.QueueTooLong("full", wait=1.5),
    errors.ReadyTimeout("c065", 300.0, SEEN),
    errors.ReadyTimeout("c065", 300.0, None),
    errors.DeploymentFailed("c065", "Pull image timeout exceeded", SEEN),
    errors.DeploymentFailed("c065", None),
    errors.DeploymentTerminated("c065"),
    errors.SessionClosed("closed"),
    errors.WrongLoop("loop"),
]


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    async with echoing() as echo:
        yield echo


def test_the_tree_is_as_drawn() -> None:
    classes = {
        name: kind for name, kind in vars(errors).items() if isinstance(kind, type)
    }
    real = {
        name: (None if kind is EdgegapError else kind.__bases__[0].__name__)
        for name, kind in classes.items()
        if issubclass(kind, EdgegapError)
    }
    assert {name: parent for name, (parent, _) in drawn().items()} == real
    assert issubclass(errors.DeadlineExceeded, TimeoutError)
    assert issubclass(errors.WrongLoop, RuntimeError)


@pytest.mark.parametrize("error", ONE_OF_EACH, ids=lambda error: type(error).__name__)
def test_an_error_survives_pickle_and_copy_with_all_that_the_drawing_says(
    error: EdgegapError,
) -> None:
    for twin in (
        pickle.loads(pickle.dumps(error)),  # noqa: S301 (our own)
        copy.copy(error),
        copy.deepcopy(error),
    ):
        assert (type(twin), str(twin), twin.args, vars(twin)) == (
            type(error),
            str(error),
            error.args,
            vars(error),
        )
    named = set[str]()
    for kind in type(error).__mro__:
        named |= drawn().get(kind.__name__, (None, set[str]()))[1]
    assert named
    assert named <= set(vars(error))


def test_one_of_each_is_each() -> None:
    assert {type(error).__name__ for error in ONE_OF_EACH} == set(drawn())


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (400, BadRequest),
        (401, Unauthorized),
        (402, ApiError),
        (403, Forbidden),
        (404, NotFound),
        (409, Conflict),
        (410, Gone),
        (422, ApiError),
        (424, ApiError),
        (429, RateLimited),
        (500, ServerError),
        (503, ServerError),
        (599, ServerError),
    ],
)
async def test_each_status_has_its_class(
    code: int, kind: type[ApiError], echo: Echo
) -> None:
    body = {"message": "because", "details": {"why": [1]}}
    echo.answers = [web.json_response(body, status=code, headers={"Retry-After": "1"})]
    async with EdgegapSession(
        "my-token", base_url=echo.url, retry=Retry(tries=1), deploy_once=False
    ) as session:
        with pytest.raises(ApiError) as raised:
            await session.deployments.status("c065")
    error = raised.value
    assert type(error) is kind
    assert (error.status, error.message, error.details) == (
        code,
        "because",
        {"why": [1]},
    )
    assert (error.retry_after, error.request_sent) == (1.0, True)
    assert error.operation == "deployments.status (GET /v1/status/{request_id})"
    assert all(
        word in str(error)
        for word in (str(code), "because", error.operation, kind.hint)
    )


@pytest.mark.parametrize("body", ["", "<html>", "{}", "[", '{"message": ["a"', "\xff"])
def test_an_error_without_the_api_s_own_body_shows_what_came(body: str) -> None:
    with pytest.raises(NotFound) as raised:
        read(STATUS, Reply(404, body.encode("latin-1")))
    assert raised.value.message == body.replace("\xff", "\ufffd")
    with pytest.raises(NotFound) as raised:
        read(STATUS, Reply(404, b"x" * 10_000))
    assert len(str(raised.value)) < 500


@pytest.mark.parametrize("row", [DEPLOY, FLEET_DEPLOY])
def test_a_deploy_that_found_no_room_names_what_to_stop(row: Any) -> None:
    with pytest.raises(AllocationFailed) as raised:
        read(row, Reply(422, b'{"request_id": "bad1", "message": "no capacity"}'))
    assert (raised.value.request_id, raised.value.message, raised.value.status) == (
        "bad1",
        "no capacity",
        422,
    )
    with pytest.raises(AllocationFailed) as raised:
        read(row, Reply(422, b'{"message": "no capacity"}'))
    assert raised.value.request_id is None


HTML, JSON = b"<html>proxy</html>", b'{"message": "the API says so"}'
OPEN = [
    *(
        (code, body)
        for code in (200, 202)
        for body in (b"", b" ", b"{}", b'{"request_id": "a69', HTML, b"null", b"[]")
    ),
    *(
        (202, body)
        for body in (
            b'{"request_id": ""}',
            b'{"request_id": null}',
            b'{"request_id": 5}',
            b'{"a": "\xff"}',
        )
    ),
    *((code, body) for code in (408, 500, 502, 503, 504) for body in (b"", HTML, JSON)),
]
REFUSED = [
    (code, body)
    for code in (301, 302, 304, 307, 308, 400, 401, 403, 404, 405, 409, 422, 424, 429)
    for body in (b"", HTML, b"{}", b'"no"', JSON)
]


@pytest.mark.parametrize(("code", "body"), OPEN)
def test_what_may_have_started_a_server_is_said_to_be_unknown(
    code: int, body: bytes
) -> None:
    for row in (DEPLOY, FLEET_DEPLOY, FLEET_DEPLOY_RENAMED):
        with pytest.raises(DeployOutcomeUnknown) as raised:
            read(row, Reply(code, body))
        error = raised.value
        assert (error.tag, error.request_sent) == (None, True)
        assert isinstance(error.__cause__, ApiError | UnexpectedAnswer)
        assert str(code) in str(error)


@pytest.mark.parametrize(("code", "body"), REFUSED)
def test_a_refused_deploy_is_a_plain_error_that_tells_if_it_may_be_done(
    code: int, body: bytes
) -> None:
    for row in (DEPLOY, FLEET_DEPLOY, FLEET_DEPLOY_RENAMED):
        with pytest.raises(EdgegapError) as raised:
            read(row, Reply(code, body))
        error = raised.value
        assert isinstance(error, UnexpectedAnswer if code < 400 else ApiError)
        assert error.status == code
        assert may_be_done(error) is (code < 400 or (code != 429 and body != JSON))


@pytest.mark.parametrize(
    ("code", "body"), [(202, HTML), (202, b""), (408, b""), (502, HTML), (500, JSON)]
)
async def test_a_session_sends_such_a_deploy_once_and_says_it(
    code: int, body: bytes, echo: Echo
) -> None:
    echo.answers = [
        web.Response(status=code, body=body, headers={"Location": "/elsewhere"})
    ]
    async with EdgegapSession(
        "my-token", base_url=echo.url, deploy_once=False
    ) as session:
        with pytest.raises(DeployOutcomeUnknown):
            await session.deployments.deploy("app", "v1", users=["::1"])
    assert len(echo.seen) == 1


@pytest.mark.parametrize(
    ("code", "message", "gone"),
    [
        (404, "", True),
        (410, "already terminated", True),
        (400, "Bad Request ID provided", True),
        (400, "bad request id provided: c065", True),
        (400, "Bad Request", False),
        (409, "Bad Request ID provided", False),
        (500, "Bad Request ID provided", False),
    ],
)
def test_the_ways_of_being_gone(code: int, message: str, gone: bool) -> None:
    with pytest.raises(ApiError) as raised:
        read(STATUS, Reply(code, b'{"message": "%s"}' % message.encode()))
    assert is_gone(raised.value) is gone


@pytest.mark.parametrize("row", [STOP, DELETE_TAG])
def test_a_repeated_delete_that_finds_nothing_did_its_deed(row: Any) -> None:
    for reply in (
        Reply(404, b""),
        Reply(410, b""),
        Reply(400, b'{"message": "Bad Request ID provided"}'),
    ):
        assert not getattr(read(row, reply, repeated=True), "message", None)
        with pytest.raises(ApiError):
            read(row, reply)
    with pytest.raises(Forbidden):
        read(row, Reply(403, b""), repeated=True)


@pytest.mark.parametrize("code", [200, 202, 204])
@pytest.mark.parametrize("body", [b"", b" \n"])
def test_an_empty_body_is_an_answer_where_nothing_has_to_be_told(
    code: int, body: bytes
) -> None:
    assert read(STOP, Reply(code, body)).message is None
    assert read(BULK_STOP, Reply(code, body)).processable == ()
    assert read(DELETE_TAG, Reply(code, body)) is None
    assert read(DELETE_TAG, Reply(code, b'{"message": "deleted"}')) is None


@pytest.mark.parametrize("row", [STATUS, LIST])
@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"<html>", b"[]", b"\xff", b'{"request_id": "c065"', b'{"data": 5}'],
)
def test_an_answer_without_its_identity_is_unexpected(row: Any, body: bytes) -> None:
    with pytest.raises(UnexpectedAnswer) as raised:
        read(row, Reply(200, body))
    assert (raised.value.status, raised.value.body, raised.value.operation) == (
        200,
        body,
        str(row),
    )
    assert raised.value.request_sent


def test_logs_that_are_not_utf_8_are_read_all_the_same() -> None:
    logs = read(CONTAINER_LOGS, Reply(200, b'{"logs": "caf\xe9", "encoding": "utf-8"}'))
    assert (logs.logs, logs.encoding) == ("caf\ufffd", "utf-8")
    with pytest.raises(UnexpectedAnswer):
        read(STATUS, Reply(200, b'{"request_id": "c065", "error_detail": "\xe9"}'))


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"message": "a", "request_id": "b", "data": %s}' % (b"[" * 100_000),
    ],
)
def test_a_body_that_nobody_can_unpack_is_unexpected_too(body: bytes) -> None:
    with pytest.raises(UnexpectedAnswer):
        read(STATUS, Reply(200, body))
    with pytest.raises(NotFound):
        read(STATUS, Reply(404, body))
    with pytest.raises(BadRequest):
        read(DEPLOY, Reply(400, body))


HUGE = "9" * 30


@pytest.mark.parametrize(
    "wait",
    ["", "soon", "nan", "1e999", f"Mon, 01 Jan {HUGE} 00:00:00 GMT", f"0 +{HUGE}"],
)
def test_a_retry_after_that_no_clock_can_hold_is_none(wait: str) -> None:
    asked = parse_retry_after(wait, None, datetime.now(UTC))
    with pytest.raises(RateLimited) as raised:
        read(STATUS, Reply(429, b"", retry_after=asked))
    assert raised.value.retry_after is None


async def test_a_redirect_is_not_followed(echo: Echo) -> None:
    echo.answers = [
        web.Response(status=302, headers={"Location": f"{echo.url}/elsewhere"})
    ]
    async with EdgegapSession(
        "my-token", base_url=echo.url, deploy_once=False
    ) as session:
        with pytest.raises(UnexpectedAnswer, match="redirect"):
            await session.deployments.status("c065")
    assert [seen.path for seen in echo.seen] == ["/v1/status/c065"]
