"""`python -m edgegap_async` as a process, with real time and real signals."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest

from edgegap_async import EdgegapSession
from edgegap_async.simulator import Simulator

LINES = "".join(
    f'{{"match_id": "m{n}", "players": ["192.0.2.1"]}}\n' for n in range(20)
)
# In seconds, generous for a busy machine.
PROCESS_TIMEOUT = 30


@contextmanager
def program(*args: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("EDGEGAP_")
    } | variables
    command = [sys.executable, "-m", "edgegap_async", *args]
    pipe = subprocess.PIPE
    # A shell makes its background processes ignore SIGINT, and their children inherit
    # that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        started = subprocess.Popen(  # noqa: S603 - our own program
            command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment
        )
    finally:
        signal.signal(signal.SIGINT, before)
    with started as process:
        try:
            yield process
        finally:
            # This does nothing if the process has ended.
            process.kill()


@pytest.mark.slow
def test_simulate_prints_its_url_first_and_its_counts_last() -> None:
    options = (
        "--token",
        "made-up",
        "--ready-after",
        "0",
        "0",
        "--seed",
        "3",
        "--form",
        "official",
        "--neighbours",
        "20000",
    )
    with program("simulate", *options) as process:
        assert process.stdout
        url = process.stdout.readline().strip()
        connection = HTTPConnection(
            url.removeprefix("http://"), timeout=PROCESS_TIMEOUT
        )
        for authorization in ("token wrong", "token made-up"):
            connection.request(
                "GET", "/v1/locations", headers={"Authorization": authorization}
            )
            answer = connection.getresponse()
            assert answer.status == (401 if authorization == "token wrong" else 200)
            # Only the official form has it in this answer.
            assert (b'"total_count"' in answer.read()) == (answer.status == 200)
        connection.request(
            "GET", "/v1/deployments", headers={"Authorization": "token made-up"}
        )
        assert json.loads(connection.getresponse().read())["total_count"] == 20_000
        connection.request("GET", "/_simulator/counts")
        counts = json.loads(connection.getresponse().read())
        connection.close()
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=PROCESS_TIMEOUT)

    assert process.returncode == 0
    assert json.loads(output) == counts
    assert counts["limits"]["other"]["arrivals"] == 2
    assert counts["deployed"] == counts["running"] == 0
    assert not errors


@pytest.mark.full
@pytest.mark.slow
def test_a_simulator_behaves_like_what_the_doctor_has_found(tmp_path: Path) -> None:
    path = tmp_path / "doctor.json"
    names = {
        "largest_page": 25,
        "row_tags": False,
        "newest_first": False,
        "gone": "400",
    }
    findings = [{"name": it, "question": "", "found": names[it]} for it in names]
    head = {"format": "edgegap-doctor/1", "checked": "", "target": ""}
    path.write_text(json.dumps({**head, "findings": findings}))
    options = (
        "--like",
        str(path),
        "--neighbours",
        "60",
        "--fault",
        "locations.list:empty",
    )
    with program("simulate", *options) as process:
        assert process.stdout
        url = process.stdout.readline().strip()
        connection = HTTPConnection(
            url.removeprefix("http://"), timeout=PROCESS_TIMEOUT
        )

        def get(path: str) -> tuple[int, bytes]:
            connection.request("GET", path, headers={"Authorization": "token made-up"})
            answer = connection.getresponse()
            return answer.status, answer.read()

        rows = json.loads(get("/v1/deployments?limit=100")[1])["data"]
        assert len(rows) == 25
        assert all("tags" not in row for row in rows)
        times = [row["start_time"] for row in rows]
        assert times == sorted(times)
        assert get("/v1/status/c065a3f1b2e4")[0] == 400
        assert get("/v1/locations") == (200, b"")
        connection.close()


@pytest.mark.full
@pytest.mark.slow
def test_simulate_ends_on_sigterm() -> None:
    with program("simulate") as process:
        assert process.stdout
        process.stdout.readline()
        process.terminate()
        output, _ = process.communicate(timeout=PROCESS_TIMEOUT)

    assert process.returncode == 0
    assert json.loads(output)["deployed"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_ctrl_c_stops_the_launched_servers(loop: str) -> None:
    with program("launch", "-", "--simulate", "--loop", loop) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(LINES)
        process.stdin.close()
        # `communicate()` would flush a closed file.
        process.stdin = None
        ready = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PROCESS_TIMEOUT)

    assert process.returncode == 130
    assert "interrupted: waiting for" in errors
    stopped = next(line for line in errors.splitlines() if line.startswith("stopped: "))
    assert f"{ready['request_id']} ({ready['match_id']})" in stopped
    assert "running: " not in errors
    assert "Traceback" not in errors


@pytest.mark.slow
@pytest.mark.edgegap_simulator(ready_after=(0, 0))
def test_a_closed_pipe_prints_no_traceback(edgegap_simulator: Simulator) -> None:
    account = {
        "EDGEGAP_API_TOKEN": "made-up",
        "EDGEGAP_BASE_URL": edgegap_simulator.url,
    }
    with program(
        "launch", "-", "--application", "game", "--version", "1", **account
    ) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        process.stdin.write(LINES.splitlines()[0])
        process.stdin.close()
        errors = process.stderr.read()
        process.wait(timeout=PROCESS_TIMEOUT)

    assert process.returncode == 1
    assert "writing to standard output failed" in errors
    assert f"stopped: 1 server: {edgegap_simulator.deployed()[0]} (m0)" in errors
    assert "Traceback" not in errors
    assert "Exception" not in errors


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.edgegap_simulator(ready_after=(0, 0))
def test_reap_stops_every_server_although_its_reader_goes_away(
    edgegap_simulator: Simulator,
) -> None:
    account = {
        "EDGEGAP_API_TOKEN": "made-up",
        "EDGEGAP_BASE_URL": edgegap_simulator.url,
    }

    async def deploy() -> None:
        async with EdgegapSession("made-up", base_url=edgegap_simulator.url) as edgegap:
            for _ in range(30):
                await edgegap.deployments.deploy(
                    "game", "1", users=["192.0.2.1"], tags=["mine"]
                )

    asyncio.run(deploy())
    with program("reap", "--stop", "mine", **account) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        process.stdin.close()
        process.stdout.close()
        errors = process.stderr.read()
        process.wait(timeout=PROCESS_TIMEOUT)

    assert edgegap_simulator.stopped() == {*edgegap_simulator.deployed()}
    assert errors == "stopped: 30 deployments\n"
    assert process.returncode == 0


@pytest.mark.full
@pytest.mark.measured
@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize(
    "streams",
    [
        "> /dev/full",
        "2>&-",
        *(
            pytest.param(it, marks=pytest.mark.full)
            for it in (">&-", "2> /dev/full", "> /dev/full 2>&1")
        ),
    ],
)
@pytest.mark.edgegap_simulator(ready_after=(0, 0))
def test_reap_stops_and_reports_although_a_stream_fails(
    streams: str, edgegap_simulator: Simulator
) -> None:
    async def deploy() -> None:
        async with EdgegapSession("made-up", base_url=edgegap_simulator.url) as edgegap:
            for tag in ("mine", "é"):
                await edgegap.deployments.deploy(
                    "game", "1", users=["192.0.2.1"], tags=[tag]
                )

    asyncio.run(deploy())
    command = f'"{sys.executable}" -m edgegap_async reap --stop mine é {streams}'
    environment = os.environ | {
        "EDGEGAP_API_TOKEN": "made-up",
        "EDGEGAP_BASE_URL": edgegap_simulator.url,
        "PYTHONIOENCODING": "ascii",
    }
    done = subprocess.run(  # noqa: S602 - our own program
        command,
        shell=True,
        capture_output=True,
        text=True,
        env=environment,
        timeout=PROCESS_TIMEOUT,
        check=False,
    )

    assert edgegap_simulator.stopped() == {*edgegap_simulator.deployed()}
    assert done.returncode == 0
    assert done.stderr == ("" if "2>" in streams else "stopped: 2 deployments\n")
    assert len(done.stdout.splitlines()) == (2 if streams.startswith("2>") else 0)


@pytest.mark.full
@pytest.mark.slow
def test_ctrl_c_while_matches_are_read_exits_with_130() -> None:
    with program("launch", "-") as process:
        assert process.stderr
        # The process now waits for standard input, which stays empty.
        first = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PROCESS_TIMEOUT)

    assert "EDGEGAP_API_TOKEN is not set" in first
    assert process.returncode == 130
    assert not errors


@pytest.mark.full
@pytest.mark.slow
def test_simulate_warns_of_a_host_that_other_machines_reach() -> None:
    for options, warns in (
        (("--host", "0.0.0.0"), "without --token"),  # noqa: S104
        (("--host", "0.0.0.0", "--token", "t"), "other machines"),  # noqa: S104
        (("--host", "localhost", "--keep", "5"), ""),
    ):
        with program("simulate", *options) as process:
            assert process.stdout
            assert process.stdout.readline().startswith("http://")
            process.terminate()
            _, errors = process.communicate(timeout=PROCESS_TIMEOUT)
        assert process.returncode == 0
        assert warns in errors
        assert bool(errors) == bool(warns)
