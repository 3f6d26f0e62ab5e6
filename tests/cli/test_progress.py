"""What a launch shows above its bar does not control the terminal."""

import io
import json
import re

import pytest
from rich.cells import cell_len
from rich.console import Console

from edgegap_async.cli.live import live_display
from edgegap_async.cli.output import Output
from edgegap_async.cli.progress import progress_display


def test_messages_and_lines_above_the_bar_have_no_escape_codes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=80)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    server = {"request_id": "c065", "fqdn": "\x9b31m\u202ex"}
    line = json.dumps(server | {"match_id": "m", "seconds": 1.0}, ensure_ascii=False)
    with progress_display(1, console) as display:
        display.say("failed: \x1b]0;owned\x07\x1b[2Jx")
        display.line(line)
    assert "failed: x\n" in shown.getvalue()
    assert "owned" not in shown.getvalue()
    assert "\x1b[2Jx" not in shown.getvalue()
    (printed,) = (it for it in shown.getvalue().splitlines() if "c065" in it)
    assert not {*"\x9b\u202e"} & {*printed}


def test_a_row_of_a_server_fits_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=60)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    server = {
        "match_id": "\u65e5\u672c" * 20,
        "request_id": "c065a3f1b2e4",
        "fqdn": "c065a3f1b2e4.pr.edgegap.net",
        "ports": {"game": {"external": 31000}},
        "seconds": 3.25,
    }
    with progress_display(1, console) as display:
        display.line(json.dumps(server))
        display.line(json.dumps(server | {"match_id": "m1"}))
    rows = [it for it in shown.getvalue().splitlines() if "c065a3f1b2e4" in it]
    rows = [re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", it) for it in rows]
    assert "3.2 s  c065a3f1b2e4  m1  c065a3f1b2e4.pr.edgegap.\u2026:31000" in rows[1]
    assert all(cell_len(it.rpartition("\r")[2]) <= 60 for it in rows)


def test_a_message_is_printed_above_what_is_drawn_again() -> None:
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=80, highlight=False)
    with live_display(console) as live:
        live.update("time 1 s\nrate 40/s", refresh=True)
        Output().problem("interrupted: \x1b[2Jx" + "y" * 90)
        live.update("time 2 s\nrate 40/s", refresh=True)
    text = shown.getvalue()
    # The message follows the codes that remove the display, and is a line of its own.
    before, _, after = text.partition("interrupted: x" + "y" * 90 + "\n")
    assert after
    assert before.endswith("\x1b[2K")
    assert "time 1 s" in after


def test_after_the_display_a_message_goes_to_standard_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    with live_display(console):
        pass
    Output().say("done")
    assert capsys.readouterr().err == "done\n"
