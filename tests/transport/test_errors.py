"""The error tree, the class of each status, and the errors of deploys with an unknown
outcome.
"""

import copy
import pickle
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web
from support.recording_server import RecordingServer, recording_server
from support.samples import status

from edgegap_async import EdgegapSession, Retry, errors
from edgegap_async._transport.deadlines import Deadline
from edgegap_async._transport.response import Reply, read
from edgegap_async._transport.retry import parse_retry_after
from edgegap_async.endpoints import (
    BULK_STOP,
    CONTAINER_LOGS,
    DELETE_TAG,
    DEPLOY,
    FLEET_DEPLOY,
    FLEET_DEPLOY_RENAMED,
    FLEET_HOSTS,
    LIST,
    LOCATIONS,
    METRICS,
    SELF_STOP,
    STATUS,
    STOP,
    TAG,
    TAGS,
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
    ReadyTimeout,
    ResponseTooLarge,
    ServerError,
    Unauthorized,
    UnexpectedAnswer,
    is_gone,
    may_be_done,
)
from edgegap_async.models.deployment import DeploymentSummary

_TREE_LINE = re.compile(r"^    ([| ]*)(?:[|`]-- )?([A-Z]\w+) {2,}(.*)$", re.MULTILINE)


def documented_tree() -> dict[str, tuple[str | None, set[str]]]:
    """The tree in the docstring of `errors`: each class with its parent and its
    documented attributes.
    """
    path: list[tuple[int, str]] = []
    tree: dict[str, tuple[str | None, set[str]]] = {}
    for line in _TREE_LINE.finditer(errors.__doc__ or ""):
        depth = line.start(2) - line.start()
        path = [(at, name) for at, name in path if at < depth]
        tree[line[2]] = (
            path[-1][1] if path else None,
            set(re.findall(r"\.(\w+)", line[3])),
        )
        path.append((depth, line[2]))
    return tree


LAST_STATUS = status()
ONE_OF_EACH: list[EdgegapError] = [
    EdgegapError("text", request_sent=True),
    *(
        kind("endpoint", 418, "no", {"a": [1]})
        for kind in (
            ApiError,
            *errors.BY_STATUS.values(),
            AllocationFailed,
            ServerError,
        )
    ),
    errors.TransportError("cut", request_sent=True),
    errors.TransportError("refused"),
    errors.JournalUnavailable("the deploy was not sent"),
    UnexpectedAnswer("endpoint", 200, b"\xff<html>", "it is not UTF-8"),
    ResponseTooLarge("endpoint", 200, "more than 1 MiB", "ask for less"),
    DeployOutcomeUnknown("endpoint: cut", tag="once-123456789abcdef"),
    errors.DeadlineExceeded("late", request_sent=True),
    errors.QueueTooLong("full", wait=1.5),
    errors.ReadyTimeout("c065", 300.0, LAST_STATUS),
    errors.ReadyTimeout("c065", 300.0, None),
    errors.DeploymentFailed("c065", "Pull image timeout exceeded", LAST_STATUS),
    errors.DeploymentFailed("c065", None),
    errors.DeploymentTerminated("c065"),
    errors.Incomplete(
        "1 of 2 were not stopped",
        stopped=[DeploymentSummary(request_id="c065")],
    ),
    errors.InvalidRequest("requests: each must be a DeployRequest"),
    errors.SessionClosed("closed"),
    errors.WrongLoop("loop"),
]


@pytest.fixture
async def server() -> AsyncIterator[RecordingServer]:
    async with recording_server() as server:
        yield server


@pytest.mark.parametrize(
    ("wait", "shown"), [(0.004, "0.004 s"), (0.25, "0.25 s"), (61.2345, "61.23 s")]
)
def test_a_short_wait_for_a_limit_is_not_shown_as_none(wait: float, shown: str) -> None:
    assert f"at least {shown} for" in str(errors.QueueTooLong("list", wait=wait))


def test_the_error_tree_matches_its_docstring() -> None:
    classes = {
        name: kind for name, kind in vars(errors).items() if isinstance(kind, type)
    }
    real = {
        name: (None if kind is EdgegapError else kind.__bases__[0].__name__)
        for name, kind in classes.items()
        if issubclass(kind, EdgegapError)
    }
    assert {name: parent for name, (parent, _) in documented_tree().items()} == real
    assert issubclass(errors.DeadlineExceeded, TimeoutError)
    assert issubclass(errors.WrongLoop, RuntimeError)
    assert issubclass(errors.InvalidRequest, ValueError)


@pytest.mark.parametrize("error", ONE_OF_EACH, ids=lambda error: type(error).__name__)
def test_errors_keep_their_documented_attributes_through_pickle_and_copy(
    error: EdgegapError,
) -> None:
    for clone in (
        pickle.loads(pickle.dumps(error)),  # noqa: S301 (our own)
        copy.copy(error),
        copy.deepcopy(error),
    ):
        assert (type(clone), str(clone), clone.args, vars(clone)) == (
            type(error),
            str(error),
            error.args,
            vars(error),
        )
    named = set[str]()
    for kind in type(error).__mro__:
        named |= documented_tree().get(kind.__name__, (None, set[str]()))[1]
    assert named
    assert named <= set(vars(error))


def test_the_samples_cover_every_error_class() -> None:
    assert {type(error).__name__ for error in ONE_OF_EACH} == set(documented_tree())


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
async def test_each_status_raises_its_own_error_class(
    code: int, kind: type[ApiError], server: RecordingServer
) -> None:
    body = {"message": "because", "details": {"why": [1]}}
    server.answers = [
        web.json_response(body, status=code, headers={"Retry-After": "1"})
    ]
    async with EdgegapSession(
        "my-token", base_url=server.url, retry=Retry(tries=1), deploy_once=False
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
def test_an_error_body_in_another_form_becomes_the_message(body: str) -> None:
    with pytest.raises(NotFound) as raised:
        read(STATUS, Reply(404, body.encode("latin-1")))
    assert raised.value.message == body.replace("\xff", "\ufffd")
    with pytest.raises(NotFound) as raised:
        read(STATUS, Reply(404, b"x" * 10_000))
    assert len(str(raised.value)) < 500


@pytest.mark.parametrize("endpoint", [DEPLOY, FLEET_DEPLOY])
def test_a_failed_allocation_names_the_deployment_to_stop(endpoint: Any) -> None:
    with pytest.raises(AllocationFailed) as raised:
        read(endpoint, Reply(422, b'{"request_id": "bad1", "message": "no capacity"}'))
    assert (raised.value.request_id, raised.value.message, raised.value.status) == (
        "bad1",
        "no capacity",
        422,
    )
    with pytest.raises(AllocationFailed) as raised:
        read(endpoint, Reply(422, b'{"message": "no capacity"}'))
    assert raised.value.request_id is None


HTML, JSON = b"<html>proxy</html>", b'{"message": "the API says so"}'
MAY_HAVE_STARTED = [
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


@pytest.mark.parametrize(("code", "body"), MAY_HAVE_STARTED)
def test_a_deploy_that_may_have_started_a_server_raises_outcome_unknown(
    code: int, body: bytes
) -> None:
    for endpoint in (DEPLOY, FLEET_DEPLOY, FLEET_DEPLOY_RENAMED):
        with pytest.raises(DeployOutcomeUnknown) as raised:
            read(endpoint, Reply(code, body))
        error = raised.value
        assert (error.tag, error.request_sent) == (None, True)
        assert isinstance(error.__cause__, ApiError | UnexpectedAnswer)
        assert str(code) in str(error)


@pytest.mark.parametrize(("code", "body"), REFUSED)
def test_a_refused_deploy_raises_an_error_that_shows_whether_it_may_be_done(
    code: int, body: bytes
) -> None:
    for endpoint in (DEPLOY, FLEET_DEPLOY, FLEET_DEPLOY_RENAMED):
        with pytest.raises(EdgegapError) as raised:
            read(endpoint, Reply(code, body))
        error = raised.value
        assert isinstance(error, UnexpectedAnswer if code < 400 else ApiError)
        assert error.status == code
        assert may_be_done(error) is (code < 400 or (code != 429 and body != JSON))


@pytest.mark.parametrize(
    ("code", "body"), [(202, HTML), (202, b""), (408, b""), (502, HTML), (500, JSON)]
)
async def test_a_deploy_with_an_unknown_outcome_is_sent_once(
    code: int, body: bytes, server: RecordingServer
) -> None:
    server.answers = [
        web.Response(status=code, body=body, headers={"Location": "/elsewhere"})
    ]
    async with EdgegapSession(
        "my-token", base_url=server.url, deploy_once=False
    ) as session:
        with pytest.raises(DeployOutcomeUnknown):
            await session.deployments.deploy("app", "v1", users=["::1"])
    assert len(server.requests) == 1


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
def test_is_gone_accepts_404_410_and_a_bad_request_id(
    code: int, message: str, gone: bool
) -> None:
    with pytest.raises(ApiError) as raised:
        read(STATUS, Reply(code, b'{"message": "%s"}' % message.encode()))
    assert is_gone(raised.value) is gone


@pytest.mark.parametrize("endpoint", [STOP, DELETE_TAG])
def test_a_retried_delete_that_finds_nothing_has_succeeded(endpoint: Any) -> None:
    for reply in (
        Reply(404, b""),
        Reply(410, b""),
        Reply(400, b'{"message": "Bad Request ID provided"}'),
    ):
        assert not getattr(read(endpoint, reply, repeated=True), "message", None)
        with pytest.raises(ApiError):
            read(endpoint, reply)
    with pytest.raises(Forbidden):
        read(endpoint, Reply(403, b""), repeated=True)


@pytest.mark.parametrize("code", [200, 202, 204])
@pytest.mark.parametrize("body", [b"", b" \n"])
def test_an_empty_body_is_valid_where_every_field_is_optional(
    code: int, body: bytes
) -> None:
    assert read(STOP, Reply(code, body)).message is None
    assert read(BULK_STOP, Reply(code, body)).processable == ()
    assert read(DELETE_TAG, Reply(code, body)) is None
    assert read(DELETE_TAG, Reply(code, b'{"message": "deleted"}')) is None


@pytest.mark.parametrize("endpoint", [STATUS, LIST])
@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"<html>", b"[]", b"\xff", b'{"request_id": "c065"', b'{"data": 5}'],
)
def test_an_answer_without_its_required_fields_is_unexpected(
    endpoint: Any, body: bytes
) -> None:
    with pytest.raises(UnexpectedAnswer) as raised:
        read(endpoint, Reply(200, body))
    assert (raised.value.status, raised.value.body, raised.value.operation) == (
        200,
        body,
        str(endpoint),
    )
    assert raised.value.request_sent


def test_answers_that_are_not_utf_8_are_still_decoded() -> None:
    logs = read(CONTAINER_LOGS, Reply(200, b'{"logs": "caf\xe9", "encoding": "utf-8"}'))
    assert (logs.logs, logs.encoding) == ("caf\ufffd", "utf-8")
    status = read(STATUS, Reply(200, b'{"request_id": "c065", "error_detail": "\xe9"}'))
    assert (status.request_id, status.error_detail) == ("c065", "\ufffd")


NO_OBJECTS = [b"null", b'"Success"', b"true", b"5", b"[]", b'["Success"]', b" null "]


@pytest.mark.parametrize("body", NO_OBJECTS)
@pytest.mark.parametrize(
    "endpoint", [STOP, SELF_STOP, BULK_STOP, METRICS, CONTAINER_LOGS], ids=str
)
def test_a_success_that_is_no_object_is_an_empty_answer(
    endpoint: Any, body: bytes
) -> None:
    answer = read(endpoint, Reply(200, body))
    assert answer == read(endpoint, Reply(200, b"{}"))
    assert type(answer) is endpoint.returns


@pytest.mark.parametrize("body", NO_OBJECTS)
@pytest.mark.parametrize(
    "endpoint", [STATUS, LIST, LOCATIONS, FLEET_HOSTS, TAGS, TAG, DEPLOY], ids=str
)
def test_a_success_that_is_no_object_is_unexpected_where_a_part_is_needed(
    endpoint: Any, body: bytes
) -> None:
    with pytest.raises((UnexpectedAnswer, DeployOutcomeUnknown)):
        read(endpoint, Reply(200, body))


@pytest.mark.parametrize("endpoint", [STOP, SELF_STOP], ids=str)
def test_a_success_that_is_no_json_is_no_stop(endpoint: Any) -> None:
    for body in (b"<html>Log in to this network</html>", b"OK", b'{"message": "'):
        with pytest.raises(UnexpectedAnswer):
            read(endpoint, Reply(200, body))


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"message": "a", "request_id": "b", "data": %s}' % (b"[" * 100_000),
    ],
)
def test_a_body_that_is_nested_too_deeply_is_unexpected(body: bytes) -> None:
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
def test_an_unreadable_retry_after_is_none(wait: str) -> None:
    asked = parse_retry_after(wait, None, datetime.now(UTC))
    with pytest.raises(RateLimited) as raised:
        read(STATUS, Reply(429, b"", retry_after=asked))
    assert raised.value.retry_after is None


async def test_a_redirect_is_not_followed(server: RecordingServer) -> None:
    server.answers = [
        web.Response(status=302, headers={"Location": f"{server.url}/elsewhere"})
    ]
    async with EdgegapSession(
        "my-token", base_url=server.url, deploy_once=False
    ) as session:
        with pytest.raises(UnexpectedAnswer, match="redirect"):
            await session.deployments.status("c065")
    assert [request.path for request in server.requests] == ["/v1/status/c065"]


SUMMARY = (
    b'{"message": "stopped", "deployment_summary": {"request_id": "b", "fqdn": "x"}}'
)


@pytest.mark.parametrize("other", ["b", "aa", "a.", "B"])
def test_a_status_of_another_deployment_is_no_answer(other: str) -> None:
    body = b'{"request_id": "%s", "fqdn": "x"}' % other.encode()
    with pytest.raises(UnexpectedAnswer, match="another deployment"):
        read(STATUS, Reply(200, body), request_id="a")
    assert read(STATUS, Reply(200, body), request_id=other).request_id == other


@pytest.mark.parametrize("asked", ["c065", " c065\n", "C065"])
def test_an_id_may_be_written_in_another_way(asked: str) -> None:
    body = b'{"request_id": "c065"}'
    assert read(STATUS, Reply(200, body), request_id=asked).request_id == "c065"


@pytest.mark.parametrize("endpoint", [STOP, SELF_STOP], ids=str)
def test_a_stop_shows_no_summary_of_another_deployment(endpoint: Any) -> None:
    stopped = read(endpoint, Reply(200, SUMMARY), request_id="a")
    assert (stopped.message, stopped.deployment_summary) == ("stopped", None)
    assert read(endpoint, Reply(200, SUMMARY), request_id="b").deployment_summary


@pytest.mark.parametrize(
    ("timeout", "text"),
    [(3.9991, "4 s"), (59.98, "59.98 s"), (0.25, "0.25 s"), (86_400, "86400 s")],
)
def test_a_timeout_is_told_without_exponents_and_thousandths(
    timeout: float, text: str
) -> None:
    assert f"within {text}" in str(ReadyTimeout("c065", timeout, None))
    assert str(Deadline(0.0, timeout)) == text


def test_a_late_server_is_said_to_exist_only_if_it_was_seen() -> None:
    seen = status(current_status="Status.DEPLOYING")
    assert "last seen DEPLOYING; it still exists" in str(ReadyTimeout("c065", 5, seen))
    assert "it may exist" in str(ReadyTimeout("c065", 5, None))
    # A state that this version does not know is told as it is.
    assert "last seen Status.NEW" in str(
        ReadyTimeout("c065", 5, status(current_status="Status.NEW"))
    )
