"""A receiver accepts the paths that it has signed, and no others."""

import hashlib
import hmac
import logging
import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.limiter_model import run
from support.webhook_samples import (
    BASE,
    BODY,
    EVENTS,
    NONCE,
    SAMPLE,
    SECRET,
    path,
    receiver,
    signed,
    split_path,
)

from edgegap_async import DeploymentState, DeployRequest
from edgegap_async.webhooks import LONGEST_BODY, WebhookEvent, parse

# Bodies


def test_a_body_is_read_as_a_status() -> None:
    status = parse(BODY)
    assert (status.request_id, status.fqdn) == (SAMPLE["request_id"], SAMPLE["fqdn"])
    assert parse(bytearray(BODY)) == status


def test_a_body_needs_only_a_request_id() -> None:
    status = parse(b'{"request_id": "c065", "reason": {"code": [1]}}')
    assert (status.request_id, status.state, status.ports) == (
        "c065",
        DeploymentState.UNKNOWN,
        {},
    )


PASSWORD = "hunter2hunter2"
NO_STATUS = {
    "broken": b'{"request_id": "hunter2hunter2", ',
    "empty": b"",
    "HTML": b"<html>hunter2hunter2</html>",
    "no UTF-8": b'{"request_id": "hunter2hunter2\xff"}',
    "half a surrogate pair": b'{"request_id": "hunter2hunter2\\ud800"}',
    "a list": b'["hunter2hunter2"]',
    "null": b"null",
    "no request_id": b'{"hunter2hunter2": 1}',
    "an empty request_id": b'{"request_id": "", "x": "hunter2hunter2"}',
    "a number for a request_id": b'{"request_id": 5, "x": "hunter2hunter2"}',
    "an id that is none": b'{"request_id": "../hunter2hunter2\\n?"}',
    "nested too deeply": b'{"request_id": "hunter2hunter2", "x": '
    + b"[" * 50_000
    + b"]" * 50_000
    + b"}",
    "2 MiB": b'{"request_id": "hunter2hunter2", "x": "'
    + b"x" * 2 * LONGEST_BODY
    + b'"}',
    "a byte too long": b'{"request_id": "hunter2hunter2"}'.ljust(LONGEST_BODY + 1),
}


@pytest.mark.parametrize("name", NO_STATUS)
async def test_a_body_that_is_no_status_is_no_event(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(ValueError, match=r"^body ") as raised:
        parse(NO_STATUS[name])
    texts = [
        str(raised.value),
        repr(raised.value.__context__),
        repr(raised.value.__cause__),
    ]
    hooks, events = receiver(), list[WebhookEvent]()
    hooks.listen(events.append)
    assert await hooks.handle(path(hooks), NO_STATUS[name]) is None
    assert events == []
    (record,) = caplog.records
    assert str(raised.value) in record.getMessage()
    assert [text for text in (*texts, repr(vars(record))) if PASSWORD in text] == []


def test_the_longest_body_is_1_mib() -> None:
    assert parse(b'{"request_id": "c065"}'.ljust(1024 * 1024)).request_id == "c065"


@pytest.mark.slow
@given(
    st.binary()
    | st.recursive(
        st.none() | st.text(), lambda inner: st.dictionaries(st.text(), inner)
    )
    .map(repr)
    .map(str.encode)
)
def test_no_body_makes_a_receiver_raise(body: bytes) -> None:
    hooks = receiver()
    event = run(hooks.handle(path(hooks), body))
    assert event is None or event.request_id


# Signatures


def test_handling_a_webhook_never_suspends() -> None:
    hooks = receiver()
    with pytest.raises(StopIteration) as done:
        hooks.handle(path(hooks), BODY).send(None)
    assert isinstance(done.value.value, WebhookEvent)


@pytest.mark.parametrize("event", EVENTS)
async def test_a_signed_path_returns_its_event(event: str) -> None:
    hooks = receiver()
    assert re.fullmatch(rf"{BASE}/{event}/{NONCE}/[0-9a-f]{{64}}", signed(hooks, event))
    assert await hooks.handle(path(hooks, event), BODY) == WebhookEvent(
        event,
        NONCE,
        SAMPLE["request_id"],
        parse(BODY),  # type: ignore[arg-type]
    )


def test_the_urls_are_the_arguments_of_a_deploy() -> None:
    hooks = receiver()
    request = DeployRequest("game", "1", users=["::1"], **hooks.urls(NONCE))
    sent = msgspec.json.decode(msgspec.json.encode(request))
    assert [sent[f"webhook_on_{event}"] for event in EVENTS] == [
        {"url": signed(hooks, event)} for event in EVENTS
    ]


async def test_receivers_with_one_secret_verify_each_others_webhooks() -> None:
    hooks = receiver()
    for other in (
        receiver(),
        receiver(secret=SECRET.encode()),
        receiver("http://elsewhere.example:8080/game/hooks/"),
    ):
        assert (
            await other.handle(path(hooks), BODY)
            == await hooks.handle(path(hooks), BODY)
            is not None
        )
    for stranger in (
        receiver(secret=None),
        receiver(secret=SECRET + "2"),
        receiver(secret=b"x" * 16),
    ):
        assert await stranger.handle(path(hooks), BODY) is None
    alone = receiver(secret=None)
    assert await alone.handle(path(alone), BODY)
    assert path(alone) != path(receiver(secret=None))


CHANGES: dict[str, Callable[[str, str, str, str], str]] = {
    "another event": lambda front, event, nonce, sign: f"{front}/error/{nonce}/{sign}",
    "an unknown event": lambda front, event, nonce, sign: (
        f"{front}/started/{nonce}/{sign}"
    ),
    "another nonce": lambda front, event, nonce, sign: (
        f"{front}/{event}/{nonce[:-1]}0/{sign}"
    ),
    "a slash elsewhere": lambda front, event, nonce, sign: (
        f"{front}/{event}{nonce[0]}/{nonce[1:]}/{sign}"
    ),
    "another signature": lambda front, event, nonce, sign: (
        f"{front}/{event}/{nonce}/{'0' * 64}"
    ),
    "a signature cut short": lambda front, event, nonce, sign: (
        f"{front}/{event}/{nonce}/{sign[:-1]}"
    ),
    "half a signature": lambda front, event, nonce, sign: (
        f"{front}/{event}/{nonce}/{sign[:32]}"
    ),
    "a longer signature": lambda front, event, nonce, sign: (
        f"{front}/{event}/{nonce}/{sign}0"
    ),
    "capitals": lambda front, event, nonce, sign: (
        f"{front}/{event}/{nonce}/{sign.upper()}"
    ),
    "no signature": lambda front, event, nonce, sign: f"{front}/{event}/{nonce}/",
    "no nonce": lambda front, event, nonce, sign: f"{front}/{event}//{sign}",
    "a slash at the end": lambda front, event, nonce, sign: (
        f"{front}/{event}/{nonce}/{sign}/"
    ),
    "a line end": lambda front, event, nonce, sign: f"{front}/{event}/{nonce}/{sign}\n",
    "a query": lambda front, event, nonce, sign: f"{front}/{event}/{nonce}/{sign}?a=b",
    "percent signs": lambda front, event, nonce, sign: (
        f"{front}/%72eady/{nonce}/{sign}"
    ),
    "no ASCII": lambda front, event, nonce, sign: (
        f"{front}/{event}/{nonce}/{sign[:-1]}٣"
    ),
    "half a surrogate pair": lambda front, event, nonce, sign: (
        f"{front}/{event}/{nonce}/{sign[:-1]}\ud800"
    ),
    "a whole URL": lambda front, event, nonce, sign: (
        f"https://matchmaker.example.com{front}/{event}/{nonce}/{sign}"
    ),
    "another front": lambda front, event, nonce, sign: (
        f"/other/hooks/{event}/{nonce}/{sign}"
    ),
    "a longer front": lambda front, event, nonce, sign: (
        f"/v1{front}/{event}/{nonce}/{sign}"
    ),
    "half a segment in front": lambda front, event, nonce, sign: (
        f"/ooks/{event}/{nonce}/{sign}"
    ),
    "a slash too many": lambda front, event, nonce, sign: (
        f"/{front}/{event}/{nonce}/{sign}"
    ),
    "no slash in front": lambda front, event, nonce, sign: f"{event}/{nonce}/{sign}",
    "very long": lambda front, event, nonce, sign: (
        f"{front * 100_000}/{event}/{nonce}/{sign}"
    ),
    "nothing": lambda front, event, nonce, sign: "",
}


async def test_the_signature_is_the_documented_one() -> None:
    hooks = receiver()
    for event in (*EVENTS, "started"):
        signature = hmac.new(
            SECRET.encode(), f"{event}/{NONCE}".encode(), hashlib.sha256
        ).hexdigest()
        events = await hooks.handle(f"/game/hooks/{event}/{NONCE}/{signature}", BODY)
        # A later version may sign further events. This version ignores them.
        assert (events is not None) == (event in EVENTS)


@pytest.mark.parametrize("name", CHANGES)
async def test_a_changed_path_is_not_verified(name: str) -> None:
    hooks, events = receiver(), list[WebhookEvent]()
    hooks.listen(events.append)
    assert await hooks.handle(CHANGES[name](*split_path(path(hooks))), BODY) is None
    assert events == []


HOOKS = receiver()
PATHS = [path(HOOKS, event, nonce) for event in EVENTS for nonce in (NONCE, "b")]
ACCEPTED = {
    front + "/" + "/".join(split_path(each)[1:]) for each in PATHS for front in ("/game/hooks", "/hooks", "")
}  # fmt: skip
ALPHABET = st.sampled_from("/abf01.%-_?\n\x00é\udc80") | st.characters()


@st.composite
def mangled(draw: st.DrawFn) -> str:
    """Generate a signed path in which a piece is replaced."""
    whole = draw(st.sampled_from(PATHS))
    start, end = sorted(
        (draw(st.integers(0, len(whole))), draw(st.integers(0, len(whole))))
    )
    piece = draw(
        st.text(ALPHABET, max_size=3)
        | st.sampled_from(PATHS).flatmap(lambda path: st.sampled_from(path.split("/")))
    )
    return whole[:start] + piece + whole[end:]


@given(mangled() | st.text(ALPHABET))
def test_no_unsigned_path_verifies_or_raises(text: str) -> None:
    event = run(HOOKS.handle(text, BODY))
    assert (event is not None) == (text in ACCEPTED)


@pytest.mark.parametrize("front", ["/game/hooks", "/hooks", ""])
async def test_a_proxy_may_remove_the_front_of_the_path(
    front: str,
) -> None:
    hooks = receiver()
    assert await hooks.handle(path(hooks).replace("/game/hooks", front), BODY)


@pytest.mark.parametrize(
    ("base_url", "start"),
    [
        ("https://a.example", "https://a.example/ready/"),
        ("https://a.example/", "https://a.example/ready/"),
        ("http://127.0.0.1:8080/x//", "http://127.0.0.1:8080/x/ready/"),
        ("https://[::1]:8443/a.b/c_d/~e-f", "https://[::1]:8443/a.b/c_d/~e-f/ready/"),
        ("https://a.example/..a/b..", "https://a.example/..a/b../ready/"),
    ],
)
async def test_base_url_may_have_a_path(base_url: str, start: str) -> None:
    hooks = receiver(base_url)
    assert signed(hooks).startswith(start + NONCE)
    assert await hooks.handle(path(hooks), BODY)


@pytest.mark.parametrize(
    "base_url",
    ["", "a.example", "ftp://a.example", "https://", "https://u:p@a.example", "https://a.example?x=1", 5, None]
    + [f"https://a.example{path}" for path in ("#x", "/a b", "/a%20b", "/a//b", "/.", "/a/../b", "/é", "/a;b", "/a\n")],
)  # fmt: skip
def test_a_wrong_base_url_is_refused(base_url: Any) -> None:
    with pytest.raises(ValueError, match=r"^base_url must"):
        receiver(base_url)


@pytest.mark.parametrize(
    "secret", ["", "x" * 15, b"x" * 15, 10**20, bytearray(20), "\ud800" * 5]
)
def test_a_wrong_secret_is_refused_without_showing_it(secret: Any) -> None:
    with pytest.raises(ValueError, match=r"^secret must") as raised:
        receiver(secret=secret)
    assert not secret or str(secret) not in str(raised.value)
    assert raised.value.__context__ is None


async def test_any_secret_that_is_long_enough_is_accepted() -> None:
    for secret in ("ü" * 8, "\ud800" * 6, b"\xff" * 16):
        hooks = receiver(secret=secret)
        assert await hooks.handle(path(hooks), BODY)


@pytest.mark.parametrize(
    "nonce", ["", "a/b", "a b", ".", "..", "a.b", "é", "a%2f", "x" * 65, "a\n", None, 5]
)
def test_a_wrong_nonce_is_refused(nonce: Any) -> None:
    with pytest.raises(ValueError, match=r"^nonce must"):
        receiver().urls(nonce)


@given(st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True), st.sampled_from(EVENTS))
def test_any_valid_nonce_comes_back(nonce: str, event: str) -> None:
    hooks = receiver()
    events = run(hooks.handle(path(hooks, event, nonce), BODY))
    assert events is not None
    assert (events.event, events.nonce) == (event, nonce)


async def test_arguments_of_a_wrong_type_are_named() -> None:
    hooks = receiver()
    wrong: list[tuple[str, Any, Any]] = [
        ("path", b"/x", BODY),
        ("body", path(hooks), "{}"),
        ("body", "/x", None),
    ]
    for argument, given_path, body in wrong:
        with pytest.raises(ValueError, match=f"^{argument} must"):
            await hooks.handle(given_path, body)
    with pytest.raises(ValueError, match=r"^body must be bytes, not str"):
        parse("{}")  # type: ignore[arg-type]
