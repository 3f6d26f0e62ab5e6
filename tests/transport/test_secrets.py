"""Tokens and webhook signatures appear in no error, log line, repr or URL, whatever a
server or a proxy sends back.
"""

import json
import logging
import pickle
import re
import socket
import traceback
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from aiohttp import ClientSession, web
from rich.pretty import pretty_repr
from support.raw_server import Act, RawServer, answer

from edgegap_async import (
    EdgegapError,
    EdgegapSession,
    EnvironmentVariable,
    Limits,
    Retry,
    WebhookReceiver,
    endpoints,
)
from edgegap_async._transport.response import MOST_SHOWN, Reply, read
from edgegap_async.container import Container, stop_self

TOKEN = "5ec4e7a0-face-4b1d-8bad-c0ffee0ddba1"
DELETE_TOKEN = "de1e7e70cafe4b1d8badc0ffee0ddba2"
# Parsers shorten what they quote, and most of a token is still a leak.
PARTS = {
    secret[at : at + 10]
    for secret in (TOKEN, DELETE_TOKEN)
    for at in range(len(secret) - 9)
}
Call = Callable[[EdgegapSession], Coroutine[Any, Any, object]]


async def run_stop_self(session: EdgegapSession) -> object:
    return await stop_self()


CALLS: dict[str, Call] = {
    "status": lambda session: session.deployments.status("c065"),
    "stop": lambda session: session.deployments.stop("c065"),
    "deploy": lambda session: session.deployments.deploy("app", "v1", users=["::1"]),
    "fleet": lambda session: session.private_fleets.deploy(
        "app", "v1", users=["::1"], private_host_ids=["h"]
    ),
    "tag": lambda session: session.tags.create("c065", "v1"),
    "ready": lambda session: session.deployments.wait_until_ready("c065", timeout=5.0),
    "self_stop": lambda session: session.deployments.self_stop(
        "c065", 7, token=DELETE_TOKEN
    ),
    "stop_self": run_stop_self,
    "new_version": lambda session: session.versions.create(
        "arena",
        "v1",
        req_cpu=256,
        req_memory=512,
        docker_repository="registry.example.com",
        docker_image="arena",
        docker_tag="v1",
        private_token=DELETE_TOKEN,
    ),
}


def raw(start: str, body: str = "", *headers: str, length: int | None = None) -> Act:
    head = [
        start,
        f"Content-Length: {len(body) if length is None else length}",
        *headers,
    ]
    return Act("\r\n".join([*head, "", body]).encode(), cut=True)


def escaped(text: str, every: int = 1) -> str:
    """A text with escapes of JSON in place of characters."""
    return "".join(
        each if at % every else f"\\u{ord(each):04x}" for at, each in enumerate(text)
    )


def leaking_answers(secret: str) -> dict[str, Act]:
    """Answers of servers that repeat a secret in every possible place."""
    echo = f"token {secret}"
    return {
        "json error": answer(
            400, {"message": echo, "details": {echo: [echo]}, "request_id": echo}
        ),
        "no room": answer(422, {"message": echo, "details": echo, "request_id": echo}),
        "unauthorized": answer(401, f"Authorization: {echo}"),
        "not found": answer(404, {"message": echo}),
        "conflict": answer(409, {"error": echo}),
        "too many": answer(429, {"message": echo}, retry_after=echo),
        "html": answer(502, f"<html>{echo}</html>", x_echo=echo),
        "late in the body": answer(500, "x" * 180 + echo),
        "not json": answer(200, f"{{{echo}"),
        "no utf-8": answer(200, echo.encode() + b"\xff"),
        "no identity": answer(
            200, {echo: echo, "request_id": 5, "tags": {echo: echo}, "message": 5}
        ),
        "one escape": answer(
            403, f'{{"message": "{echo[:9]}{escaped(echo[9:], 99)}"}}'
        ),
        "all escapes": answer(
            403,
            f'{{"message": 5, "details": {{"{escaped(echo).upper()}": 1}}}}'.replace(
                "\\U", "\\u"
            ),
        ),
        "escapes in an object": answer(
            403, f'{{"errors": [{{"a": ["{escaped(echo, 3)}"]}}]}}'
        ),
        "escapes of escapes": answer(
            400, {"message": json.dumps({"a": "x"}).replace("x", escaped(echo, 5))}
        ),
        "not json, with escapes": answer(200, f'{{"a": "\\n{echo}"'),
        "redirect": answer(302, echo, location=f"http://127.0.0.1/{secret}?{secret}"),
        "reason": raw(f"HTTP/1.1 500 {echo}", "{"),
        "status line": raw(f"{echo} 200 OK"),
        "wrong version": raw(f"HTTP/{echo} 200 OK"),
        "header name": raw("HTTP/1.1 200 OK", "", f"{echo}\x00: x"),
        "header value": raw("HTTP/1.1 200 OK", "", f"X-Echo: {echo}\x00"),
        "header too long": raw("HTTP/1.1 200 OK", "", f"X-Echo: {echo * 1000}"),
        "wrong encoding": raw("HTTP/1.1 200 OK", echo, "Content-Encoding: gzip"),
        "wrong length": Act(
            f"HTTP/1.1 200 OK\r\nContent-Length: {echo}\r\n\r\n".encode(), cut=True
        ),
        "wrong chunk": Act(
            f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{echo}\r\n".encode(),
            cut=True,
        ),
        "cut": raw("HTTP/1.1 200 OK", echo, length=5000),
        "silent": Act(silent=True),
    }


def shown_by(error: BaseException | None) -> Iterator[str]:
    """Everything that an error can show, its causes and contexts included."""
    if error is None:
        return
    yield from traceback.format_exception(error)
    yield from (
        str(error),
        repr(error),
        repr(error.args),
        repr(vars(error)),
        pretty_repr(error),
    )
    yield (
        pickle.dumps(error).decode("latin-1") if isinstance(error, EdgegapError) else ""
    )
    yield from shown_by(error.__cause__)
    yield from shown_by(error.__context__)


# Each part contains one of these, and there are few of them to search for.
PIECES = {
    secret[at : at + 5]
    for secret in (TOKEN, DELETE_TOKEN)
    for at in range(0, len(secret) - 4, 5)
}


def leaks(*shown: str) -> list[str]:
    suspects = [text for text in shown if any(piece in text for piece in PIECES)]
    return [text for text in suspects if any(part in text for part in PARTS)]


@pytest.fixture
def all_logs(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG)
    for name in ("edgegap_async", "asyncio", "aiohttp"):
        caplog.set_level(logging.DEBUG, name)
    return caplog


@pytest.mark.parametrize(
    ("call", "act"),
    [
        (call, act)
        for call in CALLS
        for act in leaking_answers("")
        # Any object is an answer to a stop, and to a new version.
        if not (act == "no identity" and ("stop" in call or "version" in call))
    ],
)
async def test_no_error_and_no_log_line_contains_a_token(
    call: str,
    act: str,
    all_logs: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = "self" in call or "version" in call
    secret = DELETE_TOKEN if own else TOKEN
    async with RawServer(leaking_answers(secret)[act]) as server:
        monkeypatch.setenv("ARBITRIUM_DELETE_URL", f"{server.url}/v1/self/stop/c065/7")
        monkeypatch.setenv("ARBITRIUM_DELETE_TOKEN", DELETE_TOKEN)
        async with EdgegapSession(
            TOKEN, base_url=server.url, retry=Retry(tries=2), timeout=20.0
        ) as session:
            with pytest.raises(EdgegapError) as raised:
                await CALLS[call](session)
            assert (
                leaks(
                    *shown_by(raised.value),
                    repr(session),
                    str(session),
                    repr(session.usage()),
                )
                == []
            )
        assert server.arrivals
        assert leaks(*(arrival.path for arrival in server.arrivals)) == []
    lines = [repr(vars(record)) + record.getMessage() for record in all_logs.records]
    assert any("edgegap_async" in line for line in lines)
    assert leaks(*lines) == []


@pytest.mark.parametrize("call", CALLS)
async def test_no_error_without_a_connection_contains_a_token(
    call: str, all_logs: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        # The port is bound and does not listen.
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("ARBITRIUM_DELETE_URL", f"{url}/v1/self/stop/c065/7")
        monkeypatch.setenv("ARBITRIUM_DELETE_TOKEN", DELETE_TOKEN)
        async with EdgegapSession(TOKEN, base_url=url) as session:
            with pytest.raises(EdgegapError) as raised:
                await CALLS[call](session)
        with pytest.raises(EdgegapError) as closed:
            await CALLS["status"](session)
    assert leaks(*shown_by(raised.value), *shown_by(closed.value), repr(session)) == []
    assert leaks(*(repr(vars(record)) for record in all_logs.records)) == []


async def test_no_error_on_a_given_http_session_contains_a_token(
    all_logs: pytest.LogCaptureFixture,
) -> None:
    async with (
        RawServer(leaking_answers(TOKEN)["html"]) as server,
        ClientSession(raise_for_status=True) as http,
    ):
        # Half of the rate fits into aiohttp's default pool of 100 connections.
        limits = Limits(share=0.5)
        session = EdgegapSession(
            TOKEN, base_url=server.url, http=http, retry=Retry(tries=1), limits=limits
        )
        with pytest.raises(EdgegapError) as raised:
            await session.deployments.status("c065")
        await http.close()
        with pytest.raises(EdgegapError) as closed:
            await session.deployments.status("c065")
        await session.aclose()
    assert leaks(*shown_by(raised.value), *shown_by(closed.value)) == []
    assert leaks(*(repr(vars(record)) for record in all_logs.records)) == []


@pytest.mark.parametrize("status", [200, 302, 500])
@pytest.mark.parametrize("shorter", range(0, 3 * len(TOKEN), 5))
def test_a_token_where_a_long_body_is_cut_is_not_shown(
    status: int, shorter: int
) -> None:
    for token in (TOKEN, escaped(TOKEN), f"\\n{TOKEN}"):
        body = (b"x" * (MOST_SHOWN - shorter) + token.encode()) * 2
        with pytest.raises(EdgegapError) as raised:
            read(endpoints.STATUS, Reply(status, body, TOKEN))
        shown = "".join(shown_by(raised.value))
        assert leaks(shown, shown.replace("\\\\", "\\")) == []
        # Most of an escaped token.
        assert escaped(TOKEN)[:60] not in shown.replace("\\\\", "\\")


def test_reprs_hide_secrets() -> None:
    container = Container(request_id="c065", delete_token=DELETE_TOKEN)
    variable = EnvironmentVariable("KEY", DELETE_TOKEN, is_hidden=True)
    reply = Reply(200, TOKEN.encode(), TOKEN)
    shown = [
        form(it)
        for it in (container, variable, EdgegapSession(TOKEN))
        for form in (repr, str, pretty_repr)
    ]
    assert leaks(*shown, repr(reply)) == []
    assert "c065" in pretty_repr(container)
    assert "KEY" in pretty_repr(variable)
    assert DELETE_TOKEN in repr(EnvironmentVariable("KEY", DELETE_TOKEN))


def test_the_leak_search_finds_shortened_tokens_and_causes() -> None:
    error = EdgegapError("fine")
    error.__cause__ = ValueError(f"cut short: {TOKEN[:12]}")
    assert leaks(*shown_by(error))
    assert leaks(*shown_by(EdgegapError(DELETE_TOKEN)))


ECHOES: dict[str, tuple[int, Callable[[str], str]]] = {
    "refused": (
        400,
        lambda url: json.dumps(
            {"message": f"{url} is no URL", "details": {"webhook_on_ready": url}}
        ),
    ),
    "no room": (422, lambda url: json.dumps({"message": url, "request_id": "c065"})),
    "not json": (202, lambda url: url),
    "no identity": (202, lambda url: json.dumps({"request_id": 5, "url": url})),
    "slashes": (400, lambda url: json.dumps({"message": url}).replace("/", "\\/")),
    "escapes": (
        400,
        lambda url: f'{{"message": "{escaped(url, 7)} {escaped(url)} {url}"}}',
    ),
    "proxy": (502, lambda url: f"<html>{url}</html>"),
    "cut short": (502, lambda url: url[:-40]),
}


@pytest.mark.parametrize("echo", ECHOES)
@pytest.mark.parametrize("once", [True, False])
async def test_no_error_and_no_log_line_contains_a_webhook_signature(
    once: bool, echo: str, all_logs: pytest.LogCaptureFixture
) -> None:
    signatures: set[str] = set()
    status, made = ECHOES[echo]

    async def answer_with_the_url(request: web.BaseRequest) -> web.Response:
        body = await request.read()
        if not body:
            # The search for the deployment fails.
            return web.Response(status=503)
        signatures.update(re.findall("[0-9a-f]{64}", body.decode()))
        url = json.loads(body)["webhook_on_ready"]["url"]
        return web.Response(
            status=status, text=made(url), content_type="application/json"
        )

    hooks = WebhookReceiver("https://matchmaker.example.com/hooks")
    runner = web.ServerRunner(web.Server(answer_with_the_url), shutdown_timeout=0.001)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with EdgegapSession(
            TOKEN, base_url=url, webhooks=hooks, cleanup_timeout=0
        ) as session:
            with pytest.raises(EdgegapError) as raised:
                await session.deployments.deploy("app", "v1", users=["::1"], once=once)
            shown = [*shown_by(raised.value), repr(session), pretty_repr(hooks)]
    finally:
        await runner.cleanup()
    assert len(signatures) == 3
    shown += [repr(vars(record)) + record.getMessage() for record in all_logs.records]
    parts = {signature[:10] for signature in signatures}
    assert [text for text in shown if any(part in text for part in parts)] == []
    assert any("ready" in text and "/***" in text for text in shown)
