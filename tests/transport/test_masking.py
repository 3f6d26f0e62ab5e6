"""A server or a proxy may repeat the token in its answer in any of the usual encodings:
no error and no log line shows it.
"""

import base64
import html
import json
import logging
import time
from collections.abc import Callable
from urllib.parse import quote

import pytest
from support.raw_server import RawServer, answer, failure

from edgegap_async import ApiError, EdgegapError, EdgegapSession, Retry
from edgegap_async._masking import _spelled_forms, masked
from edgegap_async._transport.response import MOST_SHOWN, Reply

TOKEN = "5ec4e7a0-face-4b1d-8bad-c0ffee0ddba1"
DELETE_TOKEN = "de1e7e70cafe4b1d8badc0ffee0ddba2"
SIGNATURE = "0123456789abcdef" * 4


def percent(text: str) -> str:
    return "".join(f"%{ord(each):02X}" for each in text)


def base64_of(before: str) -> Callable[[str], str]:
    """Base64 of the token after other characters."""
    return lambda text: base64.b64encode(f"{before}{text}:".encode()).decode()


ENCODINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "upper case": str.upper,
    "json": lambda text: "".join(f"\\u{ord(each):04x}" for each in text),
    "json, twice": lambda text: "".join(f"\\\\u{ord(each):04X}" for each in text),
    "percent": percent,
    "percent, lower case": lambda text: percent(text).lower(),
    "percent, twice": lambda text: quote(percent(text)),
    "percent, mixed": lambda text: text[:9] + percent(text[9:12]) + text[12:],
    "url": lambda text: quote(f"https://a.example/?token={text}", safe=""),
    "entities": lambda text: "".join(f"&#{ord(each)};" for each in text),
    "entities, hexadecimal": lambda text: "".join(
        f"&#x{ord(each):04X};" for each in text
    ),
    "entities, twice": lambda text: html.escape(
        "".join(f"&#{ord(each)};" for each in text)
    ),
    "entities in json": lambda text: "".join(f"\\u0026#{ord(each)};" for each in text),
    "base64": base64_of(""),
    "base64 of the header": base64_of("token "),
    "base64 of a password": base64_of("user:"),
    "base64, url safe": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "base64 in a url": lambda text: percent(base64_of("x")(text)),
    "hexadecimal": lambda text: text.encode().hex(),
    "hexadecimal, upper case": lambda text: text.encode().hex().upper(),
}


def decoded(text: str) -> list[str]:
    """A text, and what it stands for in each encoding."""
    found = [text]
    for _ in range(3):
        text = html.unescape(text.replace("\\\\", "\\"))
        for turn in ("%", "\\u00"):
            parts = text.split(turn)
            head, rest = parts[0], parts[1:]
            text = head + "".join(
                chr(int(part[:2], 16)) + part[2:]
                if all(it in "0123456789abcdefABCDEF" for it in part[:2])
                and len(part) > 1
                else turn + part
                for part in rest
            )
        found.append(text)
    return found


def leaks(shown: str, secret: str) -> bool:
    """Whether a text shows a third of a secret in some encoding."""
    size = max(len(secret) // 3, 10)
    parts = [secret[at : at + size] for at in range(len(secret) - size + 1)]
    for text in decoded(shown):
        lower = text.lower()
        if any(part in lower or part.encode().hex() in lower for part in parts):
            return True
        for part in parts:
            for shift in range(3):
                encoded = base64.b64encode(b"x" * shift + part.encode())
                core = encoded[4 if shift else 0 : -4]
                if core.decode() in text:
                    return True
    return False


@pytest.mark.parametrize("secret", [TOKEN, DELETE_TOKEN])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_search_for_leaks_finds_each_encoding(encoding: str, secret: str) -> None:
    assert leaks(ENCODINGS[encoding](secret), secret)
    assert not leaks(ENCODINGS[encoding]("nothing to be seen here, at all"), secret)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    "secret", [TOKEN, DELETE_TOKEN, "a+b/c==d_e-f.g~h", r"back\slash\\secret-0f\e"]
)
def test_a_body_shows_no_secret_in_any_encoding(encoding: str, secret: str) -> None:
    echo = ENCODINGS[encoding](secret)
    shown = masked(f"before {echo} after".encode(), secret).decode()
    assert not leaks(shown, secret)
    assert "***" in shown
    assert shown.startswith("before ")
    assert shown.endswith(" after")


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_no_error_and_no_log_line_shows_the_token_in_any_encoding(
    encoding: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    echo = ENCODINGS[encoding](TOKEN)
    bodies = [
        answer(400, f'{{"message": "{echo}", "details": {{"{echo}": 1}}}}'),
        answer(404, {"message": echo}),
        answer(502, f"<html>{echo}</html>", x_echo=echo),
        answer(200, f"{{{echo}"),
        answer(302, echo, location=echo),
    ]
    for act in bodies:
        async with (
            RawServer(act) as server,
            EdgegapSession(TOKEN, base_url=server.url, retry=Retry(tries=1)) as edgegap,
        ):
            error = await failure(edgegap.deployments.status("c065"))
        shown = repr(vars(error)) + str(error)
        assert not leaks(shown, TOKEN), shown
        assert not leaks(json.dumps([shown]), TOKEN)
        if isinstance(error, ApiError):
            assert "***" in error.message
    assert not leaks(caplog.text, TOKEN)
    assert "edgegap_async" in caplog.text or isinstance(error, EdgegapError)


@pytest.mark.parametrize("encoding", ["plain", "json", "percent", "url", "entities"])
def test_no_encoding_of_the_url_of_a_webhook_shows_its_signature(encoding: str) -> None:
    url = f"https://a.example/hooks/ready/once-12ab/{SIGNATURE}"
    shown = masked(f"no: {ENCODINGS[encoding](url)} .".encode(), TOKEN).decode()
    assert not leaks(shown, SIGNATURE)
    assert "***" in shown


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("shorter", [1, 20, 60, 150, 400, 700])
def test_a_secret_where_a_body_is_cut_is_not_shown(encoding: str, shorter: int) -> None:
    echo = ENCODINGS[encoding](TOKEN).encode()
    most = MOST_SHOWN
    body = (b"x" * (most - shorter) + echo)[: most + 5]
    reply = Reply(500, body, TOKEN, None, cut=True)
    assert not leaks(reply.masked_body[-3000:].decode(), TOKEN)


@pytest.mark.parametrize("unit", ["\\", "%", "&", "%25", "&amp;", "&#0", "\\u0", "5e"])
def test_a_hostile_body_is_masked_in_no_time(unit: str) -> None:
    body = (unit * 64 * 1024)[: 64 * 1024].encode()
    began = time.process_time()
    masked(body, TOKEN)
    # A quadratic search would take minutes.
    assert time.process_time() - began < 2


def seconds(body: bytes) -> float:
    """The CPU time to mask a body, best of five."""
    times: list[float] = []
    for _ in range(5):
        began = time.thread_time()
        masked(body, TOKEN)
        times.append(time.thread_time() - began)
    return min(times)


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["\\", "%", "&#", "\\u0001", '\\"[{"a": [['])
def test_escapes_take_little_more_time_than_other_text(unit: str) -> None:
    size = MOST_SHOWN
    body = (unit * size)[:size].encode()
    for _ in range(5):
        # Without possessive quantifiers and the prefix, it is 20 to 80 times as long.
        if seconds(body) < 12 * seconds(b"a" * size):
            return
    pytest.fail(f"{unit!r} took more than 12 times as long as other text")


def test_the_pattern_of_a_secret_is_made_only_for_what_begins_like_it() -> None:
    """It takes up to 50 milliseconds, and hardly any error holds a secret."""
    token = "f0e1d2c3-0000-4b1d-8bad-c0ffee0ddba1"
    made = _spelled_forms.cache_info().misses
    page = b'<p class="x">100&nbsp;% of \\"it\\" is down: f0e1 d2c3</p>' * 100
    assert masked(page, token) == page
    assert _spelled_forms.cache_info().misses == made
    assert token.encode() not in masked(page + token.encode(), token)
    assert _spelled_forms.cache_info().misses == made + 1


@pytest.mark.parametrize(
    "unit", ["%25252525", "%2525%61", "\\u00e9", "\\\\u0061", "u0061%61"]
)
@pytest.mark.parametrize("before", ["\\/ready/", "%2Ferror%2F", "&#47;ready&#47;"])
def test_what_begins_like_a_webhook_is_masked_in_no_time(
    before: str, unit: str
) -> None:
    """Each unit is one character of a nonce, or several: there are billions of ways."""
    body = (before + (unit * 130)[:130]).encode()
    began = time.process_time()
    assert masked(body, TOKEN) == body
    assert time.process_time() - began < 2


@pytest.mark.parametrize("nonce", ["once-0123456789abcde", "a" * 64, "u0061u00", "9"])
@pytest.mark.parametrize(
    "encoding",
    ["json", "json, twice", "percent", "percent, twice", "entities, hexadecimal"],
)
def test_a_nonce_of_any_length_and_encoding_is_followed_by_a_masked_signature(
    encoding: str, nonce: str
) -> None:
    url = f"https://a.example/hooks/ready/{nonce}/{SIGNATURE}"
    shown = masked(f"no: {ENCODINGS[encoding](url)} .".encode(), TOKEN).decode()
    assert not leaks(shown, SIGNATURE)
    assert shown.endswith("*** .")


@pytest.mark.parametrize(
    "token",
    ["u0075-u0075-token", "a-u0061-token", "1-&#49-token", r"back\slash-\\token"],
)
def test_a_secret_that_looks_like_an_escape_is_masked(token: str) -> None:
    for body in (token, f"\\n {token}", json.dumps(f'"{token}"'), f"%20{token}"):
        assert not leaks(masked(body.encode(), token).decode(), token)


def test_what_is_no_secret_stays() -> None:
    body = json.dumps({"message": "100% of &lt;5&gt; \\ é", "id": "5ec4e7a0"}).encode()
    assert masked(body, TOKEN) == body


CREDENTIAL = 'kr4"e7\\a0-registry-secret'


@pytest.mark.parametrize("field", ["private_token", "private_username"])
@pytest.mark.parametrize("space", ["", " ", "\n  "])
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("cut", [False, True])
def test_credentials_of_a_registry_that_nobody_has_given_are_masked(
    field: str, space: str, times: int, cut: bool
) -> None:
    """As in an answer about a version that can't be read."""
    body = json.dumps({"a": 1, field: CREDENTIAL, "docker_tag": "v1"})
    body = body.replace(": ", f":{space}")
    for _ in range(times - 1):
        body = json.dumps({"error": body})
    shown = masked(body.encode()[: -30 if cut else None], cut=False).decode()
    assert "registry-secret" not in shown
    assert "kr4" not in shown
    assert "***" in shown
    assert cut or "docker_tag" in shown


@pytest.mark.parametrize("first", ["", 'private_token\\":'])
@pytest.mark.parametrize(
    "unit",
    ['private_token":"', 'private_token\\":\\"', 'private_token": ', "\\n", "\\"],
)
def test_what_begins_like_a_credential_is_masked_in_no_time(
    first: str, unit: str
) -> None:
    body = (first + unit * 64 * 1024)[: 64 * 1024].encode()
    began = time.process_time()
    masked(body)
    # A quadratic search would take minutes.
    assert time.process_time() - began < 2
