"""The console script `edgegap` is the same program as `python -m edgegap_async`."""

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from support.programs import PROCESS_TIMEOUT

from edgegap_async import __main__

SCRIPT = Path(sys.executable).parent / "edgegap"


def ran(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own program
        command, capture_output=True, text=True, timeout=PROCESS_TIMEOUT, check=False
    )


def test_the_console_script_is_the_main_function() -> None:
    (script,) = entry_points(group="console_scripts", name="edgegap")
    assert script.load() is __main__.main


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "name"),
    [
        ([str(SCRIPT)], "edgegap"),
        ([sys.executable, "-m", "edgegap_async"], "python -m edgegap_async"),
    ],
)
def test_messages_name_the_program_as_it_was_started(
    command: list[str], name: str
) -> None:
    ended = ran(*command, "status")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert (
        ended.stderr == f"Error: Missing argument 'ID'. (see `{name} status --help`)\n"
    )
    help_text = ran(*command, "--help").stdout
    assert help_text.startswith(f"Usage: {name} [OPTIONS] COMMAND")
    bare = ran(*command)
    assert (bare.returncode, bare.stderr) == (2, help_text)


@pytest.mark.slow
def test_without_the_extra_one_line_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['click'] = None; "
        "from edgegap_async.__main__ import main; main()"
    )
    ended = ran(sys.executable, "-c", code)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.endswith('pip install "edgegap-async[cli]"')


@pytest.mark.slow
def test_ctrl_c_before_a_command_has_begun_is_one_line() -> None:
    code = """
import signal
import sys

class Interrupting:
    def find_spec(self, name, path, target=None):
        if name == "edgegap_async.cli.program":
            signal.raise_signal(signal.SIGINT)

# A shell lets commands in its background ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Interrupting())
from edgegap_async.__main__ import main
main()
"""
    ended = ran(sys.executable, "-c", code)
    assert (ended.returncode, ended.stderr) == (130, "interrupted\n")
