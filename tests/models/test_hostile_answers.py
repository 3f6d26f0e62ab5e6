"""Whatever an answer holds, it is a struct or a typed error, and the time to decode it is
in proportion to its length.
"""

from collections.abc import Callable
from typing import Any

import pytest
from support.mutations import problem, seconds

from edgegap_async import endpoints
from edgegap_async._transport.response import Reply, read, takes_long
from edgegap_async.endpoints import Endpoint
from edgegap_async.errors import UnexpectedAnswer

KIB = 1024
HALF = r"\ud800"


def filled(start: str, item: str, end: str) -> Callable[[int], bytes]:
    def body(size: int) -> bytes:
        count = (size - len(start) - len(end)) // len(item)
        return (start + item * count + end).encode().ljust(size)

    return body


def series(item: str, field: str = "datasets") -> Callable[[int], bytes]:
    return filled('{"cpu": {"' + field + '": [', f"{item},", "0]}}")


def logs(part: str) -> Callable[[int], bytes]:
    """One half of a pair, and many other escapes."""
    return filled('{"logs": "' + HALF, part, '", "encoding": 5}')


def sessions(item: str) -> Callable[[int], bytes]:
    return filled('{"request_id": "a", "sessions": [', f"{item},", "0]}")


def rows(item: str) -> Callable[[int], bytes]:
    return filled('{"data": [', f"{item},", '{"request_id": "a"}]}')


BODIES: dict[str, tuple[Endpoint[Any, Any], Callable[[int], bytes]]] = {
    **{
        f"{len(number)} digits in {name}": (endpoint, body(number))
        for number in ("9" * 399, "9" * 4300, "9" * 4301, '"%s"' % ("9" * 4300))
        for name, endpoint, body in (
            ("datasets", endpoints.METRICS, series),
            ("labels", endpoints.METRICS, lambda it: series(it, "labels")),
            ("timestamps", endpoints.METRICS, lambda it: series(it, "timestamps")),
            ("sessions", endpoints.STATUS, sessions),
            ("logs", endpoints.CONTAINER_LOGS, lambda it: series(it, "unknown")),
        )
    },
    "one number": (endpoints.METRICS, filled('{"cpu": {"labels": [', "9", "]}}")),
    "zeros": (endpoints.METRICS, series("0" * 400 + ".1")),
    **{
        f"odd {item} in {field}": (endpoints.METRICS, series(item, field))
        for field in ("labels", "datasets", "timestamps")
        for item in ("{}", "[]", "NaN", "1e999", '"x"', "true", '"Sat, 29 Nov"')
    },
    **{
        f"a half and {part}": (endpoints.CONTAINER_LOGS, logs(part))
        for part in (
            r"\n",
            r"\\",
            r"\u0041",
            r"\ud83d\ude00",
            HALF,
            HALF + "x",
            r"\\ud8",
        )
    },
    **{
        f"sessions {item}": (endpoints.STATUS, sessions(item))
        for item in ("{}", "null", '{"ready":1}', '{"a":[]}')
    },
    **{
        f"rows {item}": (endpoints.LIST, rows(item))
        for item in ("{}", '{"request_id":"a"}', '{"request_id":5}', "NaN")
    },
}
each_body = pytest.mark.parametrize("name", BODIES)


@each_body
@pytest.mark.parametrize("size", [8, 64, 250])
def test_a_hostile_answer_is_a_struct_or_a_typed_error(name: str, size: int) -> None:
    """`benchmarks/mutations.py` measures how long that takes."""
    endpoint, body = BODIES[name]
    kind, wrong = problem(endpoint, Reply(200, body(size * KIB)))
    assert wrong is None or kind == "slow", wrong


@pytest.mark.slow
@each_body
def test_the_time_to_decode_is_linear_in_the_length(name: str) -> None:
    endpoint, body = BODIES[name]

    long, short = Reply(200, body(1024 * KIB)), Reply(200, body(64 * KIB))
    best = seconds(endpoint, short)
    for _ in range(5):
        best = min(best, seconds(endpoint, short))
        # 16 times as long: it would be 256 times if it were quadratic. The distance to
        # both is far more than the noise of a busy machine.
        if seconds(endpoint, long) < 80 * max(best, 0.0002):
            return
    pytest.fail("a body of 16 times the length took more than 80 times as long")


# msgspec reads these in up to 16 microseconds each, and the usual one in 0.02.
SLOW_NUMBERS = ("1.0e308", "1E300", "4.9e-324")
USUAL_NUMBER = "45.3324097"
NUMBERS: dict[str, tuple[Endpoint[Any, Any], int, Callable[[str], bytes]]] = {
    **{
        field: (endpoints.METRICS, 200, lambda it, of=field: series(it, of)(8 * KIB))
        for field in ("labels", "datasets", "timestamps")
    },
    "ports": (
        endpoints.STATUS,
        200,
        lambda it: filled(
            '{"request_id": "a", "ports": {', f'"p": {{"external": {it}}},', '"q": {}}}'
        )(32 * KIB),
    ),
    "rows": (
        endpoints.LIST,
        200,
        lambda it: rows(f'{{"request_id": "a", "sockets": {it}}}')(32 * KIB),
    ),
    "a time": (
        endpoints.TAG,
        200,
        lambda it: filled('{"name": "a", "create_time": [', f"{it},", "0]}")(8 * KIB),
    ),
    "an error": (
        endpoints.STATUS,
        400,
        lambda it: filled('{"details": [', f"{it},", "0]}")(8 * KIB),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("number", SLOW_NUMBERS)
@pytest.mark.parametrize("place", NUMBERS)
def test_no_number_takes_much_longer_than_others(place: str, number: str) -> None:
    endpoint, status, body = NUMBERS[place]

    def per_value(value: str) -> float:
        reply = Reply(status, body(value))
        return seconds(endpoint, reply) / reply.body.count(value.encode())

    for _ in range(5):
        # Without a bound, it is 40 to 500 times as long.
        if per_value(number) < 15 * per_value(USUAL_NUMBER):
            return
    pytest.fail(f"{number} took more than 15 times as long as {USUAL_NUMBER}")


@pytest.mark.parametrize("body", [rows, sessions], ids=lambda it: it.__name__)
def test_every_way_to_cut_an_answer_off_is_an_error_that_says_so(
    body: Callable[[str], Callable[[int], bytes]],
) -> None:
    whole = body('{"request_id": "a"}')(KIB).rstrip()
    for size in range(1, len(whole)):
        with pytest.raises(UnexpectedAnswer, match="it is cut off"):
            read(endpoints.LIST, Reply(200, whole[:size]))


def test_logs_that_are_cut_off_anywhere_are_no_json() -> None:
    """Half a pair of escapes needs another decoder, which does not say "cut off"."""
    whole = logs('{"request_id": "a"}')(KIB).rstrip()
    for size in range(1, len(whole)):
        with pytest.raises(UnexpectedAnswer, match="it is not JSON"):
            read(endpoints.LIST, Reply(200, whole[:size]))


@pytest.mark.parametrize("half", [HALF, r"\ud83d", HALF * 2])
@pytest.mark.parametrize("behind", range(13))
def test_a_half_of_a_pair_near_the_end_is_no_end_of_the_answer(
    half: str, behind: int
) -> None:
    """msgspec takes it for that."""
    body = f'{{"request_id": "a", "sockets": 5, "fqdn": "{half}{"x" * behind}"}}'
    status = read(endpoints.STATUS, Reply(200, body.encode()))
    assert (status.request_id, status.sockets) == ("a", 5)
    assert (status.fqdn or "").endswith("x" * behind)


def test_an_answer_above_the_size_that_is_counted_takes_long() -> None:
    assert takes_long(Reply(200, b"," * 64 * KIB * KIB))


def test_nested_values_without_a_comma_take_long() -> None:
    assert takes_long(Reply(200, b'{"a": [' * 20 * KIB))
    assert not takes_long(Reply(200, b'{"a": [' * 10 * KIB))


@pytest.mark.parametrize("digits", [401, 1000, 4300, 4301, 30_000])
@pytest.mark.parametrize("form", ["%s", '"%s"', "-%s", '"-%s"'])
def test_a_number_that_is_too_long_is_none_in_every_field(
    digits: int, form: str
) -> None:
    number = form % ("9" * digits)
    body = f'{{"cpu": {{"datasets": [1, {number}, 2.5], "timestamps": [{number}]}}}}'
    metrics = read(endpoints.METRICS, Reply(200, body.encode()))
    assert metrics.cpu
    assert (metrics.cpu.datasets, metrics.cpu.timestamps) == ((1, None, 2.5), (None,))
    body = f'{{"request_id": "a", "sockets": {number}, "fqdn": "b", "x": {number}}}'
    status = read(endpoints.STATUS, Reply(200, body.encode()))
    assert (status.request_id, status.sockets, status.fqdn) == ("a", None, "b")


@pytest.mark.parametrize("digits", [1, 19, 20, 399, 400])
@pytest.mark.parametrize("form", ["%s", '"%s"'])
def test_a_number_of_at_most_400_digits_is_exact(digits: int, form: str) -> None:
    body = f'{{"request_id": "a", "sockets": {form % ("9" * digits)}}}'
    status = read(endpoints.STATUS, Reply(200, body.encode()))
    assert status.sockets == 10**digits - 1


def test_a_number_of_401_digits_is_found_wherever_it_stands() -> None:
    for spaces in range(30):
        body = f'{{"request_id": "a", {" " * spaces}"sockets": {"9" * 401}}}'
        assert read(endpoints.STATUS, Reply(200, body.encode())).sockets is None


def test_a_text_of_digits_is_kept() -> None:
    text = "0" * 5000 + "9" * 5000
    body = f'{{"logs": "{text}", "encoding": "utf-8"}}'
    assert read(endpoints.CONTAINER_LOGS, Reply(200, body.encode())).logs == text


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ('"a"', ("a",)),
        ('["a", 5, {}]', ("a",)),
        (r'["a\ud800", "b"]', ("a\ufffd", "b")),
        ("[NaN]", ()),
    ],
)
def test_texts_lose_only_what_can_not_be_read(
    sent: str, expected: tuple[str, ...]
) -> None:
    body = f'{{"request_id": "a", "fqdn": 5, "tags": {sent}}}'
    assert read(endpoints.STATUS, Reply(200, body.encode())).tags == expected
