"""Commands in a pseudo-terminal, in pipes, and into `head`."""

import json
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len
from support.journals import leave_dead
from support.programs import deployed_by, shell, until
from support.terminals import in_terminal

from edgegap_async._shared.entries import Entry
from edgegap_async.simulator import Fault, Simulator

pytestmark = [
    pytest.mark.slow,
    pytest.mark.edgegap_simulator(ready_after=(0.0, 0.0), stop_takes=0.0, neighbours=9),
]
PROGRAM = f"{sys.executable} -m edgegap_async"
TAGS = ["日本語のタグ", "a-rather-long-tag-of-forty-characters-x1"]


@pytest.mark.parametrize("columns", [80, pytest.param(200, marks=pytest.mark.full)])
def test_a_table_fits_the_terminal(columns: int, edgegap_simulator: Simulator) -> None:
    deployed_by(edgegap_simulator, tags=TAGS)
    with in_terminal(
        edgegap_simulator, "ps", columns=columns, NO_COLOR="1"
    ) as terminal:
        assert terminal.ended() == 0
    lines = terminal.lines()
    assert len(lines) == 11
    assert "\x1b" not in terminal.shown
    assert all(cell_len(line) <= columns for line in lines)
    assert (TAGS[1] in lines[1]) is (columns == 200)
    assert ("…" in lines[1]) is (columns == 80)


@pytest.mark.full
def test_reap_and_journal_show_tables_on_a_terminal(
    edgegap_simulator: Simulator, tmp_path: Path
) -> None:
    (request_id,) = deployed_by(edgegap_simulator, tags=["ranked"])
    with in_terminal(edgegap_simulator, "reap", "ranked") as terminal:
        assert terminal.ended() == 0
    # A line about the progress is removed before.
    titles, row, summary = terminal.shown.rpartition("\r\x1b[K")[2].splitlines()
    assert titles.split() == ["ID", "AGE", "ADDRESS", "TAGS"]
    assert row.startswith(request_id)
    assert "ranked" in row
    assert summary.startswith("found: 1 deployment")

    url = f"sqlite:///{tmp_path}/journal.db"
    leave_dead(url, Entry("quarantine", 10.0, "once-b"))
    command = ("journal", "--shared", url, "--key", "studio")
    with in_terminal(edgegap_simulator, *command) as terminal:
        assert terminal.ended() == 0
    titles, row, summary = terminal.lines()
    assert titles.split()[:4] == ["STATE", "AGE", "ID", "TAG"]
    assert row.split()[0] == "quarantine"
    assert "once-b" in row
    assert "closed" in row
    assert summary.startswith("open: 1 (1 quarantine)")


@pytest.mark.full
@pytest.mark.parametrize(
    ("variables", "colored"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_no_color_and_dumb_terminals_are_obeyed(
    variables: dict[str, str], colored: bool, edgegap_simulator: Simulator
) -> None:
    with in_terminal(edgegap_simulator, "ps", **variables) as terminal:
        assert terminal.ended() == 0
    assert ("\x1b[32mREADY" in terminal.shown) is colored


@pytest.mark.full
def test_json_on_a_terminal_is_json(edgegap_simulator: Simulator) -> None:
    with in_terminal(edgegap_simulator, "ps", "--json") as terminal:
        assert terminal.ended() == 0
    assert len([json.loads(line) for line in terminal.lines()]) == 9


@pytest.mark.full
@pytest.mark.edgegap_simulator(neighbours=250)
def test_reading_pages_shows_progress_that_disappears(
    edgegap_simulator: Simulator,
) -> None:
    with in_terminal(edgegap_simulator, "ps") as terminal:
        assert terminal.ended() == 0
    assert "\r\x1b[K100 deployments so far\r\x1b[K200 deployments so far\r\x1b[KID" in (
        terminal.shown
    )


def test_watch_shows_changes_until_ctrl_c(edgegap_simulator: Simulator) -> None:
    with in_terminal(edgegap_simulator, "ps", "--watch", rows=8) as terminal:
        terminal.until("9 deployments")
        terminal.until("and 4 more")
        (request_id,) = deployed_by(edgegap_simulator, tags=TAGS)
        terminal.until("10 deployments")
        terminal.until(request_id)
        assert terminal.interrupted() == 130
    assert "Traceback" not in terminal.shown


@pytest.mark.full
def test_watch_goes_on_after_an_error(edgegap_simulator: Simulator) -> None:
    with in_terminal(edgegap_simulator, "ps", "--watch", "--timeout", "1") as terminal:
        terminal.until("9 deployments")
        edgegap_simulator.faults = [Fault("list", "500-before")]
        terminal.until("Error: ")
        edgegap_simulator.faults = [Fault("list", "cut-before")]
        terminal.until("no answer from ")
        edgegap_simulator.faults = []
        terminal.shown = ""
        terminal.until("9 deployments")
        # Nothing would make this pass.
        edgegap_simulator.faults = [Fault("list", "403-before")]
        assert terminal.ended() == 1


@pytest.mark.full
def test_in_a_pipe_a_table_is_plain_and_not_cut(edgegap_simulator: Simulator) -> None:
    deployed_by(edgegap_simulator, tags=TAGS)
    ended = shell(f"{PROGRAM} ps | cat", edgegap_simulator)
    assert ended.returncode == 0
    assert ",".join(TAGS) in ended.stdout.splitlines()[1]
    assert "\x1b" not in ended.stdout
    assert not ended.stderr


@pytest.mark.full
@pytest.mark.edgegap_simulator(neighbours=900)
@pytest.mark.parametrize("options", ["", "--json", "--quiet"])
def test_a_reader_that_goes_away_has_what_it_wanted(
    options: str, edgegap_simulator: Simulator
) -> None:
    ended = shell(f"{PROGRAM} ps {options} | head -1", edgegap_simulator)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert len(ended.stdout.splitlines()) == 1


@pytest.mark.full
@pytest.mark.parametrize(
    "command",
    [
        "ps",
        "limits",
        *(
            pytest.param(it, marks=pytest.mark.full)
            for it in (
                "limits --json",
                "completion bash",
                "simulate --faults",
                "--help",
            )
        ),
    ],
)
def test_a_full_disk_is_an_error(command: str, edgegap_simulator: Simulator) -> None:
    ended = shell(f"{PROGRAM} {command} > /dev/full", edgegap_simulator)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith("Error: writing failed")


@pytest.mark.full
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&-"])
def test_closed_streams_are_no_traceback(
    closed: str, edgegap_simulator: Simulator
) -> None:
    ended = shell(f"{PROGRAM} ps {closed}", edgegap_simulator)
    assert ended.returncode in (0, 1)
    assert "Traceback" not in ended.stderr


@pytest.mark.full
def test_an_encoding_without_the_characters_replaces_them(
    edgegap_simulator: Simulator,
) -> None:
    deployed_by(edgegap_simulator, tags=TAGS)
    ended = shell(f"PYTHONIOENCODING=latin-1 {PROGRAM} ps | cat", edgegap_simulator)
    assert ended.returncode == 0
    assert f"??????,{TAGS[1]}" in ended.stdout.splitlines()[1]


@pytest.mark.edgegap_simulator(delay_after=(60.0, 60.0))
def test_ctrl_c_ends_a_command_that_waits(edgegap_simulator: Simulator) -> None:
    with in_terminal(
        edgegap_simulator, "status", "c065", "--timeout", "300"
    ) as terminal:
        until(lambda: edgegap_simulator.arrivals("status"))
        assert terminal.interrupted() == 130
    assert "Traceback" not in terminal.shown


@pytest.mark.parametrize(
    ("keys", "code", "stopped"),
    [
        ("y\n", 0, True),
        pytest.param("n\n", 1, False, marks=pytest.mark.full),
        pytest.param("\n", 1, False, marks=pytest.mark.full),
        pytest.param("", 130, False, marks=pytest.mark.full),
    ],
)
@pytest.mark.edgegap_simulator(neighbours=0)
def test_stop_shows_what_it_would_stop_and_asks(
    keys: str, code: int, stopped: bool, edgegap_simulator: Simulator
) -> None:
    ids = deployed_by(edgegap_simulator, 22, tags=TAGS)
    with in_terminal(edgegap_simulator, "stop", "--tag", TAGS[1]) as terminal:
        terminal.until("Stop 22 deployments? [y/N]: ")
        assert not edgegap_simulator.stopped()
        terminal.type(keys)
        assert (terminal.ended() if keys else terminal.interrupted()) == code
    assert "and 2 more" in terminal.shown
    assert "APPLICATION" not in terminal.shown
    if code == 130:
        assert terminal.lines()[-1] == "interrupted"
    assert all(cell_len(line) <= 80 for line in terminal.lines())
    assert edgegap_simulator.stopped() == ({*ids} if stopped else set())
    assert "Traceback" not in terminal.shown


@pytest.mark.full
def test_stop_with_yes_does_not_ask(edgegap_simulator: Simulator) -> None:
    (request_id,) = deployed_by(edgegap_simulator)
    with in_terminal(edgegap_simulator, "stop", request_id, "--yes") as terminal:
        assert terminal.ended() == 0
    assert terminal.lines() == [request_id, "stopped: 1 deployment"]


@pytest.mark.full
def test_a_reader_that_goes_away_does_not_keep_others_from_being_stopped(
    edgegap_simulator: Simulator,
) -> None:
    ids = deployed_by(edgegap_simulator, 60, tags=TAGS)
    ended = shell(f"{PROGRAM} stop --tag {TAGS[1]} --yes | head -1", edgegap_simulator)
    assert ended.returncode == 0
    assert ended.stderr == "stopped: 60 deployments\n"
    assert edgegap_simulator.stopped() == {*ids}


GAME = "deploy --application game --version 1 --user 192.0.2.1"


@pytest.mark.full
@pytest.mark.parametrize("columns", [80, 200])
def test_charts_and_lists_fit_the_terminal(
    columns: int, edgegap_simulator: Simulator
) -> None:
    request_id = shell(f"{PROGRAM} ps -q", edgegap_simulator).stdout.split()[-1]
    commands = (["metrics", request_id], ["locations"], ["fleet", "hosts", "f"])
    for args in (*commands, ["limits"]):
        with in_terminal(edgegap_simulator, *args, columns=columns) as terminal:
            assert terminal.ended() == 0
        # The last one is a message, in one line.
        lines = terminal.lines()[:-1]
        assert all(cell_len(line) <= columns for line in lines), args
        assert len(lines) > 2


@pytest.mark.full
@pytest.mark.parametrize(("closed", "code"), [(">&-", 2), ("> /dev/full", 1)])
def test_a_deploy_whose_id_can_not_be_printed_leaves_no_server(
    closed: str, code: int, edgegap_simulator: Simulator
) -> None:
    ended = shell(f"{PROGRAM} {GAME} {closed}", edgegap_simulator)
    assert ended.returncode == code
    deployed = {*edgegap_simulator.deployed()}
    assert len(deployed) == code % 2
    assert edgegap_simulator.stopped() == deployed
    assert all(f"stopped: {each}, as " in ended.stderr for each in deployed)
    assert "Traceback" not in ended.stderr


@pytest.mark.full
def test_commands_share_the_limits_with_other_processes(
    edgegap_simulator: Simulator, tmp_path: Path
) -> None:
    shared = f"sqlite:///{tmp_path / 'edgegap.db'}"
    line = f"{PROGRAM} wait --shared {shared} $({PROGRAM} {GAME} --shared {shared})"
    ended = shell(f"{line} --verbose", edgegap_simulator)
    assert ended.returncode == 0, ended.stderr
    assert len(ended.stdout.splitlines()) == 1
    used = shell(f"{PROGRAM} limits --shared {shared}", edgegap_simulator)
    # Both have ended, and given everything back.
    assert (used.returncode, used.stdout) == (0, "")
    stopped = shell(
        f"{PROGRAM} stop --yes --shared {shared} {ended.stdout.split()[0]}",
        edgegap_simulator,
    )
    assert stopped.returncode == 0, stopped.stderr
    assert edgegap_simulator.stopped() == {*edgegap_simulator.deployed()}


@pytest.mark.full
@pytest.mark.parametrize(
    ("keys", "sends"),
    # It takes ten seconds in which the limit is exceeded.
    [("n\n", False), pytest.param("y\n", True, marks=pytest.mark.full)],
)
def test_doctor_asks_before_it_exceeds_the_limit(
    keys: str, sends: bool, edgegap_simulator: Simulator
) -> None:
    with in_terminal(edgegap_simulator, "doctor", "--limits") as terminal:
        terminal.until("[y/N]")
        assert edgegap_simulator.arrivals("list") == 0
        terminal.type(keys)
        assert terminal.ended() == (0 if sends else 1)
    assert ("nothing was sent" in terminal.shown) is not sends
    refused = edgegap_simulator.counts()["limits"]["list"]["refused"]
    assert (refused > 0) is sends
