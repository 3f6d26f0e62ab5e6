"""`trust_env`: the proxy and the certificates of the environment, read once per session."""

import asyncio
import base64
import logging
import urllib.request
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from support.raw_server import (
    GET,
    GOOD,
    OPERATIONS,
    POOL,
    TOKEN,
    RawServer,
    answer,
    failure,
    operations,
    session,
    with_http,
)
from support.tls import untrusted

from edgegap_async import EdgegapSession
from edgegap_async.errors import DeadlineExceeded, TransportError

# No such host exists: only a proxy can answer for it.
API = "http://api.invalid"
REFUSED_HOST = "127.0.0.1:9"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name.upper()}_PROXY", raising=False)
    for name in (
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
        "NETRC",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How often the proxies of the environment are read, here and by aiohttp."""
    seen: list[str] = []
    read = urllib.request.getproxies

    def getproxies() -> dict[str, str]:
        seen.append("read")
        return read()

    for module in ("edgegap_async._transport.environment", "aiohttp.helpers"):
        monkeypatch.setattr(f"{module}.getproxies", getproxies)
    return seen


def through(url: str = API, **options: Any) -> EdgegapSession:
    return session(url, **{"trust_env": True, "allow_insecure": True, **options})


async def test_the_proxy_is_read_once_however_many_requests_there_are(
    monkeypatch: pytest.MonkeyPatch, readings: list[str]
) -> None:
    async with RawServer() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        async with through() as edgegap:
            await asyncio.gather(*(GET(edgegap) for _ in range(20)))
        assert len(proxy.arrivals) == 20
        assert {each.path for each in proxy.arrivals} == {f"{API}/v1/status/c065"}
        assert len(readings) == 1


async def test_without_trust_env_no_variable_is_read(
    monkeypatch: pytest.MonkeyPatch, readings: list[str]
) -> None:
    async with RawServer() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        async with through(trust_env=False) as edgegap:
            assert isinstance(
                await failure(GET(edgegap, timeout=5)),
                DeadlineExceeded | TransportError,
            )
        assert (len(proxy.arrivals), len(readings)) == (0, 0)


@pytest.mark.measured
@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HTTP_PROXY", "{url}"),
        ("ALL_PROXY", "{url}/"),
        # curl accepts this form.
        ("http_proxy", "{host}"),
    ],
)
async def test_the_proxy_of_each_variable_is_used(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with RawServer() as proxy:
        host = proxy.url.removeprefix("http://")
        monkeypatch.setenv(variable, value.format(url=proxy.url, host=host))
        async with through() as edgegap:
            await GET(edgegap)
        assert len(proxy.arrivals) == 1


@pytest.mark.parametrize("excluded", ["api.invalid", ".invalid", "*", None])
async def test_no_proxy_and_this_machine_are_reached_directly(
    excluded: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://{REFUSED_HOST}")
    async with RawServer() as server:
        if excluded:
            monkeypatch.setenv("NO_PROXY", excluded)
            async with through() as edgegap:
                error = await failure(GET(edgegap, timeout=5))
            # It is not that of the proxy. Looking up the name may take longer.
            assert REFUSED_HOST not in str(error)
        async with through(server.url) as edgegap:
            await GET(edgegap)
        assert len(server.arrivals) == 1


def basic(login: str) -> str:
    return f"Basic {base64.b64encode(login.encode()).decode()}"


@pytest.mark.measured
@pytest.mark.parametrize(
    ("login", "netrc", "sent"),
    [
        ("me:pass@", "machine 127.0.0.1 login other password x", basic("me:pass")),
        ("", "machine 127.0.0.1 login me password p@ss", basic("me:p@ss")),
        # The default line is not meant for proxies.
        ("", "default login me password pass", None),
        ("", "machine api.invalid login me password pass", None),
    ],
)
async def test_the_proxy_gets_its_own_password_and_the_api_the_token(
    login: str,
    netrc: str,
    sent: str | None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    (tmp_path / ".netrc").write_text(netrc)
    async with RawServer() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.replace("//", f"//{login}"))
        async with through() as edgegap:
            await GET(edgegap)
        headers = proxy.arrivals[0].headers
        assert headers.get("Proxy-Authorization") == sent
        assert headers["Authorization"] == f"token {TOKEN}"


async def test_a_proxy_never_gets_the_token_of_an_encrypted_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with RawServer(answer(502)) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url.replace("//", "//me:pass@"))
        async with through("https://api.invalid") as edgegap:
            error = await failure(GET(edgegap, timeout=5))
        assert "the proxy answered 502" in str(error)
        assert not error.request_sent
        connect = proxy.arrivals[0]
        assert (connect.method, connect.path) == ("CONNECT", "api.invalid:443")
        assert connect.headers["Proxy-Authorization"] == basic("me:pass")
        assert TOKEN not in str(proxy.arrivals)


async def test_an_unreadable_netrc_is_a_warning_without_its_text(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "mine").write_text("my-secret-word")
    monkeypatch.setenv("NETRC", str(tmp_path / "mine"))
    async with RawServer() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        async with through() as edgegap:
            await GET(edgegap)
    (record,) = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert str(tmp_path / "mine") in record.getMessage()
    assert "my-secret-word" not in caplog.text


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"HTTPS_PROXY": "socks5://me:secret@proxy:1080"}, "HTTPS_PROXY .*SOCKS"),
        ({"ALL_PROXY": "socks5://me:secret@proxy:1080"}, "ALL_PROXY .*SOCKS"),
        ({"HTTPS_PROXY": "http://me:secret@proxy:port"}, "HTTPS_PROXY "),
        ({"REQUESTS_CA_BUNDLE": "/nowhere.pem"}, "REQUESTS_CA_BUNDLE "),
        ({"SSL_CERT_FILE": "/nowhere.pem"}, "SSL_CERT_FILE "),
        ({"SSL_CERT_FILE": __file__}, "SSL_CERT_FILE "),
        ({"CURL_CA_BUNDLE": __file__}, "CURL_CA_BUNDLE "),
    ],
)
def test_a_variable_that_cant_be_used_is_named(
    variables: dict[str, str], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert EdgegapSession(TOKEN)
    with pytest.raises(ValueError, match=f"^{named}") as raised:
        EdgegapSession(TOKEN, trust_env=True)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    "variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"]
)
async def test_the_certificates_of_the_environment_are_trusted(
    variable: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with untrusted(tmp_path) as url:
        monkeypatch.setenv(variable, str(tmp_path / "untrusted.pem"))
        async with session(url, trust_env=True) as trusting, session(url) as other:
            refused = await failure(GET(other, timeout=5))
            assert isinstance(refused, TransportError)
            assert refused.permanent
            # That server closes every connection.
            closed = await failure(GET(trusting, timeout=5))
            assert "CERTIFICATE" not in str(closed)
            assert closed.request_sent


@pytest.mark.parametrize("value", ["yes", 1, None])
def test_trust_env_is_true_or_false(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^trust_env "):
        EdgegapSession(TOKEN, trust_env=value)


async def test_trust_env_beside_http_says_where_to_set_it() -> None:
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=POOL)
    ) as http:
        with pytest.raises(ValueError, match=r"^trust_env .*ClientSession\(trust_env"):
            EdgegapSession(TOKEN, http=http, trust_env=True)


@operations
@pytest.mark.parametrize(
    "netrc", ["default login me password pass", "machine 127.0.0.1 login me password p"]
)
async def test_with_a_given_http_session_netrc_does_not_replace_the_token(
    name: str, netrc: str, tmp_path: Path
) -> None:
    (tmp_path / ".netrc").write_text(netrc)
    async with with_http(GOOD, http_options={"trust_env": True}) as (edgegap, server):
        await OPERATIONS[name](edgegap)
        assert server.arrivals[0].headers["Authorization"] == f"token {TOKEN}"


@pytest.mark.filterwarnings("ignore:.*BasicAuth:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*auth:DeprecationWarning")
async def test_with_a_given_http_session_its_own_credentials_do_not_replace_the_token() -> (
    None
):
    for options in (
        {"auth": aiohttp.BasicAuth("me", "pass")},
        {"headers": {"Authorization": "Basic bWU6cGFzcw=="}},
    ):
        async with with_http(answer(200, {}), GOOD, http_options=options) as (
            edgegap,
            server,
        ):
            await edgegap.deployments.self_stop("c065", 1, token="delete-token")
            await GET(edgegap)
            assert [each.headers["Authorization"] for each in server.arrivals] == [
                "delete-token",
                f"token {TOKEN}",
            ]
