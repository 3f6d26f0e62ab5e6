"""A value that can't be read costs itself, and nothing else of its answer."""

import json
import logging
import re
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.reference import BY_KEY
from support.samples import HOSTS, LIST, LOCATIONS, LOGS, METRICS, STATUS, TAGS

from edgegap_async import endpoints
from edgegap_async._transport.response import Reply, read
from edgegap_async.endpoints import Endpoint
from edgegap_async.errors import DeployOutcomeUnknown, EdgegapError, UnexpectedAnswer
from edgegap_async.models.paging import has_next


def answered(endpoint: Endpoint[Any, Any], body: Any) -> Any:
    """Read a body: bytes as they are, anything else as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read(endpoint, Reply(200, data))


def status(**changes: Any) -> Any:
    return answered(endpoints.STATUS, BY_KEY[STATUS].answer | changes)


def rows(*given: Any, **more: Any) -> Any:
    return answered(endpoints.LIST, {"data": list(given), **more})


SAMPLE = BY_KEY[LIST].answer["data"][0]
ODD: list[Any] = [None, 5, -1.5, True, "", "text", [], ["a", None], {}, {"a": [1]}]
FIELDS = sorted(set(BY_KEY[STATUS].answer) - {"request_id"})


@pytest.mark.parametrize("field", FIELDS)
def test_an_odd_field_of_a_status_costs_no_other_field(field: str) -> None:
    sound = status()
    for odd in ODD:
        seen = status(**{field: odd})
        changed = [
            name for name in FIELDS if getattr(seen, name) != getattr(sound, name)
        ]
        assert set(changed) <= {field}
        # It can be encoded, and read again.
        assert msgspec.json.decode(msgspec.json.encode(seen), type=type(seen)) == seen


@pytest.mark.parametrize(
    ("field", "sent", "expected"),
    [
        ("fqdn", 5, None),
        ("ports", [], {}),
        ("ports", {"a": None}, {}),
        ("ports", "none", {}),
        ("tags", [None], ()),
        ("tags", {}, ()),
        ("location", [], None),
        ("current_status", 5, None),
        ("running", "true", None),
        ("running", 1, None),
        ("error", "false", None),
        ("arguments", ["-a", "b"], None),
        ("sessions", {}, None),
        ("max_duration", [], None),
        ("removal_time", {}, None),
    ],
)
def test_an_odd_value_is_none_or_nothing(field: str, sent: Any, expected: Any) -> None:
    assert getattr(status(**{field: sent}), field) == expected


def test_the_sound_part_of_an_odd_value_is_kept() -> None:
    seen = status(
        ports={"a": None, "b": {"external": [], "internal": 7777}, "c": 5},
        location={"city": 5, "country": "Canada", "latitude": {}},
        tags=["a", None, 5, "b"],
        sessions=[None, {"session_id": 5, "status": "x"}, "text"],
    )
    assert {
        key: (port.external, port.internal) for key, port in seen.ports.items()
    } == {"b": (None, 7777)}
    assert (seen.location.city, seen.location.country) == (None, "Canada")
    assert seen.tags == ("a", "b")
    assert [session.status for session in seen.sessions] == ["x"]


@pytest.mark.parametrize(
    "tags",
    [
        *([None], ["a", 5], {}, 5, None, "a,b", [[["a"]]], {"name": "a"}),
        *([{}], [{"name": 5}], [{"id": "a"}], [{"name": "a", "tag": "b"}], [["a", 5]]),
    ],
)
def test_tags_that_can_not_be_relied_on_are_unknown(tags: Any) -> None:
    assert status(tags=tags).tags_unknown
    assert rows(SAMPLE | {"tags": tags}).data[0].tags_unknown
    assert not status(tags=[]).tags_unknown


@pytest.mark.parametrize(
    "tags",
    [
        [{"name": "a"}, {"name": "b"}],
        [{"name": "a", "create_time": None}, "b"],
        [{"tag": "a", "id": 5}, {"tag": "b", "name": None}],
        [{"tag": "a", "name": "a"}, ["b"]],
        [["a", "b"], []],
        [[{"name": "a"}], ["b"]],
    ],
    ids=str,
)
def test_tags_in_objects_and_in_lists_of_lists_are_read(tags: Any) -> None:
    for seen in (status(tags=tags), rows(SAMPLE | {"tags": tags}).data[0]):
        assert seen.tags == ("a", "b")
        assert not seen.tags_unknown


NO_ROWS = [
    None,
    5,
    "row",
    [],
    {},
    {"request_id": None},
    {"request_id": 5},
    {"request_id": ""},
    {"request_id": " "},
    {"request_id": ".."},
    {"request_id": "a\nb"},
]


@pytest.mark.parametrize("no_row", NO_ROWS, ids=repr)
def test_a_row_without_a_usable_id_is_skipped_and_counted(
    no_row: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    page = rows(SAMPLE, no_row, SAMPLE | {"request_id": "b", "fqdn": 5}, total_count=3)
    assert [row.request_id for row in page.data] == [SAMPLE["request_id"], "b"]
    assert (page.skipped, page.total_count) == (1, 3)
    assert page.data[0] == rows(SAMPLE).data[0]
    (record,) = caplog.records
    assert record.__dict__["skipped"] == 1
    assert rows(SAMPLE).skipped == 0


@pytest.mark.parametrize(
    ("endpoint", "key", "field"),
    [
        (endpoints.LOCATIONS, LOCATIONS, "locations"),
        (endpoints.FLEET_HOSTS, HOSTS, "data"),
        (endpoints.TAGS, TAGS, "tags"),
        (endpoints.BULK_STOP, "POST /v1/deployments/bulk-stop", "processable"),
    ],
    ids=["locations", "hosts", "tags", "bulk stop"],
)
def test_rows_of_every_list_are_skipped_alone(
    endpoint: Any, key: str, field: str
) -> None:
    sample = BY_KEY[key].answer
    page = answered(endpoint, {**sample, field: [None, *sample[field], 5]})
    assert getattr(page, field) == getattr(answered(endpoint, sample), field)
    assert page.skipped == 2


@pytest.mark.parametrize("data", [None, {}, "", 5, ...])
def test_a_list_without_rows_is_no_empty_list(data: Any) -> None:
    body = {"total_count": 0} if data is ... else {"data": data, "total_count": 0}
    with pytest.raises(UnexpectedAnswer):
        answered(endpoints.LIST, body)


@pytest.mark.parametrize("told", ["true", "false", "", None, 0, 1, [], {}])
def test_a_page_with_an_odd_has_next_does_not_tell_whether_another_follows(
    told: Any,
) -> None:
    page = rows(SAMPLE, pagination={"has_next": told, "number": 1})
    assert has_next(page, 1, 1) is None
    assert page.pagination.number == 1
    assert has_next(rows(SAMPLE, pagination="x", total_count={}), 1, 1) is None
    assert has_next(rows(SAMPLE, pagination=[], total_count=2), 1, 2) is False
    assert has_next(rows(SAMPLE, total_count="2"), 1, 1) is True


def test_a_total_of_the_rows_of_one_page_may_count_only_those() -> None:
    assert has_next(rows(SAMPLE, total_count=1), 1, 1) is None
    told = {"has_next": False}
    assert has_next(rows(SAMPLE, pagination=told, total_count=1), 1, 1) is False


@pytest.mark.parametrize(
    ("total", "expected"), [(-1, None), (0, None), (1, None), (2, False), (3, True)]
)
def test_a_total_below_the_rows_that_were_shown_does_not_end_the_pages(
    total: int, expected: bool | None
) -> None:
    page = rows(SAMPLE, pagination={}, total_count=total)
    assert has_next(page, 1, 2) is expected


@pytest.mark.parametrize(
    "number", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 5000]
)
def test_a_number_that_is_none_costs_only_itself(number: str) -> None:
    body = json.dumps(BY_KEY[METRICS].answer).replace(
        '["2458"]', f"[1, {number}, 2.5]", 1
    )
    metrics = answered(endpoints.METRICS, body.encode())
    sound = answered(endpoints.METRICS, BY_KEY[METRICS].answer)
    assert metrics.total.receive_total.datasets == (1, None, 2.5)
    assert metrics.cpu == sound.cpu
    seen = answered(
        endpoints.STATUS,
        f'{{"request_id": "a", "max_duration": {number}, "fqdn": "b"}}'.encode(),
    )
    assert (seen.request_id, seen.max_duration, seen.fqdn) == ("a", None, "b")


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (rb'"a\ud800b"', "a\ufffdb"),
        (rb'"a\udfff"', "a\ufffd"),
        (rb'"\ud83d\ude00 \ud83d"', "\U0001f600 \ufffd"),
        (b'"caf\xe9"', "caf\ufffd"),
        ('"\u00e9"'.encode("utf-8"), "\u00e9"),
        (b'"\xed\xa0\x80"', "\ufffd\ufffd\ufffd"),
    ],
)
def test_a_broken_character_in_logs_costs_only_itself(
    sent: bytes, expected: str
) -> None:
    body = b'{"logs": %s, "encoding": "utf-8", "crash_data": {"exit_code": 1}}' % sent
    logs = answered(endpoints.CONTAINER_LOGS, body)
    assert (logs.logs, logs.encoding, logs.crash_data.exit_code) == (
        expected,
        "utf-8",
        1,
    )
    msgspec.json.encode(logs)


@pytest.mark.parametrize("code", ["utf-8-sig", "utf-16", "utf-16-be", "utf-32-le"])
def test_answers_in_another_unicode_encoding_are_read(code: str) -> None:
    body = json.dumps(BY_KEY[LOGS].answer).encode(code)
    assert answered(endpoints.CONTAINER_LOGS, body) == answered(
        endpoints.CONTAINER_LOGS, BY_KEY[LOGS].answer
    )


@pytest.mark.parametrize(
    "sent",
    [b'"c0\xff65"', rb'"c0\ud80065"', b"NaN", b"[]", b'" "', b'".."', b'"a\\u0000b"'],
)
def test_an_id_that_can_not_be_used_is_no_id(sent: bytes) -> None:
    body = b'{"request_id": %s}' % sent
    with pytest.raises(UnexpectedAnswer):
        answered(endpoints.STATUS, body)
    with pytest.raises(DeployOutcomeUnknown):
        answered(endpoints.DEPLOY, body)
    with pytest.raises(EdgegapError):
        answered(endpoints.TAG, body)


NOON = datetime(2025, 11, 29, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (1764417600, NOON),
        (1764417600.0, NOON),
        ("1764417600", NOON),
        ("1764417600.0", NOON),
        (1764417600000, NOON),
        ("1764417600000", NOON),
        ("Sat, 29 Nov 2025 12:00:00 GMT", NOON),
        ("Sat, 29 Nov 2025 12:00:00 +0000", NOON),
        ("29 Nov 2025 13:00:00 +0100", NOON),
        ("20251129T120000Z", NOON),
        *(
            (sent, None)
            # A number of seconds that is a duration, and dates that don't exist.
            for sent in (0, 5, -1764417600, 86400, 10**30, -1e300, "0", "", "1e400")
        ),
        *((sent, None) for sent in ("Sat, 99 Nov 2025 12:00:00 GMT", "x" * 10**5)),
        ("2025-13-45 12:00:00", None),
    ],
)
def test_epoch_and_http_times_are_read(sent: Any, expected: datetime | None) -> None:
    seen = status(start_time=sent, removal_time=sent)
    assert [seen.start_time, seen.removal_time] == [expected] * 2
    assert expected is None or seen.start_time.utcoffset() is not None
    series = {"cpu": {"timestamps": [sent, None, sent]}}
    assert answered(endpoints.METRICS, series).cpu.timestamps == (
        expected,
        None,
        expected,
    )


@pytest.mark.parametrize("depth", [200, 5_000, 200_000])
def test_hostile_nesting_is_a_typed_error_or_costs_only_its_value(depth: int) -> None:
    nested = b"[" * depth + b"]" * depth
    try:
        seen = answered(endpoints.STATUS, b'{"request_id": "a", "fqdn": %s}' % nested)
    except UnexpectedAnswer:
        return
    assert (seen.request_id, seen.fqdn) == ("a", None)


def test_an_odd_error_text_does_not_hide_what_a_status_says() -> None:
    seen = status(current_status="Status.READY", error_detail={"why": "odd"})
    assert (seen.state.name, seen.error_detail) == ("READY", None)


@pytest.mark.slow
def test_thousands_of_odd_values_are_read() -> None:
    odd_row = {**SAMPLE, **dict.fromkeys(["fqdn", "public_ip", "ready"], 5)}
    page = rows(*[odd_row | {"request_id": f"{number}"} for number in range(1000)])
    assert (len(page.data), page.skipped) == (1000, 0)
    assert page.data[999].ports == rows(SAMPLE).data[0].ports
    short = {"fqdn": 5, "ready": 5}
    page = rows(*[short | {"request_id": f"{number}"} for number in range(20_000)])
    assert (len(page.data), page.skipped) == (20_000, 0)


def test_an_escaped_backslash_before_a_surrogate_is_kept() -> None:
    body = rb'{"logs": "\\ud800 \ud800 \\\ud83d\ude00 \\\\\udc00", "encoding": 5}'
    logs = answered(endpoints.CONTAINER_LOGS, body)
    assert logs.logs == "\\ud800 \ufffd \\\U0001f600 \\\\\ufffd"


@given(st.lists(st.sampled_from(["a", "\\\\", "\\n", "\\ud83d", "\\ude00", "\\uD800"])))
def test_halves_of_surrogate_pairs_are_replaced_and_pairs_are_kept(
    parts: list[str],
) -> None:
    text = "".join(parts)
    logs = answered(endpoints.CONTAINER_LOGS, f'{{"logs": "{text}"}}'.encode())
    expected = re.sub("[\ud800-\udfff]", "\ufffd", json.loads(f'"{text}"'))
    assert logs.logs == expected
