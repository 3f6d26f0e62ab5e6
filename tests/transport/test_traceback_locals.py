"""No local variable of a traceback or of a running task shows a token or a body, as Sentry,
rich and structlog write them.
"""

import asyncio
import gc
import json
import traceback
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from types import FrameType, TracebackType
from typing import Any

import aiohttp
import pytest
from rich.pretty import pretty_repr
from support.raw_server import (
    CUT,
    SILENT,
    STUCK,
    Act,
    RawServer,
    answer,
    half,
    never_accepts,
)

from edgegap_async import (
    DeployRequest,
    EdgegapError,
    EdgegapSession,
    EnvironmentVariable,
    Limits,
    Retry,
    UnexpectedAnswer,
    Webhook,
    WebhookReceiver,
)
from edgegap_async.container import Container, stop_self
from edgegap_async.simulator import Simulator

TOKEN = "5ec4e7a0face4b1d8badc0ffee0ddba1"
DELETE_TOKEN = "de1e7e70cafe4b1d8badc0ffee0ddba2"
RELAY_TOKEN = "917263548291736455"
SECRETS = (TOKEN, DELETE_TOKEN, RELAY_TOKEN)
# Of a secret, reprs may show a part.
PARTS = {secret[at : at + 10] for secret in SECRETS for at in range(len(secret) - 9)}
Call = Callable[[EdgegapSession], Awaitable[object]]


def variable() -> str:
    # A local variable of a test would be found in its own frame.
    return DELETE_TOKEN


async def self_stop(edgegap: EdgegapSession) -> object:
    return await edgegap.deployments.self_stop("c065", 7, token=variable())


async def new_version(edgegap: EdgegapSession, **wrong: Any) -> object:
    arguments: dict[str, Any] = {
        "app_name": "arena",
        "name": "v1",
        "req_cpu": 256,
        "req_memory": 512,
        "docker_repository": "registry.example.com",
        "docker_image": "arena",
        "docker_tag": "v1",
        "private_username": "puller",
        "private_token": variable(),
    }
    return await edgegap.versions.create(**(arguments | wrong))


async def changed_version(edgegap: EdgegapSession, **wrong: Any) -> object:
    arguments: dict[str, Any] = {"app_name": "arena", "version_name": "v1"}
    arguments["private_token"] = variable()
    return await edgegap.versions.update(**(arguments | wrong))


async def new_storage(edgegap: EdgegapSession, **wrong: Any) -> object:
    arguments: dict[str, Any] = {
        "name": "logs",
        "access_key_id": "key",
        "secret_access_key": variable(),
        "endpoint": "https://s3.example.com",
        "bucket": "bucket",
    }
    return await edgegap.storage.create(**(arguments | wrong))


async def changed_storage(edgegap: EdgegapSession, **wrong: Any) -> object:
    arguments: dict[str, Any] = {"endpoint_name": "logs"}
    arguments["secret_access_key"] = variable()
    return await edgegap.storage.update(**(arguments | wrong))


async def new_relay(edgegap: EdgegapSession, **wrong: Any) -> object:
    arguments: dict[str, Any] = {"users": ["203.0.113.7"]}
    arguments["webhook_url"] = f"https://a.example/{variable()}"
    return await edgegap.relays.create(**(arguments | wrong))


async def revoked_user(edgegap: EdgegapSession, **wrong: Any) -> object:
    arguments: dict[str, Any] = {"session_id": "s"}
    arguments["authorization_token"] = int(RELAY_TOKEN)
    return await edgegap.relays.revoke_user(**(arguments | wrong))


async def deploy_with_a_webhook(edgegap: EdgegapSession, **wrong: Any) -> object:
    arguments: dict[str, Any] = {"application": "app", "version": "v1"}
    arguments["users"] = ["203.0.113.7"]
    arguments["webhook_on_error"] = f"https://a.example/{variable()}"
    return await edgegap.deployments.deploy(**(arguments | wrong))


async def call_with_a_header(edgegap: EdgegapSession, **wrong: Any) -> object:
    return await edgegap.locations.list(**({"headers": {"X-Key": variable()}} | wrong))


async def raw_call(edgegap: EdgegapSession, **wrong: Any) -> object:
    arguments: dict[str, Any] = {"method": "POST", "path": "/v1/keys"}
    arguments["body"] = {"key": variable()}
    return await edgegap.request(**(arguments | wrong))


async def own_stop(edgegap: EdgegapSession) -> object:
    return await stop_self()


async def run_block(edgegap: EdgegapSession) -> None:
    async with edgegap.deployments.running("app", "v1", users=["::1"]):
        pass


async def run_many(edgegap: EdgegapSession) -> None:
    async with edgegap.deployments.deploy_many([]) as outcomes:
        async for _ in outcomes:
            pass
    await edgegap.deployments.bulk_stop(everything=True)


CALLS: dict[str, Call] = {
    "status": lambda session: session.deployments.status("c065"),
    "stop": lambda session: session.deployments.ensure_stopped("c065"),
    "deploy": lambda session: session.deployments.deploy("app", "v1", users=["::1"]),
    "fleet": lambda session: session.private_fleets.deploy(
        "app", "v1", users=["::1"], private_host_ids=["h"]
    ),
    "tag": lambda session: session.tags.create("c065", "v1"),
    "ready": lambda session: session.deployments.wait_until_ready("c065"),
    "list": lambda session: session.deployments.list(),
    "running": run_block,
    "bulk": run_many,
    "self_stop": self_stop,
    "stop_self": own_stop,
    "new_version": new_version,
    "changed_version": changed_version,
    "new_storage": new_storage,
    "changed_storage": changed_storage,
    "new_relay": new_relay,
    "revoked_user": revoked_user,
    "webhook": deploy_with_a_webhook,
    "header": call_with_a_header,
    "raw": raw_call,
}
# The calls whose own secret the answer repeats, in place of the API token.
OWN = {
    **dict.fromkeys(("self_stop", "stop_self"), DELETE_TOKEN),
    **dict.fromkeys(("new_version", "changed_version"), DELETE_TOKEN),
    **dict.fromkeys(("new_storage", "changed_storage"), DELETE_TOKEN),
    "revoked_user": RELAY_TOKEN,
}
SECRET_ARGUMENTS = (
    new_storage,
    changed_storage,
    new_relay,
    revoked_user,
    deploy_with_a_webhook,
    call_with_a_header,
    raw_call,
)
URL = f"https://a.example/{DELETE_TOKEN}"
# The others take the same way through the transport.
MAIN = ("status", "deploy", "running", "self_stop", "stop_self")
each_call = pytest.mark.parametrize(
    "call",
    [
        pytest.param(call, marks=() if call in MAIN else pytest.mark.slow)
        for call in CALLS
    ],
)
# Stands for the token of the call, which has as many characters.
MARK = "=" * 32
ECHO = json.dumps({"message": f"it was {MARK}", "request_id": "c065"})
MOMENTS: dict[str, Act] = {
    "before the answer": SILENT,
    "in the body": STUCK,
    "in a body with the token": replace(half(200, ECHO + ECHO), cut=False, silent=True),
    "in a large body": Act(
        b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n" + ECHO.encode() * 5000,
        silent=True,
    ),
    "in an error": replace(half(500, ECHO + ECHO), cut=False, silent=True),
    "in the pause before a retry": answer(429, ECHO, retry_after="30"),
    "after a lost answer": CUT,
    "after a failure": answer(503, ECHO),
}


def repeating(act: Act, call: str) -> Act:
    """An act that repeats the token of a call."""
    # The length stays the same.
    secret = OWN.get(call, TOKEN).ljust(len(MARK))
    return replace(act, raw=act.raw.replace(MARK.encode(), secret.encode()))


def containers(value: object, depth: int = 0) -> Iterator[object]:
    """A value, and what Sentry shows of it: the items of mappings and sequences."""
    yield value
    if depth > 4:
        return
    items: Collection[object] = ()
    if isinstance(value, Mapping):
        items = [*value.keys(), *value.values()]
    elif isinstance(value, list | tuple | set | frozenset):
        items = value
    for item in items:
        yield from containers(item, depth + 1)


def shown_locals(frame: FrameType) -> Iterator[str]:
    """What each local variable of a frame shows."""
    for name, value in list(frame.f_locals.items()):
        where = f"{frame.f_code.co_filename}:{frame.f_code.co_name}: {name}"
        for each in containers(value):
            with suppress(AttributeError):
                # It may be half made.
                yield f"{where} = {each!r}"
            # rich and structlog cut long texts.
            yield f"{where} = {pretty_repr(each, max_string=80, max_depth=4)}"
            if isinstance(each, str):
                yield f"{where} = {each[:80]!r}"


def ours(frame: FrameType) -> bool:
    return "/tests/" not in frame.f_code.co_filename


def of_traceback(trace: TracebackType | None) -> Iterator[str]:
    for frame, _ in traceback.walk_tb(trace):
        if ours(frame):
            yield from shown_locals(frame)


def of_error(error: BaseException | None, seen: set[int]) -> Iterator[str]:
    """What an error and all its causes, contexts and members show."""
    if error is None or id(error) in seen:
        return
    seen.add(id(error))
    yield from of_traceback(error.__traceback__)
    yield repr(vars(error)) + repr(error.args)
    for other in (error.__cause__, error.__context__):
        yield from of_error(other, seen)
    for member in getattr(error, "exceptions", ()):
        yield from of_error(member, seen)


def of_tasks() -> Iterator[str]:
    """What the frames of all running tasks show, down to what they wait for."""
    for task in asyncio.all_tasks():
        if task is asyncio.current_task():
            continue
        waits: Any = task.get_coro()
        while waits is not None:
            frame = getattr(waits, "cr_frame", None) or getattr(waits, "gi_frame", None)
            if frame is not None and ours(frame):
                yield from shown_locals(frame)
            waits = getattr(waits, "cr_await", None) or getattr(
                waits, "gi_yieldfrom", None
            )


def leaks(shown: Iterator[str]) -> list[str]:
    return sorted({text[:300] for text in shown if any(it in text for it in PARTS)})


def leaks_of(error: BaseException) -> list[str]:
    found = leaks(of_error(error, set()))
    # The standard library's own form.
    standard = traceback.TracebackException.from_exception(error, capture_locals=True)
    while standard:
        found += [
            f"{frame.name}: {name} = {value}"
            for frame in standard.stack
            if "/tests/" not in frame.filename
            for name, value in (frame.locals or {}).items()
            if any(part in value for part in PARTS)
        ]
        standard = standard.__cause__ or standard.__context__  # type: ignore[assignment]
    return found


async def cut_off(call: Call, edgegap: EdgegapSession, how: str) -> BaseException:
    """Cut a call off, and return the error that its caller gets."""
    try:
        if how == "timeout":
            async with asyncio.timeout(1.0):
                await call(edgegap)
        elif how == "wait_for":
            await asyncio.wait_for(call(edgegap), 1.0)
        elif how == "group":
            async with asyncio.timeout(1.0), asyncio.TaskGroup() as group:
                group.create_task(_run(call, edgegap))
        else:
            task = asyncio.ensure_future(call(edgegap))
            await asyncio.sleep(1.0)
            task.cancel()
            await task
    except BaseException as error:  # noqa: BLE001
        return error
    raise AssertionError("the call was not cut off")


async def _run(call: Call, edgegap: EdgegapSession) -> None:
    await call(edgegap)


@pytest.mark.parametrize(
    "how",
    [
        "timeout",
        pytest.param("cancel", marks=pytest.mark.slow),
        pytest.param("wait_for", marks=pytest.mark.full),
        pytest.param("group", marks=pytest.mark.full),
    ],
)
@pytest.mark.parametrize("moment", MOMENTS)
@each_call
async def test_a_call_that_its_caller_cuts_off_shows_no_token(
    call: str, moment: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with RawServer(repeating(MOMENTS[moment], call)) as server:
        monkeypatch.setenv("ARBITRIUM_DELETE_URL", f"{server.url}/v1/self/stop/c065/7")
        monkeypatch.setenv("ARBITRIUM_DELETE_TOKEN", DELETE_TOKEN)
        async with EdgegapSession(
            TOKEN, base_url=server.url, cleanup_timeout=0
        ) as edgegap:
            error = await cut_off(CALLS[call], edgegap, how)
            assert leaks_of(error) == []


@pytest.mark.parametrize("how", ["timeout", "cancel"])
@pytest.mark.parametrize("call", ["status", "deploy", "self_stop"])
async def test_a_call_that_is_cut_off_in_the_queue_shows_no_token(
    call: str, how: str
) -> None:
    limits = Limits(status=1, deploy=1, other=1)
    async with (
        RawServer(SILENT) as server,
        EdgegapSession(
            TOKEN, base_url=server.url, limits=limits, cleanup_timeout=0
        ) as edgegap,
    ):
        first = asyncio.ensure_future(CALLS[call](edgegap))
        await asyncio.sleep(0.1)
        error = await cut_off(CALLS[call], edgegap, how)
        assert leaks_of(error) == []
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)


@each_call
async def test_a_call_that_is_cut_off_while_it_connects_shows_no_token(
    call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with never_accepts() as url:
        monkeypatch.setenv("ARBITRIUM_DELETE_URL", f"{url}/v1/self/stop/c065/7")
        monkeypatch.setenv("ARBITRIUM_DELETE_TOKEN", DELETE_TOKEN)
        async with EdgegapSession(TOKEN, base_url=url, cleanup_timeout=0) as edgegap:
            assert leaks_of(await cut_off(CALLS[call], edgegap, "timeout")) == []


@pytest.mark.parametrize("moment", MOMENTS)
@each_call
async def test_the_frames_of_running_tasks_show_no_token(
    call: str, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with RawServer(repeating(MOMENTS[moment], call)) as server:
        monkeypatch.setenv("ARBITRIUM_DELETE_URL", f"{server.url}/v1/self/stop/c065/7")
        monkeypatch.setenv("ARBITRIUM_DELETE_TOKEN", DELETE_TOKEN)
        async with EdgegapSession(
            TOKEN, base_url=server.url, cleanup_timeout=0
        ) as edgegap:
            task = asyncio.ensure_future(CALLS[call](edgegap))
            await asyncio.sleep(0.5)
            found = [
                text
                for text in leaks(of_tasks())
                # What has arrived of a body is not read so far.
                if "_read" not in text
            ]
            assert found == []
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("call", ["status", "self_stop"])
async def test_a_given_http_session_shows_no_token(moment: str, call: str) -> None:
    async with (
        RawServer(repeating(MOMENTS[moment], call)) as server,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http,
        EdgegapSession(TOKEN, base_url=server.url, http=http) as edgegap,
    ):
        assert leaks_of(await cut_off(CALLS[call], edgegap, "timeout")) == []


@pytest.mark.parametrize("kind", [ReferenceError, KeyError])
@pytest.mark.parametrize("hook", ["on_request_start", "on_request_end"])
@pytest.mark.parametrize("call", ["status", "deploy", "running", "self_stop"])
async def test_an_error_of_a_given_http_session_is_typed_and_shows_no_token(
    call: str, hook: str, kind: type[Exception]
) -> None:
    async def broken(*_: object) -> None:
        raise kind("a fault of a trace")

    traces = aiohttp.TraceConfig()
    getattr(traces, hook).append(broken)
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        RawServer(answer(200, {"request_id": "c065"})) as server,
        aiohttp.ClientSession(connector=connector, trace_configs=[traces]) as http,
        EdgegapSession(
            TOKEN, base_url=server.url, http=http, timeout=5, cleanup_timeout=0
        ) as edgegap,
    ):
        began = asyncio.get_running_loop().time()
        with pytest.raises(EdgegapError, match="a fault of a trace") as caught:
            await CALLS[call](edgegap)
        assert leaks_of(caught.value) == []
        if hook == "on_request_start":
            # A retry would fail in the same way.
            assert asyncio.get_running_loop().time() - began < 0.1
            assert server.arrivals == []


@pytest.mark.parametrize(
    "act",
    [
        answer(200, f"{{{MARK}"),
        answer(200, f"[{','.join(['1'] * 5_000)}, {MARK}"),
        answer(200, {"request_id": "c066", "message": f"{MARK}"}),
        answer(200, {"request_id": 5, "tags": [MARK]}),
        answer(400, ECHO),
        answer(401, ECHO),
        answer(500, ECHO),
        answer(302, ECHO, location=f"/{MARK}"),
        CUT,
    ],
)
@each_call
async def test_an_error_shows_no_token_and_no_body_in_its_locals(
    call: str, act: Act, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with RawServer(repeating(act, call)) as server:
        monkeypatch.setenv("ARBITRIUM_DELETE_URL", f"{server.url}/v1/self/stop/c065/7")
        monkeypatch.setenv("ARBITRIUM_DELETE_TOKEN", DELETE_TOKEN)
        async with EdgegapSession(
            TOKEN,
            base_url=server.url,
            retry=Retry(tries=1),
            timeout=5,
            cleanup_timeout=0,
        ) as edgegap:
            ended = await asyncio.gather(
                asyncio.wait_for(CALLS[call](edgegap), 20), return_exceptions=True
            )
            for error in ended:
                if isinstance(error, BaseException):
                    assert leaks_of(error) == []


WRONG: dict[str, Callable[[], object]] = {
    "timeout": lambda: EdgegapSession(TOKEN, timeout=-1),
    "on_event": lambda: EdgegapSession(TOKEN, on_event=5),  # type: ignore[arg-type]
    "limits": lambda: EdgegapSession(TOKEN, limits=5),  # type: ignore[arg-type]
    "base_url": lambda: EdgegapSession(TOKEN, base_url="ftp://a.example"),
    "line end": lambda: EdgegapSession(f"{TOKEN}\n{TOKEN}"),
    "bytes": lambda: EdgegapSession(TOKEN.encode()),  # type: ignore[arg-type]
    "not ascii": lambda: EdgegapSession(f"{TOKEN}\N{SNOWMAN}"),
    "container": lambda: Container.from_env(
        {
            "ARBITRIUM_REQUEST_ID": "c065",
            "ARBITRIUM_DELETE_TOKEN": DELETE_TOKEN,
            "ARBITRIUM_PORTS_MAPPING": "{",
        }
    ),
    "no container": lambda: Container.from_env(
        {"ARBITRIUM_DELETE_TOKEN": DELETE_TOKEN}
    ),
    "secret of webhooks": lambda: WebhookReceiver(
        "https://a.example", secret=TOKEN[:12]
    ),
    "another secret of webhooks": lambda: WebhookReceiver(
        "https://a.example",
        secret=bytearray(TOKEN.encode()),  # type: ignore[arg-type]
    ),
    "two secrets of webhooks": lambda: WebhookReceiver(
        "https://a.example", secret=[TOKEN, DELETE_TOKEN, TOKEN[:12]]
    ),
    "url of a webhook": lambda: Webhook(f"ftp://a.example/{TOKEN}"),
    "url of a receiver": lambda: WebhookReceiver("https://a b", secret=TOKEN),
    "simulator": lambda: Simulator(keep=-1),
    "headers of many": lambda: EdgegapSession("token").deployments.deploy_many(
        [], headers={"X-Key": TOKEN}, concurrency=-1
    ),
    "wrong headers of many": lambda: EdgegapSession("token").deployments.deploy_many(
        [], headers={"X-Key": f"{TOKEN}\n"}
    ),
    "equal secrets of webhooks": lambda: WebhookReceiver(
        "https://a.example", secret=[TOKEN, DELETE_TOKEN, TOKEN.encode()]
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_argument_shows_no_token(name: str) -> None:
    with pytest.raises(ValueError) as raised:
        WRONG[name]()
    assert leaks_of(raised.value) == []


@pytest.mark.parametrize(
    "proxy",
    [
        f"socks5://me:{TOKEN}@proxy:1080",
        f"http://me:{TOKEN}@proxy:port",
        f"http://me:{TOKEN}#x@proxy:80",
        f" http://me:{TOKEN}@proxy:80",
    ],
)
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "ALL_PROXY"])
def test_a_proxy_that_cant_be_used_shows_no_password(
    variable: str, proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, proxy)
    # It is in the frame of this test, too.
    del proxy
    with pytest.raises(ValueError, match=f"^{variable} ") as raised:
        EdgegapSession("made-up", trust_env=True)
    assert leaks_of(raised.value) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"access_point_id": -1},
        {"access_point_id": ".."},
        {"request_id": ""},
        {"timeout": -1},
        {"priority": "middle"},
        {"container_log_storage": 5},
        {"token": f"{DELETE_TOKEN}\nx"},
        {"token": DELETE_TOKEN.encode()},
    ],
    ids=str,
)
async def test_a_wrong_argument_of_self_stop_shows_no_delete_token(
    wrong: dict[str, Any],
) -> None:
    arguments = {"request_id": "c065", "access_point_id": 7, "token": DELETE_TOKEN}
    async with EdgegapSession(TOKEN) as edgegap:
        with pytest.raises(ValueError) as raised:
            await edgegap.deployments.self_stop(**(arguments | wrong))
    assert leaks_of(raised.value) == []


@pytest.mark.parametrize("wrong", [f"{DELETE_TOKEN}\nx", f"{DELETE_TOKEN}\N{SNOWMAN}"])
async def test_a_wrong_delete_token_of_a_container_is_not_shown(
    wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARBITRIUM_DELETE_URL", "https://a.example/v1/self/stop/c065/7")
    monkeypatch.setenv("ARBITRIUM_DELETE_TOKEN", wrong)
    with pytest.raises(ValueError) as raised:
        await stop_self()
    assert leaks_of(raised.value) == []


async def test_stop_self_without_a_url_shows_no_delete_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ARBITRIUM_DELETE_URL", raising=False)
    monkeypatch.setenv("ARBITRIUM_DELETE_TOKEN", DELETE_TOKEN)
    with pytest.raises(ValueError) as raised:
        await stop_self()
    assert leaks_of(raised.value) == []


@pytest.mark.slow
def test_the_search_for_leaks_finds_locals_causes_and_members() -> None:
    def deep(error: type[Exception], **values: object) -> None:
        raise error

    code = "def leak(value):\n    held = {'a': [value]}\n    raise ValueError"
    names: dict[str, Any] = {}
    exec(compile(code, "/elsewhere.py", "exec"), names)  # noqa: S102
    with pytest.raises(ValueError) as raised:
        names["leak"](TOKEN)
    assert leaks_of(raised.value)
    outer = RuntimeError()
    outer.__context__ = raised.value
    assert leaks(of_error(outer, set()))
    assert leaks(of_error(ExceptionGroup("some", [raised.value]), set()))
    gc.collect()


@pytest.mark.parametrize("call", [new_version, changed_version])
@pytest.mark.parametrize(
    "wrong",
    [
        {"app_name": ".."},
        {"name": ""},
        {"max_duration": 2000},
        {"ports": [5]},
        {"timeout": -1},
        {"priority": "middle"},
        {"private_username": 5},
        {"private_token": f"{DELETE_TOKEN}\nx"},
        {"private_token": DELETE_TOKEN.encode()},
        {"private_token": f"{DELETE_TOKEN}\ud800"},
    ],
    ids=str,
)
async def test_a_wrong_argument_of_a_version_shows_no_private_token(
    call: Callable[..., Awaitable[object]], wrong: dict[str, Any]
) -> None:
    async with EdgegapSession(TOKEN) as edgegap:
        with pytest.raises(ValueError) as raised:
            await call(edgegap, **wrong)
    assert leaks_of(raised.value) == []


@pytest.mark.parametrize(
    ("call", "wrong"),
    [
        *((call, {"timeout": -1}) for call in SECRET_ARGUMENTS),
        *((call, {"colour": "red"}) for call in SECRET_ARGUMENTS),
        (new_storage, {"name": ""}),
        (new_storage, {"endpoint": "ftp://a.example"}),
        (new_storage, {"secret_access_key": f"{DELETE_TOKEN}\nx"}),
        (new_storage, {"secret_access_key": f"{DELETE_TOKEN}\ud800"}),
        (new_storage, {"secret_access_key": DELETE_TOKEN.encode()}),
        (changed_storage, {"endpoint_name": ".."}),
        (changed_storage, {"bucket": ""}),
        (changed_storage, {"secret_access_key": DELETE_TOKEN.encode()}),
        (new_relay, {"users": ["x"]}),
        (new_relay, {"filters": [5]}),
        (new_relay, {"webhook_url": f"ftp://a.example/{DELETE_TOKEN}"}),
        (revoked_user, {"session_id": ""}),
        (revoked_user, {"authorization_token": RELAY_TOKEN}),
        (revoked_user, {"authorization_token": -int(RELAY_TOKEN)}),
        (deploy_with_a_webhook, {"users": ["x"]}),
        (deploy_with_a_webhook, {"webhook_on_error": f"ftp://a/{DELETE_TOKEN}"}),
        (deploy_with_a_webhook, {"webhook_on_error": f"https://a:x/{DELETE_TOKEN}"}),
        (call_with_a_header, {"headers": {"X-Key": f"{DELETE_TOKEN}\n"}}),
        (call_with_a_header, {"headers": {"X-Key": DELETE_TOKEN.encode()}}),
        (new_version, {"headers": {"X-Key": DELETE_TOKEN}, "name": ""}),
        (changed_version, {"headers": {"X-Key": DELETE_TOKEN}, "timeout": -1}),
        (raw_call, {"path": "v1"}),
        (raw_call, {"query": 5}),
        (raw_call, {"body": {"key": DELETE_TOKEN, "other": object()}}),
    ],
)
async def test_a_wrong_argument_beside_a_secret_shows_no_secret(
    call: Callable[..., Awaitable[object]], wrong: dict[str, Any]
) -> None:
    async with EdgegapSession(TOKEN) as edgegap:
        with pytest.raises((ValueError, TypeError)) as raised:
            await call(edgegap, **wrong)
    assert leaks_of(raised.value) == []


@pytest.mark.parametrize(
    "make",
    [
        lambda: DeployRequest("a", "1", users=["x"], webhook_on_error=URL),
        lambda: DeployRequest("a", "1", users=["::1"], webhook_on_error=f" {URL}"),
        lambda: EnvironmentVariable("KEY", f"{DELETE_TOKEN}\ud800", is_hidden=True),
        lambda: EnvironmentVariable("KEY", DELETE_TOKEN * 200, is_hidden=True),
    ],
)
def test_a_body_that_can_not_be_made_shows_no_secret(
    make: Callable[[], object],
) -> None:
    with pytest.raises(ValueError) as raised:
        make()
    assert leaks_of(raised.value) == []


@pytest.mark.parametrize(
    "body",
    [
        {"session_id": 5, "authorization_token": int(RELAY_TOKEN)},
        {"session_id": 5, "session_user": {"authorization_token": int(RELAY_TOKEN)}},
        {"session_id": 5, "webhook_url": f"https://a.example/{DELETE_TOKEN}"},
        {"session_id": 5, "inner": json.dumps({"authorization_token": RELAY_TOKEN})},
    ],
)
async def test_an_answer_about_a_relay_that_can_not_be_read_shows_no_token(
    body: object,
) -> None:
    async with (
        RawServer(answer(200, body)) as server,
        EdgegapSession(TOKEN, base_url=server.url) as edgegap,
    ):
        with pytest.raises(UnexpectedAnswer) as raised:
            await edgegap.relays.get("s")
    assert leaks_of(raised.value) == []
