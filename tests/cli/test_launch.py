"""`launch` in virtual time: its rate, its failures, its output."""

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from aiolimiter import AsyncLimiter
from rich.console import Console
from support.launches import launch_matches, matches, session
from support.plain_client import Plain

from edgegap_async import EdgegapSession, Limits
from edgegap_async.cli.launcher import Launch
from edgegap_async.cli.progress import progress_display
from edgegap_async.cli.run_launch import run_launch
from edgegap_async.cli.summary import Counts, LaunchResult, RequestCounts, summary
from edgegap_async.load.figures import percentile
from edgegap_async.simulator import Fault, Simulator
from edgegap_async.simulator.rate_limits import Enforcement

# In seconds. A server that enforces spacing with a tolerance of 10 ms accepts it.
JITTER = (0.0, 0.008)


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize(
    ("enforcement", "burst"),
    [
        ("sliding-window", None),
        ("spacing", 1),
        *(
            pytest.param(it, None, marks=pytest.mark.full)
            for it in ("fixed-window", "token-bucket")
        ),
    ],
)
async def test_400_deploys_run_at_the_full_rate_without_a_429(
    enforcement: Enforcement, burst: int | None
) -> None:
    simulator = Simulator(enforcement=enforcement, delay_before=JITTER)
    async with session(simulator, Limits(burst=burst)) as edgegap:
        launch = Launch(
            edgegap,
            matches(400),
            timeout=300,
            on_ready=lambda match_id, server, seconds: None,
        )
        await launch.run()

    assert launch.result.complete
    assert launch.result.last_sent - launch.result.first_sent <= 1.05 * 400 / 40
    counts = simulator.counts()["limits"].values()
    assert [limit["refused"] for limit in counts] == [0, 0, 0, 0]
    assert [
        limit["busiest_second"] <= most
        for limit, most in zip(counts, (40, 20, 10, 40), strict=True)
    ] == [True] * 4

    # A plain AsyncLimiter gets 429s from the same server.
    other = Simulator(enforcement=enforcement, delay_before=JITTER)
    limiter = AsyncLimiter(40, 1)
    async with (
        other,
        aiohttp.ClientSession(
            other.url, headers={"Authorization": "token made-up"}
        ) as http,
    ):

        async def deploy() -> None:
            async with limiter:
                await Plain(http)("POST", "/v2/deployments", {})

        await asyncio.gather(*(deploy() for _ in range(400)))
    assert other.refused("deploy") > 0


async def test_the_server_of_a_failed_match_is_stopped(
    capsys: pytest.CaptureFixture[str],
) -> None:
    simulator = Simulator(error_share=0.3, seed=4)

    assert await launch_matches(simulator, 20) == 1

    output = capsys.readouterr()
    servers = [json.loads(line) for line in output.out.splitlines()]
    failed = [
        line.split(": ")[1]
        for line in output.err.splitlines()
        if line.startswith("  failed: ")
    ]
    assert 0 < len(failed) < 20
    assert {server["match_id"] for server in servers} | set(failed) == {
        f"m{n}" for n in range(20)
    }
    assert set(simulator.deployed()) - simulator.stopped() == {
        server["request_id"] for server in servers
    }
    assert f"stopped: {len(failed)} servers" in output.err


@pytest.mark.slow
async def test_the_timeout_starts_when_each_deploy_is_sent(
    capsys: pytest.CaptureFixture[str],
) -> None:
    simulator = Simulator(ready_after=(9, 9))
    loop = asyncio.get_running_loop()
    began = loop.time()

    assert await launch_matches(simulator, 80, timeout=5) == 1

    # The last deploy is sent about two seconds after the first.
    assert 80 / 40 - 0.5 + 5 < loop.time() - began < 9
    output = capsys.readouterr()
    assert not output.out
    assert output.err.count("was not ready in time, last seen ") == 80
    assert "last seen DEPLOYING" in output.err
    assert len(simulator.stopped()) == 80


async def test_a_deploy_slower_than_the_timeout_is_not_awaited() -> None:
    simulator = Simulator(delay_after=(2, 2))

    assert await launch_matches(simulator, 2, timeout=1) == 1
    assert simulator.arrivals("status") == 0
    assert len(simulator.stopped()) == 2


@pytest.mark.full
@pytest.mark.slow
async def test_without_a_timeout_a_launch_waits_without_end() -> None:
    assert await launch_matches(Simulator(ready_after=(900, 900)), 1, timeout=None) == 0


async def test_stop_stops_every_server_at_the_end(
    capsys: pytest.CaptureFixture[str],
) -> None:
    simulator = Simulator()

    assert await launch_matches(simulator, 5, stop=True) == 0

    assert simulator.stopped() == set(simulator.deployed())
    assert capsys.readouterr().err.splitlines()[-1] == "stopped: 5 servers"


async def test_max_running_caps_how_many_servers_exist() -> None:
    async def play(simulator: Simulator) -> None:
        async with EdgegapSession("another's", base_url=simulator.url) as other:
            before: frozenset[str] = frozenset()
            while True:
                # Longer than a server needs to become ready.
                await asyncio.sleep(6)
                assert len(simulator.running()) <= 2
                for request_id in before & simulator.running():
                    await other.deployments.stop(request_id)
                before = simulator.running()

    simulator = Simulator()
    async with session(simulator) as edgegap:
        players = asyncio.create_task(play(simulator))
        assert (
            await run_launch(
                edgegap, matches(7), timeout=300, stop=False, max_running=2
            )
            == 0
        )
        assert not players.done()
        players.cancel()
    assert len(simulator.deployed()) == 7


async def test_stop_with_max_running_serves_all_matches() -> None:
    simulator = Simulator()
    async with session(simulator) as edgegap:
        code = await run_launch(
            edgegap, matches(5), timeout=300, stop=True, max_running=2
        )
    assert code == 0
    assert len(simulator.deployed()) == 5
    assert simulator.stopped() == set(simulator.deployed())


@pytest.mark.parametrize("kind", ["404-text", "404-html", "404-empty"])
async def test_a_gateway_that_answers_the_stops_is_not_believed(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    simulator = Simulator(faults=[Fault("stop", kind)])
    assert await launch_matches(simulator, 3, stop=True) == 1
    assert len(simulator.running()) == 3
    err = capsys.readouterr().err
    assert "stopped: 3 servers" not in err
    assert all(request_id in err for request_id in simulator.running())


async def test_an_unknown_outcome_is_reported(
    capsys: pytest.CaptureFixture[str],
) -> None:
    # Longer than one attempt of a deploy or a stop.
    simulator = Simulator(delay_after=(40, 40))

    assert await launch_matches(simulator, 1) == 1

    output = capsys.readouterr().err
    assert "  failed: m0: the search for the tag once-" in output
    assert "unknown: m0: " in output


async def test_a_closed_standard_output_stops_every_server(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    simulator = Simulator()
    with unread_pipe() as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert await launch_matches(simulator, 5) == 1

    assert simulator.stopped() == set(simulator.deployed())
    assert (
        "writing to standard output failed, stopping all servers"
        in capsys.readouterr().err
    )


class FixedApi:
    """An API that gives the same answers to all requests."""

    def __init__(self, deploy: tuple[int, object], state: str, stop: int) -> None:
        self.deploy, self.state, self.stop = deploy, state, stop

    async def answer(self, request: web.Request) -> web.Response:
        match request.method:
            case "POST":
                return web.json_response(self.deploy[1], status=self.deploy[0])
            case "GET":
                return web.json_response(
                    {"request_id": "c065", "current_status": f"Status.{self.state}"}
                )
            case _:
                return web.json_response({"message": "as you like"}, status=self.stop)


async def launch_against(api: FixedApi) -> int:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", api.answer)
    async with (
        TestServer(app) as server,
        EdgegapSession("made-up", base_url=str(server.make_url(""))) as edgegap,
    ):
        return await run_launch(edgegap, matches(1), timeout=300, stop=False)


ACCEPTED = (202, {"request_id": "c065"})


@pytest.mark.parametrize(
    ("api", "expected"),
    [
        (
            FixedApi((422, {"request_id": "c065", "message": "full"}), "ERROR", 200),
            "stopped: 1 server",
        ),
        (FixedApi(ACCEPTED, "ERROR", 410), "stopped: 1 server"),
        (
            FixedApi(ACCEPTED, "ERROR", 403),
            "unknown: m0: stop of c065 failed: ",
        ),
        (FixedApi(ACCEPTED, "TERMINATED", 200), "failed: m0: deployment c065 is gone"),
    ],
    ids=["allocation failed", "stopped already", "can't be stopped", "terminated"],
)
async def test_a_failed_match_reports_what_became_of_its_server(
    api: FixedApi, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await launch_against(api) == 1

    lines = capsys.readouterr().err
    assert expected in lines
    assert ("running: 1 server" in lines) == (api.stop == 403)


@contextmanager
def unread_pipe() -> Iterator[object]:
    """A text file whose reader has closed it."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        yield pipe


async def test_an_unexpected_error_leaves_no_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    closed = StringIO()
    # Writing to a closed file raises an unexpected ValueError.
    closed.close()
    monkeypatch.setattr(sys, "stdout", closed)
    simulator = Simulator(ready_after=(1, 3))

    with pytest.raises(ExceptionGroup):
        await launch_matches(simulator, 5)

    assert simulator.stopped() == set(simulator.deployed())


class TestProgress:
    def test_without_a_terminal_progress_is_lines(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with progress_display(4, Console(file=StringIO())) as show:
            show.line("{}")
            show.update(Counts(4, deployed=3, ready=1, stopped=1))

        assert capsys.readouterr() == (
            "{}\n",
            "3 of 4 deployed, 1 ready, 0 failed, 1 stopped\n",
        )

    def test_on_a_terminal_progress_is_a_bar(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        terminal = StringIO()
        with progress_display(
            4, Console(file=terminal, force_terminal=True, width=120)
        ) as show:
            show.line("{}")
            show.update(Counts(4, deployed=3, ready=1))
            show.say("[bold] is no markup")

        assert capsys.readouterr().out == "{}\n"
        assert "1/4" in terminal.getvalue()
        assert "3 of 4 deployed, 1 ready, 0 failed" in terminal.getvalue()
        assert "[bold] is no markup\n" in terminal.getvalue()

    def test_the_bar_does_not_overwrite_output_on_its_terminal(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "stdout", Terminal())
        terminal = StringIO()
        with progress_display(
            4, Console(file=terminal, force_terminal=True, width=40)
        ) as show:
            server = {"match_id": "{}" * 30, "request_id": "c065", "seconds": 1.0}
            show.line(json.dumps(server))

        assert "{}" * 10 in terminal.getvalue()
        assert "{}" * 15 not in terminal.getvalue()


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_percentiles_are_observed_values() -> None:
    for waits, shown in (
        ([3.0, 1.0, 2.0, 4.0], "p50 2.0 s, p95 4.0 s, max 4.0 s"),
        ([7.0], "p50 7.0 s, p95 7.0 s, max 7.0 s"),
    ):
        result = LaunchResult(len(waits), waits=waits)
        lines = summary(result, {"deploy": RequestCounts(0, 0, 0)})
        assert f"time from deploy to ready: {shown}" in [*lines]
    assert [percentile([1, 2, 3, 4], share) for share in (0.0, 1.0)] == [1, 4]
