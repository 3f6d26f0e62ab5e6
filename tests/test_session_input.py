"""The options of a session are checked when it is made: token, base URL, limits, retry,
timeouts, callbacks.
"""

from typing import Any

import pytest

from edgegap_async import EdgegapSession, Limits, Retry


async def coroutine_callback(_: object) -> None:
    raise AssertionError("it was called")


SESSIONS: list[tuple[str, dict[str, Any]]] = [
    ("base_url", {"base_url": "api.edgegap.com"}),
    ("base_url", {"base_url": "ftp://api.edgegap.com"}),
    ("base_url", {"base_url": "https://"}),
    ("base_url", {"base_url": "https://api.edgegap.com?x=1"}),
    ("base_url", {"base_url": "https://api.edgegap.com#x"}),
    ("base_url", {"base_url": "https://me@api.edgegap.com"}),
    ("base_url", {"base_url": "https://me:secret@api.edgegap.com"}),
    ("base_url", {"base_url": "https://[api.edgegap.com"}),
    ("base_url", {"base_url": "https://api.edgegap.com:port"}),
    ("base_url", {"base_url": "https://api.edge\ngap.com"}),
    ("base_url", {"base_url": "https://api edgegap.com"}),
    ("base_url", {"base_url": "http://api.edgegap.com"}),
    ("base_url", {"base_url": "http://127.0.0.1.example.com"}),
    ("base_url", {"base_url": "http://localhost.example.com"}),
    ("base_url", {"base_url": "http://0.0.0.0"}),
    ("base_url", {"base_url": "http://127.0.0.1\\@api.edgegap.com"}),
    ("base_url", {"base_url": ""}),
    ("base_url", {"base_url": []}),
    ("base_url", {"base_url": b"https://api.edgegap.com"}),
    ("allow_insecure", {"allow_insecure": "no"}),
    ("allow_insecure", {"allow_insecure": None}),
    ("timeout", {"timeout": 0}),
    ("timeout", {"timeout": "60"}),
    ("attempt_timeout", {"attempt_timeout": -1}),
    ("attempt_timeout", {"attempt_timeout": None}),
    ("on_event", {"on_event": "print"}),
    ("on_event", {"on_event": coroutine_callback}),
    ("on_intent", {"on_intent": coroutine_callback}),
    ("webhooks", {"webhooks": "https://example.com"}),
]


@pytest.mark.parametrize(("argument", "options"), SESSIONS)
def test_an_invalid_session_option_is_named(
    argument: str, options: dict[str, Any]
) -> None:
    with pytest.raises(ValueError) as raised:
        EdgegapSession("secret-token", **options)
    assert str(raised.value).startswith(argument)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8080",
        "http://127.8.8.8",
        "http://[::1]:80",
        "http://LOCALHOST/",
    ],
)
def test_plain_http_needs_loopback_or_allow_insecure(url: str) -> None:
    assert EdgegapSession("secret-token", base_url=url)
    assert EdgegapSession(
        "secret-token", base_url="http://api.internal:8080", allow_insecure=True
    )


@pytest.mark.parametrize(
    "options",
    [
        {"deploy": 0},
        {"status": -1},
        {"list": "10"},
        {"other": float("nan")},
        {"share": 0},
        {"share": 1.1},
        {"burst": 0},
    ],
)
def test_an_invalid_limit_is_named(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^limits: {next(iter(options))} "):
        Limits(**options)


@pytest.mark.parametrize(
    "options", [{"tries": 0}, {"backoff": 0}, {"backoff": "1"}, {"budget": -1}]
)
def test_an_invalid_retry_option_is_named(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^retry: {next(iter(options))} "):
        Retry(**options)


INVALID_TOKENS = [
    "",
    "  ",
    "aaaa\x00bbbb",
    "aaaa\nbbbb",
    "aaaa\r\nX-Header: b",
    "aaaa bbbb",
    "aaaaü",
    "a\tb",
]


@pytest.mark.parametrize("token", INVALID_TOKENS)
def test_an_invalid_token_is_rejected_and_not_shown(
    token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=r"^token ") as given:
        EdgegapSession(token)
    monkeypatch.setattr("os.environ", {"EDGEGAP_API_TOKEN": token})
    with pytest.raises(ValueError, match=r"^EDGEGAP_API_TOKEN ") as found:
        EdgegapSession()
    assert not any(
        "aaaa" in str(error.value) or "bbbb" in str(error.value)
        for error in (given, found)
    )


def test_a_missing_token_names_the_environment_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("EDGEGAP_API_TOKEN", raising=False)
    with pytest.raises(ValueError, match=r"^token .*EDGEGAP_API_TOKEN"):
        EdgegapSession()
