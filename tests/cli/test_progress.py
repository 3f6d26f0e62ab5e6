"""What a launch shows above its bar does not control the terminal."""

import io
import json

import pytest
from rich.console import Console

from edgegap_async.cli.progress import progress_display


def test_messages_and_lines_above_the_bar_have_no_escape_codes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=80)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    line = json.dumps({"fqdn": "\x9b31m\u202ex"}, ensure_ascii=False)
    with progress_display(1, console) as display:
        display.say("failed: \x1b]0;owned\x07\x1b[2Jx")
        display.line(line)
    assert "failed: x\n" in shown.getvalue()
    assert "owned" not in shown.getvalue()
    assert "\x1b[2Jx" not in shown.getvalue()
    (printed,) = (it for it in shown.getvalue().splitlines() if "fqdn" in it)
    assert json.loads(printed[printed.index("{") :]) == json.loads(line)
    assert not {*"\x9b\u202e"} & {*printed}
