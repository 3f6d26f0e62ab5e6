"""Whatever is a number, a text or a deployment is accepted, of whatever class."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from fractions import Fraction
from ipaddress import ip_address
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from support.raw_server import RawServer, answer, session

from edgegap_async import (
    BulkStopFilter,
    DeploymentAccepted,
    DeployRequest,
    EdgegapSession,
    EnvironmentVariable,
    GeoCoordinatesUser,
    Limits,
    ListFilter,
    ListQuery,
    OrderBy,
    Resources,
    Retry,
    Webhook,
    probes,
)
from edgegap_async.errors import DeploymentFailed
from edgegap_async.models.deploy import LONGEST_VALUE, MOST_USERS, FleetDeployRequest
from edgegap_async.models.relay import (
    RelayAuthorization,
    RelayRevocation,
    RelaySessionRequest,
)


class Index:
    """A whole number of another library, as numpy's."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value


class Real:
    """A real number of another library."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __float__(self) -> float:
        return self.value


class Text(str):
    """A text of another library, as numpy's."""

    __slots__ = ()


class Mixed(str, Enum):  # noqa: UP042 (its `str()` is "Mixed.FIRST")
    FIRST = "game"


class Words(StrEnum):
    FIRST = "game"


class Whole(IntEnum):
    FIRST = 1024


def numpy_numbers() -> list[tuple[Callable[[Any], Any], Callable[[Any], Any]]]:
    try:
        import numpy
    except ModuleNotFoundError:
        return []
    return [
        (numpy.int32, numpy.float32),
        (numpy.int64, numpy.float64),
    ]


NUMBERS = [(Index, Real), (int, float), *numpy_numbers()]
TEXTS: list[Callable[[str], str]] = [str, Text]


def encoded(value: object) -> Any:
    return json.loads(msgspec.json.encode(value))


@pytest.mark.parametrize(("whole", "real"), NUMBERS)
def test_numbers_of_any_class_are_sent_as_plain_numbers(whole: Any, real: Any) -> None:
    request = DeployRequest(
        "game",
        "1",
        users=[(real(45.5), whole(-73)), GeoCoordinatesUser(whole(1), real(2.5))],
        resources=Resources(whole(1024), whole(2048)),
    )
    sent = encoded(request)
    assert [each["user_data"] for each in sent["users"]] == [
        {"latitude": 45.5, "longitude": -73},
        {"latitude": 1, "longitude": 2.5},
    ]
    assert sent["resources"] == {"cpu_units": 1024, "memory_mib": 2048}
    assert encoded(ListFilter("status", "eq", whole(5)))["value"] == 5
    limits = Limits(deploy=whole(10), share=real(0.5), burst=whole(3))
    assert [type(each) for each in (limits.deploy, limits.share, limits.burst)] == [
        int,
        float,
        int,
    ]
    retry = Retry(tries=whole(2), backoff=real(0.5), budget=whole(0))
    assert retry == Retry(tries=2, backoff=0.5, budget=0)
    assert EdgegapSession("token", timeout=real(5.0), cleanup_timeout=whole(0))
    assert probes.tcp(whole(7777), timeout=real(0.5))


@pytest.mark.parametrize(
    "value",
    [True, "45.5", b"45", None, [45.5], 1j, float("nan"), Real(float("inf"))],
)
def test_what_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^users: latitude must be a number "):
        GeoCoordinatesUser(value, 0)
    with pytest.raises(ValueError, match=r"^timeout must be a number of seconds "):
        EdgegapSession("token", timeout=value if value is not None else False)
    with pytest.raises(ValueError, match=r"^resources: cpu_units must be a whole "):
        Resources(value, 1024)


@pytest.mark.parametrize("value", [Decimal("45.5"), Fraction(91, 2), Whole.FIRST / 22])
def test_other_numbers_of_python_are_accepted(value: Any) -> None:
    user = GeoCoordinatesUser(value, 0)
    assert type(user.latitude) is float
    assert encoded(Resources(Whole.FIRST, Whole.FIRST))["cpu_units"] == 1024


def test_a_bool_of_numpy_is_a_flag_and_no_number() -> None:
    numpy_bool: Any = pytest.importorskip("numpy").bool_(True)
    assert EdgegapSession("token", deploy_once=numpy_bool)
    request = DeployRequest(
        "a", "1", users=["::1"], require_cached_locations=numpy_bool
    )
    assert encoded(request)["require_cached_locations"] is True
    with pytest.raises(ValueError, match=r"^retry: tries "):
        Retry(tries=numpy_bool)


@pytest.mark.parametrize("kind", TEXTS)
def test_texts_of_any_class_are_sent_as_plain_texts(kind: Callable[[str], str]) -> None:
    request = FleetDeployRequest(
        kind("game"),
        kind("1"),
        users=[kind("203.0.113.7")],
        environment_variables={kind("KEY"): kind("value")},
        tags=[kind("ranked")],
        webhook_on_ready=kind("https://example.com/hook"),
        webhook_on_error=Webhook(kind("https://example.com/hook")),
        private_host_ids=[kind("host")],
    )
    plain = FleetDeployRequest(
        "game",
        "1",
        users=["203.0.113.7"],
        environment_variables=[EnvironmentVariable("KEY", "value")],
        tags=["ranked"],
        webhook_on_ready="https://example.com/hook",
        webhook_on_error="https://example.com/hook",
        private_host_ids=["host"],
    )
    assert encoded(request) == encoded(plain)
    query = ListQuery(
        [
            ListFilter(kind("status"), kind("eq"), kind("ready")),
            ListFilter(kind("tags"), kind("in"), [kind("a")]),
        ],
        [OrderBy(kind("created_at"), kind("desc"))],
    )
    assert encoded(query)["filters"][0] == {
        "field": "status",
        "operator": "eq",
        "value": "ready",
    }
    stop = BulkStopFilter(kind("request_id"), [kind("c065")], kind("all"))  # type: ignore[arg-type]
    assert encoded(stop)["filter_type"] == "all"


@pytest.mark.parametrize("name", [Mixed.FIRST, Words.FIRST])
def test_a_member_of_an_enum_stands_for_its_value(name: str) -> None:
    request = DeployRequest(name, name, users=["203.0.113.7"], tags=[name])
    assert (request.application, request.version, request.tags) == (
        "game",
        "game",
        ("game",),
    )


CREATED = [
    (datetime(2026, 5, 1, 12, tzinfo=UTC), "2026-05-01T12:00:00Z"),
    # A naive time is UTC, as in `metrics`.
    (datetime(2026, 5, 1, 12), "2026-05-01T12:00:00Z"),
    (
        datetime(2026, 5, 1, 12, 0, 0, 5, timezone(timedelta(hours=2))),
        "2026-05-01T10:00:00.000005Z",
    ),
    ("2026-05-01", "2026-05-01"),
]


@pytest.mark.parametrize(("given", "sent"), CREATED)
def test_a_filter_takes_a_datetime(given: Any, sent: str) -> None:
    assert encoded(ListFilter("created_at", "lte", given))["value"] == sent


@pytest.mark.parametrize(
    "value",
    [
        *(date(2026, 5, 1), None, {}, object()),
        *(float("nan"), Real(float("inf")), 2**63, Index(10**5000)),
    ],
)
def test_a_filter_refuses_what_json_cant_hold(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^query: filter on 'created_at' "):
        ListFilter("created_at", "lte", value)


@pytest.mark.parametrize(
    ("text", "size"),
    [("x" * 4097, "4,097"), ("é" * 2049, "4,098"), ("x" * 10**7, "10,000,000")],
    ids=["text", "two bytes each", "megabytes"],
)
def test_a_value_of_the_environment_has_at_most_4_kb(text: str, size: str) -> None:
    assert EnvironmentVariable("KEY", "é" * (LONGEST_VALUE // 2))
    with pytest.raises(
        ValueError, match=f"'KEY' must have at most 4,096 .*{size}"
    ) as it:
        DeployRequest("a", "1", users=["::1"], environment_variables={"KEY": text})
    assert len(str(it.value)) < 200


def test_more_players_than_any_server_takes_are_refused() -> None:
    most = DeployRequest("a", "1", users=["203.0.113.7"] * MOST_USERS)
    assert len(most.users) == MOST_USERS

    def endless() -> Any:
        while True:
            yield "203.0.113.7"

    for users in (["203.0.113.7"] * 100_000, endless()):
        with pytest.raises(ValueError, match=r"^users must hold at most 10,000 items"):
            DeployRequest("a", "1", users=users)


def test_one_answer_is_no_list_of_values() -> None:
    # It can be iterated over: `dict(answer)` works.
    one: Any = DeploymentAccepted(request_id="c065")
    for make in (
        lambda: DeployRequest("a", "1", users=one),
        lambda: DeployRequest("a", "1", users=["::1"], tags=one),
        lambda: BulkStopFilter("request_id", one),
        lambda: ListQuery(one),
    ):
        with pytest.raises(
            ValueError, match=r"must be a sequence.*; put it into a list"
        ):
            make()


@pytest.mark.parametrize(
    ("pair", "swapped"),
    [
        ((151.2, -33.9), True),
        ((-122.4, 37.8), True),
        ((Index(139), Real(35.7)), True),
        # No order makes these right.
        ((151.2, 133.9), False),
        ((200, 45), False),
        ((45, 200), False),
    ],
)
def test_swapped_coordinates_are_told(pair: Any, swapped: bool) -> None:
    with pytest.raises(ValueError, match=r"^users: l") as raised:
        DeployRequest("a", "1", users=[pair])
    assert ("swapped" in str(raised.value)) == swapped


@pytest.mark.parametrize(
    "value", ["x" * 10**6, list(range(10**5)), 10**5000], ids=["text", "list", "int"]
)
def test_the_text_of_an_error_is_short(value: Any) -> None:
    calls: list[Callable[[], object]] = [
        lambda: DeployRequest("a", "1", users=[value]),
        lambda: DeployRequest("a", "1", users=["::1"], tags=[value]),
        lambda: Resources(value, value),
        lambda: Limits(share=value),
        lambda: BulkStopFilter("request_id", ["a"], value),
    ]
    for call in calls:
        with pytest.raises(ValueError) as raised:
            call()
        assert len(str(raised.value)) < 300


FOR_A_DEPLOYMENT: list[Callable[[EdgegapSession, Any], Any]] = [
    lambda it, given: it.deployments.status(given),
    lambda it, given: it.deployments.stop(given),
    lambda it, given: it.deployments.ensure_stopped(given),
    lambda it, given: it.deployments.self_stop(given, 1, token="t"),
    lambda it, given: it.deployments.container_logs(given),
    lambda it, given: it.deployments.metrics(given),
    lambda it, given: it.deployments.wait_until_ready(given, timeout=5),
    lambda it, given: it.tags.list(given),
    lambda it, given: it.tags.get(given, "a"),
    lambda it, given: it.tags.create(given, "a"),
    lambda it, given: it.tags.update(given, "a", name="b"),
    lambda it, given: it.tags.delete(given, "a"),
]
GIVEN = [
    DeploymentAccepted(request_id="c065"),
    DeploymentFailed("c065", None),
    SimpleNamespace(request_id=" c065\n"),
]


@pytest.mark.parametrize("given", GIVEN, ids=lambda given: type(given).__name__)
async def test_an_object_with_a_request_id_stands_for_its_deployment(
    given: Any,
) -> None:
    ready = {
        "request_id": "c065",
        "current_status": "Status.READY",
        "fqdn": "a.example",
        "ports": {"web": {"external": 1}},
        "name": "a",
        "tags": [],
    }
    async with RawServer(answer(200, ready)) as server, session(server.url) as edgegap:
        for call in FOR_A_DEPLOYMENT:
            await call(edgegap, given)
            path = server.arrivals[-1].path
            assert "/c065" in path
            assert "request_id" not in path
        before = len(server.arrivals)
        async with edgegap.deployments.wait_many([given, "c065"]) as outcomes:
            assert [request_id async for request_id, _ in outcomes] == ["c065"]
        assert len(server.arrivals) > before
    assert encoded(ListFilter("request_id", "in", [given]))["value"] == ["c065"]
    assert encoded(ListFilter("request_id", "eq", given))["value"] == "c065"
    assert encoded(BulkStopFilter("request_id", [given]))["values"] == ["c065"]


@pytest.mark.parametrize(
    "given", [None, 5, SimpleNamespace(request_id=None), DeploymentAccepted, b"c065"]
)
async def test_anything_else_is_no_deployment(given: Any) -> None:
    async with RawServer() as server, session(server.url) as edgegap:
        for call in FOR_A_DEPLOYMENT:
            with pytest.raises(
                ValueError, match=r"^request_id must be a request_id, or"
            ):
                await call(edgegap, given)
        assert not server.arrivals


class Address(str, Enum):  # noqa: UP042
    FIRST = "203.0.113.7"


def test_the_bodies_of_relays_take_addresses_and_numbers_of_any_class() -> None:
    for address in (Address.FIRST, Text("203.0.113.7"), ip_address("203.0.113.7")):
        made: Any = RelaySessionRequest((address,))  # type: ignore[arg-type]
        assert made.to_dict()["users"] == ["203.0.113.7"]
        added: Any = RelayAuthorization("s", address)  # type: ignore[arg-type]
        assert added.to_dict()["user_ip"] == "203.0.113.7"
    for number in (1024, Index(1024), Whole.FIRST):
        removed = RelayRevocation("s", number)  # type: ignore[arg-type]
        assert json.loads(msgspec.json.encode(removed))["authorization_token"] == 1024
    for wrong in (5, b"203.0.113.7", None, "", object(), ["203.0.113.7"]):
        with pytest.raises(ValueError, match=r"^user_ip"):
            RelayAuthorization("s", wrong)  # type: ignore[arg-type]


INDIA = timezone(timedelta(hours=5, minutes=30))


@pytest.mark.parametrize(
    ("time", "told"),
    [
        (datetime.min.replace(tzinfo=INDIA), "outside of the years 1 to 9999"),
        (datetime.max.replace(tzinfo=timezone(-timedelta(hours=1))), "outside of the"),
        (date(2026, 1, 1), "must be a datetime"),
    ],
)
def test_a_time_that_can_not_be_sent_is_refused(time: Any, told: str) -> None:
    with pytest.raises(ValueError, match=f"^query: filter on 'created_at' .*{told}"):
        ListFilter("created_at", "lte", time)


async def test_a_time_of_metrics_that_can_not_be_sent_is_refused() -> None:
    async with EdgegapSession("made-up") as edgegap:
        with pytest.raises(ValueError, match=r"^start_time is outside of the years"):
            await edgegap.deployments.metrics(
                "c065", start_time=datetime.min.replace(tzinfo=INDIA)
            )


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("A=B", "x", "key 'A=B' must not hold '='"),
        ("A\0", "x", "must not hold '=' or"),
        ("A", "x\0y", "the value of 'A' must not hold"),
    ],
)
def test_a_variable_that_no_process_can_have_is_refused(
    key: str, value: str, told: str
) -> None:
    with pytest.raises(ValueError, match=f"^environment_variables: .*{told}"):
        EnvironmentVariable(key, value)
