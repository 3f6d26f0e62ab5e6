"""A deploy that is refused, in whatever form: one POST, the error at once, and no server
that nobody knows of.
"""

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from support.deploy_many import requests
from support.owning import PLAYERS, forgotten, owning
from support.raw_server import (
    ACCEPTED,
    STUCK,
    Act,
    RawServer,
    answer,
    failure,
    half,
    scripted,
)
from support.webhook_session import hooked

from edgegap_async import DeployOutcomeUnknown, EdgegapSession, Limits
from edgegap_async.errors import (
    AllocationFailed,
    ApiError,
    BadRequest,
    EdgegapError,
    Forbidden,
    NotFound,
    QueueTooLong,
    ServerError,
    UnexpectedAnswer,
)
from edgegap_async.simulator import Fault

HTML = (
    "<html>\r\n<head><title>413 Request Entity Too Large</title></head>\r\n</html>\r\n"
)
# status, body, words of the body that the error shows
REFUSALS: dict[str, tuple[int, object, str]] = {
    "message object": (400, {"message": {"users": "too many"}}, "users: too many"),
    "message list": (409, {"message": ["a", {"b": [1, None]}]}, "a; b: 1; null"),
    "errors": (
        400,
        {"errors": [{"field": "app", "message": "unknown"}]},
        "field: app, message: unknown",
    ),
    "error": (402, {"error": "card expired"}, "card expired"),
    "detail": (
        422,
        {"detail": [{"loc": ["body", "users"], "msg": "field required"}]},
        "msg: field required",
    ),
    "detail text": (403, {"detail": "not allowed"}, "not allowed"),
    "other JSON": (424, {"code": 7}, "code: 7"),
    "JSON text": (400, '"no"', "no"),
    "null": (400, "null", "null"),
    "gateway": (413, HTML, "413 Request Entity Too Large"),
    "not UTF-8": (403, b"\xff no", "\ufffd no"),
    "empty": (401, "", "no message"),
    "not found": (404, "<html>", "<html>"),
    "redirect": (307, "", "307"),
    "redirect HTML": (302, "<html>moved</html>", "moved"),
    "redirect JSON": (308, {"message": "moved"}, "moved"),
}
EMPTY = answer(
    200, {"data": [], "total_count": 0, "pagination": {"number": 1, "has_next": False}}
)
refusals = pytest.mark.parametrize(
    ("status", "body", "words"), REFUSALS.values(), ids=REFUSALS
)
once = pytest.mark.parametrize("once", [True, False], ids=["once", "not once"])
# Seconds after which an error was not raised at once. A search takes two at least. A long
# body is decoded in a thread, and that takes real time.
AT_ONCE = 0.5


def posts(server: RawServer) -> list[str]:
    return [it.path for it in server.arrivals if it.method == "POST"]


async def deploy(edgegap: EdgegapSession, **options: Any) -> Any:
    return await edgegap.deployments.deploy("game", "1", users=PLAYERS, **options)


async def fleet_deploy(edgegap: EdgegapSession, **options: Any) -> Any:
    return await edgegap.private_fleets.deploy(
        "game", "1", users=PLAYERS, private_host_ids=["host"], **options
    )


async def refused(call: Any) -> ApiError | UnexpectedAnswer:
    """The error of a call, which must come at once."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(EdgegapError) as caught:
        await call
    assert loop.time() - began < AT_ONCE
    assert isinstance(caught.value, ApiError | UnexpectedAnswer), caught.value
    return caught.value


@once
@refusals
@pytest.mark.parametrize("call", [deploy, fleet_deploy])
async def test_a_refused_deploy_is_sent_once_and_raised_at_once(
    status: int, body: object, words: str, call: Any, once: bool
) -> None:
    async with scripted(answer(status, body), lists=EMPTY, deploy_once=once) as (
        edgegap,
        server,
    ):
        error = await refused(call(edgegap, timeout=None))
        assert (error.status, error.request_sent) == (status, True)
        assert words in str(error)
        if isinstance(error, ApiError):
            assert not error.from_api
        # a path that is not found is tried under its newer name
        renamed = call is fleet_deploy and status == 404
        assert len(posts(server)) == 1 + renamed
    assert edgegap.leftovers == ()


@refusals
async def test_deploy_many_ends_when_each_deploy_is_refused(
    status: int, body: object, words: str
) -> None:
    loop = asyncio.get_running_loop()
    async with scripted(answer(status, body), lists=EMPTY, deploy_once=True) as (
        edgegap,
        server,
    ):
        began = loop.time()
        async with edgegap.deployments.deploy_many(requests(30)) as outcomes:
            errors = [outcome.error async for outcome in outcomes]
        assert loop.time() - began < 2
        assert {type(error) for error in errors} <= {
            UnexpectedAnswer,
            *ApiError.__subclasses__(),
            ApiError,
        }
        assert all(words in str(error) for error in errors)
        assert len(posts(server)) == len(errors) == 30
    assert edgegap.leftovers == ()


@pytest.mark.parametrize(
    ("body", "details"),
    [
        ({"message": {"users": "no"}}, {"users": "no"}),
        ({"errors": ["a"], "details": {"b": 1}}, {"b": 1}),
        ({"code": 7}, {"code": 7}),
        ({"detail": "text"}, None),
        ("<html>", None),
    ],
)
async def test_details_hold_what_was_decoded(body: object, details: object) -> None:
    async with scripted(answer(400, body)) as (edgegap, _):
        error = await refused(deploy(edgegap))
        assert isinstance(error, BadRequest)
        assert error.details == details


@pytest.mark.parametrize(
    "act", [half(413, HTML), STUCK, half(302, HTML), answer(403, "[" * 100_000)]
)
async def test_a_refusal_whose_body_can_not_be_read_is_a_refusal(act: Act) -> None:
    if act is STUCK:
        act = Act(half(403, HTML).raw, silent=True)
    async with scripted(act, lists=EMPTY, deploy_once=True) as (edgegap, server):
        with pytest.raises(EdgegapError) as caught:
            await deploy(edgegap, timeout=None)
        assert isinstance(caught.value, ApiError | UnexpectedAnswer)
        assert caught.value.status in (302, 403, 413)
        assert len(posts(server)) == 1
    assert edgegap.leftovers == ()


async def test_an_error_shows_a_page_in_one_line() -> None:
    for act in (answer(400, HTML), answer(302, HTML), answer(502, HTML)):
        async with scripted(act) as (edgegap, _):
            assert "\n" not in str(await failure(deploy(edgegap)))


async def test_a_long_refusal_is_cut_to_an_excerpt() -> None:
    for body in ("x" * 10_000, {"message": {"a": "x" * 10_000}}, [["x"] * 10_000]):
        async with scripted(answer(400, body)) as (edgegap, _):
            assert len(str(await refused(deploy(edgegap)))) < 400


async def test_a_refusal_in_the_api_s_form_is_not_searched_for() -> None:
    act = answer(400, {"message": "no such app", "request_id": 5})
    async with scripted(act, lists=EMPTY, deploy_once=True) as (edgegap, server):
        error = await refused(deploy(edgegap))
        assert isinstance(error, BadRequest)
        assert (error.message, error.from_api) == ("no such app", True)
        await asyncio.sleep(20)
        assert len(server.arrivals) == 1
    assert edgegap.leftovers == ()


@pytest.mark.parametrize("kind", ["403-after", "redirect-after"])
@pytest.mark.parametrize("warm", [True, False])
@pytest.mark.parametrize("fleet", [True, False])
async def test_a_server_started_behind_a_refusing_gateway_is_stopped(
    kind: str, warm: bool, fleet: bool
) -> None:
    async with owning() as (edgegap, sim):
        call = fleet_deploy if fleet else deploy
        held = [(await call(edgegap)).request_id] if warm else []
        row = "private_fleets.deploy" if fleet else "deploy"
        sim.faults = [Fault(row, kind, times=1)]
        error = await refused(call(edgegap))
        assert error.status in (403, 307)
        assert len(sim.deployed()) == 1 + warm
        await asyncio.sleep(10)
        assert forgotten(sim, held) == set()
        assert {*held} <= sim.running()
    assert edgegap.leftovers == ()


@pytest.mark.parametrize("lag", [0.0, 3.0])
async def test_deploy_many_stops_what_a_refusing_gateway_let_through(
    lag: float,
) -> None:
    faults = [Fault("deploy", "403-after", 0.5), Fault("list", "lag", seconds=lag)]
    async with owning(faults, options={"seed": 3}) as (edgegap, sim):
        requested = requests(60)
        async with edgegap.deployments.deploy_many(
            requested, until_ready=False
        ) as outcomes:
            taken = [outcome async for outcome in outcomes]
        held = [it.deployment.request_id for it in taken if it.deployment]
        errors = [it.error for it in taken if it.error]
        assert {type(error) for error in errors} == {Forbidden}
        assert len(held) + len(errors) == len(sim.deployed()) == 60
        await asyncio.sleep(15)
        assert forgotten(sim, held) == set()
    assert edgegap.leftovers == ()


async def test_each_server_under_the_tag_of_a_refused_deploy_is_stopped() -> None:
    tags: list[str] = []
    async with owning(Fault("deploy", "403-after", times=1), on_intent=tags.append) as (
        edgegap,
        sim,
    ):
        await refused(deploy(edgegap))
        # A gateway sends the request again.
        async with EdgegapSession("another", base_url=sim.url) as gateway:
            for seconds in (0.1, 3.0):
                await asyncio.sleep(seconds)
                await deploy(gateway, tags=tags, once=False)
        await asyncio.sleep(10)
        assert len(sim.deployed()) == 3
        assert forgotten(sim) == set()
        assert sim.arrivals("other") == 3
    assert edgegap.leftovers == ()


async def test_a_tag_is_watched_after_a_refusal_and_then_forgotten() -> None:
    async with owning(Fault("deploy", "403-before")) as (edgegap, sim):
        await refused(deploy(edgegap))
        await asyncio.sleep(10)
        asked = sim.arrivals("list")
        assert 0 < asked < 25
        await asyncio.sleep(100)
        assert sim.arrivals("list") - asked < 30
        await asyncio.sleep(300)
        asked = sim.arrivals("list")
        await asyncio.sleep(300)
        assert sim.arrivals("list") == asked
        await edgegap.aclose()
        assert edgegap.leftovers == ()


async def test_closing_finishes_the_search_after_a_refusal() -> None:
    loop = asyncio.get_running_loop()
    for lag in (0.0, 2.0):
        faults = [Fault("deploy", "403-after"), Fault("list", "lag", seconds=lag)]
        async with owning(faults) as (edgegap, sim):
            await refused(deploy(edgegap))
            began = loop.time()
            await edgegap.aclose()
            assert loop.time() - began < 10
            assert edgegap.leftovers == ()
            assert forgotten(sim) == set()


async def test_a_search_cut_short_by_closing_is_named_in_leftovers() -> None:
    told: list[str] = []
    loop = asyncio.get_running_loop()
    async with owning(
        Fault("deploy", "403-after"),
        Fault("list", "lag", seconds=60.0),
        cleanup_timeout=2.0,
        on_intent=told.append,
    ) as (edgegap, _):
        await refused(deploy(edgegap))
        began = loop.time()
        await edgegap.aclose()
        assert loop.time() - began < 2.1
        assert edgegap.leftovers == ((None, told[0]),)


async def test_a_tag_that_no_list_can_tell_of_is_named_in_leftovers() -> None:
    told: list[str] = []
    async with owning(
        Fault("deploy", "403-before"),
        Fault("list", "503-before"),
        on_intent=told.append,
    ) as (edgegap, sim):
        await refused(deploy(edgegap))
        await asyncio.sleep(60)
        await edgegap.aclose()
        assert edgegap.leftovers == ((None, told[0]),)
        assert sim.arrivals("deploy") == 1


async def test_a_webhook_tells_of_a_server_that_a_refusal_has_started() -> None:
    faults = (Fault("deploy", "403-after"), Fault("list", "503-before"))
    async with hooked(*faults, options={"ready_after": (2.0, 2.0)}) as (
        edgegap,
        sim,
        _,
    ):
        await refused(deploy(edgegap))
        await asyncio.sleep(3)
        assert forgotten(sim) == set()
        assert len(sim.deployed()) == 1
    assert edgegap.leftovers == ()


@pytest.mark.parametrize(
    "body",
    [
        {"request_id": "bad1", "message": "no capacity"},
        {"request_id": "bad1", "message": {"reason": "no capacity"}},
        {"request_id": "bad1", "errors": ["no capacity"]},
        {"detail": {"request_id": "bad1", "reason": "no capacity"}},
        {"errors": [{"reason": "no capacity"}, {"request_id": "bad1"}]},
    ],
)
@pytest.mark.parametrize("call", [deploy, fleet_deploy])
async def test_the_deployment_that_a_422_names_is_stopped(
    body: object, call: Any
) -> None:
    async with scripted(
        answer(422, body), answer(200, {"message": "ok"}), lists=EMPTY, deploy_once=True
    ) as (edgegap, server):
        error = await refused(call(edgegap))
        assert isinstance(error, AllocationFailed)
        assert error.request_id == "bad1"
        assert "no capacity" in error.message
        await asyncio.sleep(10)
        stops = [it.path for it in server.arrivals if it.method == "DELETE"]
        assert stops == ["/v1/stop/bad1"]
    assert edgegap.leftovers == ()


async def test_a_refused_first_path_of_a_fleet_deploy_leaves_the_newer_one() -> None:
    for status in (404, 405):
        async with scripted(
            answer(status, "<html>"), ACCEPTED, lists=EMPTY, deploy_once=True
        ) as (edgegap, server):
            accepted = await fleet_deploy(edgegap)
            assert accepted.request_id == "c065"
            assert len({*posts(server)}) == len(posts(server)) == 2
            await asyncio.sleep(10)
            assert len(posts(server)) == 2
        assert edgegap.leftovers == ()


async def test_a_fleet_deploy_refused_under_both_paths_is_searched_for() -> None:
    async with scripted(
        answer(404, "<html>"), answer(403, "<html>"), lists=EMPTY, deploy_once=True
    ) as (edgegap, server):
        assert isinstance(await refused(fleet_deploy(edgegap)), Forbidden)
        await asyncio.sleep(10)
        assert len(posts(server)) == 2
        assert len(server.arrivals) > 2
    assert edgegap.leftovers == ()


async def test_a_server_behind_a_422_of_a_gateway_is_stopped() -> None:
    """Only the API's own 422 without an ID says that nothing was started."""
    for call in (deploy, fleet_deploy):
        row = "private_fleets.deploy" if call is fleet_deploy else "deploy"
        async with owning(Fault(row, "422-after", times=1)) as (edgegap, sim):
            error = await refused(call(edgegap))
            assert isinstance(error, AllocationFailed)
            assert error.request_id is None
            assert error.once_tag in sim.tags_of(sim.deployed()[0])
            await asyncio.sleep(10)
            assert forgotten(sim) == set()
        assert edgegap.leftovers == ()


@pytest.mark.parametrize(
    ("act", "searched"),
    [
        (answer(422, HTML), True),
        (answer(422, ""), True),
        (answer(422, {"errors": [{"detail": "upstream"}]}), True),
        (answer(422, {"detail": "upstream"}), True),
        (half(422, {"request_id": "bad1", "message": "no capacity"}), True),
        (answer(422, {"message": "no capacity"}), False),
    ],
)
async def test_a_422_that_names_no_deployment_is_searched_for_unless_it_is_the_api_s(
    act: Act, searched: bool
) -> None:
    async with scripted(act, lists=EMPTY, deploy_once=True) as (edgegap, server):
        assert isinstance(await failure(deploy(edgegap)), AllocationFailed)
        await asyncio.sleep(10)
        assert (len(server.arrivals) > 1) == searched
        assert len(posts(server)) == 1
    assert edgegap.leftovers == ()


NO_HOST = answer(400, {"message": "no capacity left on these hosts"})
API_404 = answer(404, {"message": "no such path"})


@pytest.mark.parametrize("lag", [0.0, 2.0])
@pytest.mark.parametrize("then", ["ok", "401", "403-before", "422", "404-json"])
async def test_a_server_behind_a_gateway_s_404_to_the_first_path_is_stopped(
    then: str, lag: float
) -> None:
    """The second path is tried all the same, under the same tag."""
    lists = Fault("list", "lag", seconds=lag)
    async with owning(
        Fault.script("private_fleets.deploy", "404-after", then), lists
    ) as (edgegap, sim):
        held = []
        with suppress(EdgegapError):
            held.append((await fleet_deploy(edgegap)).request_id)
        assert bool(held) == (then == "ok")
        await asyncio.sleep(60)
        assert len(sim.deployed()) == 1 + (then in ("ok", "422"))
        assert forgotten(sim, held) == set()
        assert {*held} <= sim.running()
    assert edgegap.leftovers == ()


@pytest.mark.parametrize("how", ["cancelled", "closed", "late"])
@pytest.mark.parametrize("seconds", [0.1, 0.5, 0.9])
async def test_a_caller_that_leaves_before_the_second_path_leaves_no_server(
    how: str, seconds: float
) -> None:
    async with owning(
        Fault("private_fleets.deploy", "404-after", times=1),
        options={"delay_after": (0.5, 0.5)},
    ) as (edgegap, sim):
        timeout = seconds if how == "late" else None
        call = asyncio.ensure_future(fleet_deploy(edgegap, timeout=timeout))
        await asyncio.sleep(seconds)
        if how == "cancelled":
            call.cancel()
        elif how == "closed":
            await edgegap.aclose()
        await asyncio.wait([call])
        await asyncio.sleep(60)
        assert sim.deployed()
        assert forgotten(sim) == set()
    assert edgegap.leftovers == ()


@pytest.mark.parametrize(
    ("first", "second", "searched"),
    [
        (answer(404, HTML), NO_HOST, True),
        (answer(404, HTML), API_404, True),
        (API_404, answer(404, HTML), True),
        (API_404, answer(405, ""), True),
        (API_404, answer(403, HTML), True),
        (API_404, API_404, False),
        (API_404, NO_HOST, False),
        (answer(405, {"message": "not allowed"}), NO_HOST, False),
    ],
)
async def test_a_fleet_deploy_is_searched_for_if_a_gateway_refused_either_path(
    first: Act, second: Act, searched: bool
) -> None:
    async with scripted(first, second, lists=EMPTY, deploy_once=True) as (
        edgegap,
        server,
    ):
        error = await refused(fleet_deploy(edgegap))
        assert error.request_sent
        assert len(posts(server)) == 2
        bodies = {it.body for it in server.arrivals if it.method == "POST"}
        assert len(bodies) == 1
        await asyncio.sleep(10)
        assert (len(server.arrivals) > 2) == searched
    assert edgegap.leftovers == ()


@pytest.mark.parametrize("first", [API_404, answer(404, HTML)])
async def test_the_error_of_a_second_path_that_was_not_sent_says_that_the_first_was(
    first: Act,
) -> None:
    async with scripted(
        first, ACCEPTED, lists=EMPTY, deploy_once=True, limits=Limits(deploy=1)
    ) as (edgegap, server):
        error = await failure(fleet_deploy(edgegap, timeout=0.5))
        assert isinstance(error, QueueTooLong)
        assert error.request_sent
        assert len(posts(server)) == 1
    assert edgegap.leftovers == ()


@pytest.mark.parametrize("how", ["cancelled", "closed", "late", "refused", "waits"])
@pytest.mark.parametrize("fleet", [True, False])
async def test_a_server_behind_a_429_of_a_gateway_is_stopped(
    how: str, fleet: bool
) -> None:
    """The repeat has the same tag, so the server is a second one under it."""
    row = "private_fleets.deploy" if fleet else "deploy"
    faults = [Fault(row, "429-after", seconds=5.0, times=1)]
    if how == "refused":
        faults.append(Fault(row, "401", times=1))
    async with owning(faults) as (edgegap, sim):
        call = asyncio.ensure_future(
            (fleet_deploy if fleet else deploy)(
                edgegap, timeout=3 if how == "late" else None
            )
        )
        await asyncio.sleep(0.5)
        began = asyncio.get_running_loop().time()
        if how == "cancelled":
            call.cancel()
        elif how == "closed":
            await edgegap.aclose()
            assert asyncio.get_running_loop().time() - began < 8
        await asyncio.wait([call])
        held = [] if how != "waits" else [call.result().request_id]
        await asyncio.sleep(60)
        assert len(sim.deployed()) == 1 + len(held)
        assert forgotten(sim, held) == set()
        assert {*held} <= sim.running()
    assert edgegap.leftovers == ()


@pytest.mark.parametrize("how", ["cancelled", "late"])
async def test_the_server_of_a_caller_that_leaves_after_a_429_is_stopped_at_once(
    how: str,
) -> None:
    """Its repeat is not awaited, and its error is no unknown outcome."""
    async with owning(Fault("deploy", "429-after", seconds=50.0)) as (edgegap, sim):
        call = asyncio.ensure_future(
            deploy(edgegap, timeout=60 if how == "cancelled" else 55)
        )
        await asyncio.sleep(2)
        if how == "cancelled":
            call.cancel()
            await asyncio.wait([call])
        else:
            error = await failure(call)
            assert not isinstance(error, DeployOutcomeUnknown)
            assert error.request_sent
        await asyncio.sleep(7)
        assert forgotten(sim) == set()
    assert edgegap.leftovers == ()


UNKNOWN = {
    "500-before": "was answered 500",
    "503-before": "was answered 503",
    "408-before": "was answered 408",
    "cut-before": "had no answer",
}


@pytest.mark.parametrize("kind", UNKNOWN)
@pytest.mark.parametrize("timeout", [None, 3600])
async def test_three_lost_attempts_end_a_deploy_and_name_the_cause(
    kind: str, timeout: float | None
) -> None:
    told: list[str] = []
    async with owning(Fault("deploy", kind), on_intent=told.append) as (edgegap, sim):
        with pytest.raises(DeployOutcomeUnknown, match=UNKNOWN[kind]) as caught:
            await deploy(edgegap, timeout=timeout)
        assert sim.arrivals("deploy") == 3
        assert (caught.value.tag, len(told)) == (told[2], 3)
        cause = caught.value.__cause__
        assert isinstance(cause, EdgegapError)
        assert not isinstance(cause, DeployOutcomeUnknown)
        if isinstance(cause, ApiError):
            assert str(cause.status) in kind


async def test_deploy_many_ends_when_each_deploy_is_lost() -> None:
    async with owning(Fault("deploy", "503-before")) as (edgegap, sim):
        async with edgegap.deployments.deploy_many(requests(20)) as outcomes:
            errors = [outcome.error async for outcome in outcomes]
        assert {type(error) for error in errors} == {DeployOutcomeUnknown}
        assert {type(error.__cause__) for error in errors if error} == {ServerError}
        assert sim.arrivals("deploy") == 60


async def test_an_attempt_that_is_accepted_ends_the_count_of_lost_ones() -> None:
    faults = Fault.script("deploy", "503-before", "cut-before")
    async with owning(faults) as (edgegap, sim):
        server = await deploy(edgegap, timeout=None)
        assert sim.arrivals("deploy") == 3
        assert sim.deployed() == (server.request_id,)


async def test_a_deadline_names_what_was_lost_before_it() -> None:
    async with owning(Fault("deploy", "503-before")) as (edgegap, _):
        for timeout in (3, 6.5, 8):
            with pytest.raises(DeployOutcomeUnknown, match="was answered 503"):
                await deploy(edgegap, timeout=timeout)


async def test_a_refusal_that_nobody_waits_for_is_searched_for() -> None:
    async with owning(
        Fault("deploy", "403-after"), options={"delay_after": (1.0, 1.0)}
    ) as (edgegap, sim):
        call = asyncio.ensure_future(deploy(edgegap))
        await asyncio.sleep(0.5)
        call.cancel()
        await asyncio.wait([call])
        await asyncio.sleep(15)
        assert len(sim.deployed()) == 1
        assert forgotten(sim) == set()
    assert edgegap.leftovers == ()


async def test_not_found_for_a_deployment_is_what_it_was() -> None:
    async with scripted(answer(404, {"error": "unknown id"})) as (edgegap, _):
        error = await refused(edgegap.deployments.status("c065"))
        assert isinstance(error, NotFound)
        assert (error.message, error.from_api) == ("unknown id", False)


@pytest.mark.parametrize(
    "body",
    [
        {"message": "no capacity", "closest": {"request_id": "other"}},
        {"detail": [{"input": {"request_id": "other"}}]},
    ],
)
async def test_a_422_that_mentions_another_deployment_does_not_stop_it(
    body: object,
) -> None:
    async with scripted(answer(422, body), deploy_once=True) as (edgegap, server):
        error = await failure(deploy(edgegap))
        await asyncio.sleep(20)
    assert isinstance(error, AllocationFailed)
    assert error.request_id is None
    assert not [it for it in server.arrivals if it.method == "DELETE"]
