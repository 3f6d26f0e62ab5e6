"""Mutated answers: the samples of the reference page with something odd in them."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from random import Random
from types import NoneType
from typing import Any

import msgspec

from edgegap_async._transport.response import Reply, read
from edgegap_async.endpoints import OPERATIONS, Endpoint
from edgegap_async.errors import EdgegapError
from support.reference import BY_KEY

Row = Endpoint[Any, Any]
# Seconds of CPU time, and how often a slow decoding is repeated: another thread may have
# taken the CPU's caches.
LONGEST, TRIES = 0.010, 3
# Bytes of a body: the rest is cut off.
LARGEST = 100_000
# The token is searched for in each body that becomes an error.
TOKEN = "5ec4e7a0-face-4b1d-8bad-c0ffee0ddba1"
# Statuses, the most usual first.
STATUSES = (200, 202, 204, 206, 299, 400, 401, 403, 404, 408, 409, 410, 422, 429, 500)
STATUSES += (502, 503, 504, 301, 307, 101, 599)
# Numbers that Python's JSON writes in ways that JSON does not allow.
NUMBERS = (
    0,
    -1,
    5,
    1.5,
    1e300,
    -1e-300,
    2**31,
    2**63,
    2**64,
    10**30,
    10**400,
    10**4299,
)
NUMBERS += (float("nan"), float("inf"), float("-inf"))
TEXTS = (
    "",
    " ",
    "text",
    "5",
    "-5.5",
    "null",
    "true",
    "NaN",
    "1e999",
    "9" * 5000,
    "9" * 4300,
)
TEXTS += ("\x00", "\ud800", "a\udfffb", "\ufffd", "\u202e", "x" * 10_000, "..", "a/b")
TEXTS += ("\\" * 5000, "%35" * 3000, "&#x35;" * 1500, "\u0001" * 1500, TOKEN)
TEXTS += ("2025-11-29", "2025-13-45 99:99:99", "Sat, 29 Nov 2025 22:35:31 GMT", "+1")
CODES = ("utf-8-sig", "utf-16", "utf-16-be", "utf-32-le", "latin-1", "utf-7")
BYTES = (b"\xff", b"\xed\xa0\x80", b"\x00", b"\xc0\xaf", b"\\ud800", b'"', b"\\", b"{")
BYTES += (b"[" * 2000, b"NaN", b"1e999", b"\xef\xbb\xbf", b"</html>", b"//", b",,")


def sample_of(row: Row) -> Any:
    """Return the answer of the reference page."""
    renamed = {each.renamed: each for each in OPERATIONS if each.renamed}
    row = renamed.get(row, row)
    return BY_KEY[f"{row.method} {row.path}".replace("fleet_name", "fleet-name")].answer


def _nested(random: Random) -> Any:
    value: Any = odd(random, nested=False)
    for _ in range(random.choice((1, 2, 5, 50, 150))):
        value = [value] if random.random() < 0.5 else {"a": value}
    return value


def odd(random: Random, *, nested: bool = True) -> Any:
    """Return any value that JSON can hold, and some that it can't."""
    kind = random.randrange(8 if nested else 7)
    if kind == 0:
        return random.choice((None, True, False))
    if kind <= 2:
        return random.choice(NUMBERS)
    if kind <= 4:
        return random.choice(TEXTS)
    if kind <= 6:
        return random.choice(([], {}, [None], {"a": None}, [[]], [{}], {"": ""}))
    return _nested(random)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each container with each of its keys, at any depth."""
    keys = [*value] if isinstance(value, dict) else [*range(len(value))]
    for key in keys:
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key])


def _replace(random: Random, inner: Any, key: Any) -> None:
    inner[key] = odd(random)


def _delete(random: Random, inner: Any, key: Any) -> None:
    del inner[key]


def _repeat(random: Random, inner: Any, key: Any) -> None:
    inner[key] = [
        deepcopy(inner[key]) for _ in range(random.choice((0, 1, 2, 30, 1000)))
    ]


def _wrap(random: Random, inner: Any, key: Any) -> None:
    inner[key] = {str(inner[key])[:20]: inner[key]}


def _as_text(random: Random, inner: Any, key: Any) -> None:
    inner[key] = str(inner[key])


def _rename(random: Random, inner: Any, key: Any) -> None:
    if isinstance(inner, dict):
        inner[random.choice(TEXTS)] = inner.pop(key)


def _insert(random: Random, inner: Any, key: Any) -> None:
    if isinstance(inner, list):
        inner.insert(key, odd(random))
    else:
        inner[random.choice(TEXTS)] = odd(random)


CHANGES: tuple[Callable[[Random, Any, Any], None], ...] = (
    _replace,
    _replace,
    _replace,
    _delete,
    _repeat,
    _wrap,
    _as_text,
    _rename,
    _insert,
)


def _changed(random: Random, sample: Any) -> Any:
    value = [deepcopy(sample)]
    for _ in range(random.choice((0, 1, 1, 1, 2, 3, 8))):
        places = [*_places(value)]
        if places:
            inner, key = random.choice(places)
            random.choice(CHANGES)(random, inner, key)
    return value[0] if value else None


def _encoded(random: Random, value: Any) -> bytes:
    text = json.dumps(value, ensure_ascii=random.random() < 0.5)
    code = "utf-8" if random.random() < 0.95 else random.choice(CODES)
    body = text.encode(code, "surrogatepass" if "utf-" in code[:4] else "replace")
    body = body[:LARGEST]
    chance = random.random()
    if chance < 0.1:
        return body[: random.randrange(len(body) + 1)]
    if chance < 0.2:
        at = random.randrange(len(body) + 1)
        return body[:at] + random.choice(BYTES) + body[at + random.randrange(3) :]
    return body


def _text_of(random: Random, value: Any) -> bytes:
    try:
        return _encoded(random, value)
    except UnicodeEncodeError:
        return json.dumps(value).encode()


def answers(count: int, seed: int = 0) -> Iterator[tuple[Row, Reply]]:
    """Yield mutated answers, of each operation in turn."""
    random = Random(seed)
    samples: Mapping[Row, Any] = {row: sample_of(row) for row in OPERATIONS}
    for number in range(count):
        row = OPERATIONS[number % len(OPERATIONS)]
        status = 200 if random.random() < 0.85 else random.choice(STATUSES)
        body = _text_of(random, _changed(random, samples[row]))
        yield row, Reply(status, body, TOKEN)


def result_of(endpoint: Row, reply: Reply) -> Any:
    """The struct or the error of an answer."""
    try:
        return read(endpoint, reply)
    except EdgegapError as error:
        return error


def seconds(endpoint: Row, reply: Reply) -> float:
    """The CPU time of one decoding."""
    began = time.thread_time()
    result_of(endpoint, reply)
    return time.thread_time() - began


def problem(
    endpoint: Row, reply: Reply, longest: float = LONGEST
) -> tuple[str, str | None]:
    """The kind of the result, and what is wrong with it.

    Args:
        longest: seconds of CPU time that a decoding may take.
    """
    began = time.thread_time()
    try:
        result = result_of(endpoint, reply)
    except Exception as error:  # noqa: BLE001 - this is what is searched for
        return "untyped error", repr(error)[:200]
    took = time.thread_time() - began
    if took > longest:
        took = min(took, *(seconds(endpoint, reply) for _ in range(TRIES - 1)))
        if took > longest:
            return "slow", f"{took * 1000:.1f} ms"
    if isinstance(result, EdgegapError):
        return type(result).__name__, None
    if type(result) is not endpoint.returns:
        return "wrong struct", type(result).__name__
    if endpoint.returns is not NoneType:
        again = msgspec.json.decode(msgspec.json.encode(result), type=endpoint.returns)
        if again != result:
            return "changed", repr(result)[:200]
    return "struct", None


def problems(
    count: int, seed: int, kinds: Counter[str], longest: float = LONGEST
) -> Iterator[str]:
    """Decode so many answers, and describe each problem. `problem` has the arguments."""
    for endpoint, reply in answers(count, seed):
        kind, what = problem(endpoint, reply, longest)
        kinds[kind] += 1
        if what:
            yield f"{kind}: {endpoint}, {reply.status}: {what}\n    {reply.body[:300]!r}"
