"""The SDK reads values that the API writes in several forms into one type."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from support.reference import BY_KEY
from support.samples import (
    HOSTS,
    LIST,
    LOCATIONS,
    LOGS,
    METRICS,
    TAG,
    TAGS,
    differences,
    read,
    status,
)

from edgegap_async import ReadyDeployment


@pytest.mark.parametrize("field", ["sockets", "sockets_usage"])
@pytest.mark.parametrize(
    ("sent", "expected"),
    [("5", 5), (5, 5), (None, None), (..., None), ("", None), ("many", None)],
)
def test_counts_are_read_from_text_or_number(
    field: str, sent: Any, expected: int | None
) -> None:
    value = getattr(status(**{field: sent}), field)
    assert (value, type(value)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("sent", "expected"), [("10", 10), (10, 10), (None, None), ("", None)]
)
def test_user_count_is_read_from_text_or_number(
    sent: Any, expected: int | None
) -> None:
    (session,) = (
        status(sessions=[{"session_id": "abc123", "user_count": sent}]).sessions or ()
    )
    assert session.user_count == expected
    (session,) = status(sessions=[{"session_id": "abc123"}]).sessions or ()
    assert session.user_count is None


@pytest.mark.parametrize("sent", ["45.3324097", 45.3324097])
def test_coordinates_are_read_from_text_or_number(sent: Any) -> None:
    place = {"latitude": sent, "longitude": sent}
    (location,) = read(LOCATIONS, {"locations": [place]}).locations
    there = status(location=place).location
    assert there
    assert (
        (location.latitude, location.longitude)
        == (there.latitude, there.longitude)
        == (45.3324097, 45.3324097)
    )


MOMENT = datetime(2025, 11, 29, 22, 35, 31, tzinfo=UTC)


@pytest.mark.measured
@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("2025-11-29 22:35:31.971359", MOMENT.replace(microsecond=971359)),
        ("2025-11-29 22:35:31", MOMENT),
        ("2025-11-29T22:35:31.971Z", MOMENT.replace(microsecond=971000)),
        ("2025-11-29T22:35:31Z", MOMENT),
        ("2025-11-29T23:35:31+01:00", MOMENT.astimezone(timezone(timedelta(hours=1)))),
        (None, None),
        ("", None),
        (..., None),
        ("soon", None),
        *((sent, None) for sent in (5, 1.5, True, [], {})),
    ],
)
def test_times_are_read_in_every_form_as_aware_datetimes(
    sent: Any, expected: datetime | None
) -> None:
    times_given = {} if sent is ... else {"create_time": sent, "last_updated": sent}
    tag = read(TAG, {"name": "v1", **times_given})
    hosts = read(
        HOSTS, {"data": [{"host_id": "h", "created_at": None if sent is ... else sent}]}
    )
    row = read(
        LIST,
        {"data": [{"request_id": "r", "start_time": None if sent is ... else sent}]},
    )
    seen = status(start_time=sent, removal_time=sent)
    times = [seen.start_time, seen.removal_time, tag.create_time, tag.last_updated]
    times += [hosts.data[0].created_at, row.data[0].start_time]
    assert times == [expected] * 6
    assert all(
        time is None or time.utcoffset() == expected.utcoffset()
        for time in times
        if expected
    )


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (["a", "b"], ("a", "b")),
        ("a", ("a",)),
        ([], ()),
        ("", ()),
        (None, ()),
        (..., ()),
    ],
)
def test_tags_are_always_a_tuple(sent: Any, expected: tuple[str, ...]) -> None:
    assert status(tags=sent).tags == expected


@pytest.mark.parametrize("field", ["message", "messages"])
@pytest.mark.parametrize("sent", ["hello", ["hello"]])
def test_messages_are_read_from_a_text_or_a_list(field: str, sent: Any) -> None:
    key, rows = (LIST, "data") if field == "message" else (LOCATIONS, "locations")
    assert getattr(read(key, {rows: [], field: sent}), field) == ("hello",)


@pytest.mark.parametrize("nothing", [None, "", ..., {}, "pending"])
def test_before_placement_ports_and_location_are_empty(nothing: Any) -> None:
    seen = status(ports=nothing, location=nothing, fqdn="", public_ip=None)
    assert dict(seen.ports) == {}
    assert seen.location is None or nothing == {}
    with pytest.raises(LookupError, match="none yet"):
        seen.address("7777")


PORTS = {
    "7777": {"external": 31669, "internal": 7777, "protocol": "UDP", "name": "7777"},
    "web": {"external": 31587, "internal": 8080, "protocol": "http", "name": "site"},
    "9000": {"external": 31000, "internal": 9001, "protocol": "TCP", "name": "web"},
    "late": {"external": None, "internal": 1, "protocol": "TCP"},
}


@pytest.mark.parametrize(
    ("wanted", "external"),
    [
        ("7777", 31669),
        (7777, 31669),
        ("web", 31587),
        ("site", 31587),
        ("8080", 31587),
        (8080, 31587),
        (9001, 31000),
    ],
)
def test_an_address_is_found_by_key_then_name_then_internal_number(
    wanted: str | int, external: int
) -> None:
    ready = msgspec.convert(
        {"request_id": "r", "fqdn": "abc.edgegap.com", "ports": PORTS}, ReadyDeployment
    )
    for placed in (ready, status(ports=PORTS, fqdn="abc.edgegap.com")):
        assert placed.address(wanted) == ("abc.edgegap.com", external)


@pytest.mark.parametrize("fqdn", [None, "", ...])
def test_an_address_without_an_fqdn_is_the_ip(fqdn: Any) -> None:
    assert status(fqdn=fqdn).address("web") == ("100.10.0.85", 31587)
    with pytest.raises(LookupError, match="neither an fqdn nor a public_ip"):
        status(fqdn=fqdn, public_ip="").address("web")


@pytest.mark.parametrize("wanted", ["gameport", 1234, "late", "None"])
def test_the_error_for_an_unknown_port_lists_the_known_ports(
    wanted: str | int,
) -> None:
    with pytest.raises(LookupError) as raised:
        status(ports=PORTS | {"odd": {"external": 5}}).address(wanted)
    assert all(
        name in str(raised.value)
        for name in (str(wanted), *PORTS, "7777/UDP", "8080/http")
    )


@pytest.mark.parametrize(
    ("sent", "expected"),
    [(65002, 65002), ("65002", 65002), (..., None), (None, None), ("", None)],
)
def test_a_proxy_port_is_read_from_text_or_number(
    sent: Any, expected: int | None
) -> None:
    port = {"external": 1} if sent is ... else {"external": 1, "proxy": sent}
    assert status(ports={"web": port}).ports["web"].proxy == expected


@pytest.mark.parametrize(
    "link", ["example.com:31669", "https://example.com:31587", None]
)
def test_a_link_is_unchanged(link: str | None) -> None:
    assert status(ports={"web": {"link": link}}).ports["web"].link == link


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (["2458", "0.5"], (2458, 0.5)),
        ([2458, None, 0.5], (2458, None, 0.5)),
        ([9007199254740993, "9007199254740993"], (9007199254740993, 9007199254740993)),
        (["?", ""], (None, None)),
        (None, ()),
        ("", ()),
        ("none", ()),
    ],
)
def test_datasets_are_read_as_numbers(sent: Any, expected: tuple[Any, ...]) -> None:
    assert read(METRICS, {"cpu": {"datasets": sent}}).cpu.datasets == expected


def test_labels_and_timestamps_keep_their_positions() -> None:
    series = {
        "labels": ["00:00:00", 5, None],
        "timestamps": ["2021-07-14 14:17:37.711", None, ""],
    }
    cpu = read(METRICS, {"cpu": series, "cpu_throttle_total": {"labels": []}}).cpu
    assert cpu.labels == ("00:00:00", "5", None)
    assert cpu.timestamps == (
        datetime(2021, 7, 14, 14, 17, 37, 711000, UTC),
        None,
        None,
    )
    assert (
        read(METRICS, {"cpu": {"labels": None}, "mem": None, "total": None}).cpu.labels
        == ()
    )


@pytest.mark.parametrize("nothing", [None, "", "none"])
def test_a_missing_series_is_empty(nothing: Any) -> None:
    cpu = read(METRICS, {"cpu": {"labels": nothing, "timestamps": nothing}}).cpu
    assert (cpu.labels, cpu.datasets, cpu.timestamps) == ((), (), ())
    assert (
        read("POST /v1/deployments/bulk-stop", {"processable": nothing}).processable
        == ()
    )


@pytest.mark.parametrize("nothing", [None, ...])
def test_logs_without_a_crash_have_no_crash_data(nothing: Any) -> None:
    sample = {
        "logs": "x",
        "crash_data": nothing,
        "crash_logs": nothing,
        "logs_link": nothing,
    }
    logs = read(LOGS, {k: v for k, v in sample.items() if v is not ...})
    assert (logs.logs, logs.crash_data, logs.crash_logs, logs.logs_link) == (
        "x",
        None,
        None,
        None,
    )


def test_hosts_are_read_in_the_newer_form() -> None:
    (host,) = BY_KEY[HOSTS].answer["data"]
    newer = {
        key: value
        for key, value in host.items()
        if key not in ("pin", "delete_schedules")
    } | {
        "centroid": {
            "label": "Alpha",
            "latitude": 43.9,
            "longitude": -78.6,
            "radius_km": 700,
            "desired_host_count": 1,
        },
        "delete_schedule": {"uuid": "6458350c", "scheduled_at": "2025-11-30T23:59:00Z"},
        "fleet_host_specifications": {
            "cpu_units": 16384,
            "memory_mb": 32768,
            "base_clock_speed_mhz": 2000,
        },
    }
    pages = {"number": 1, "paginator": {"num_pages": 2}, "has_next": True}
    answer = {
        "data": [newer, newer | {"delete_schedule": None}],
        "total_count": 2,
        "pagination": pages,
    }
    assert list(differences(answer, read(HOSTS, answer))) == []


def test_metrics_are_read_with_the_newer_series() -> None:
    series = {"labels": ["a"], "datasets": [1], "timestamps": [None]}
    answer = BY_KEY[METRICS].answer | {
        "cpu_throttle_rate": series,
        "cpu_throttle_total": series | {"datasets": ["2.5"]},
    }
    read_again = read(METRICS, answer)
    assert read_again.cpu_throttle_rate.datasets == (1,)
    assert read_again.cpu_throttle_total.datasets == (2.5,)
    assert list(differences(BY_KEY[METRICS].answer, read_again)) == []


def test_locations_are_read_with_their_pages() -> None:
    answer = BY_KEY[LOCATIONS].answer | {
        "total_count": 30,
        "pagination": {"number": 1, "paginator": {"num_pages": 3}, "has_next": True},
    }
    assert list(differences(answer, read(LOCATIONS, answer))) == []


@pytest.mark.parametrize("count", [{"count": 1}, {"total_count": 1}])
def test_the_number_of_tags_is_read_under_either_name(count: dict[str, int]) -> None:
    answer = {"tags": [{"name": "a" * 40}], "pagination": {}} | count
    assert list(differences(answer, read(TAGS, answer))) == []


@pytest.mark.parametrize(
    "code", [msgspec.json, msgspec.msgpack], ids=["json", "msgpack"]
)
def test_a_status_survives_encoding_and_decoding(code: Any) -> None:
    before = status()
    assert before.start_time
    assert code.decode(code.encode(before), type=type(before)) == before
