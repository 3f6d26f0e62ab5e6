"""`completion` prints scripts that shells can use."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.programs import PROCESS_TIMEOUT

from edgegap_async.cli.program import program

SCRIPTS = Path(sys.executable).parent


def completed(*words: str) -> list[str]:
    """What bash offers for the last word."""
    code = (
        'eval "$(edgegap completion bash)"; '
        'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
        '_edgegap_completion edgegap; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    ended = subprocess.run(  # noqa: S603 - our own program
        ["/bin/bash", "-c", code, "bash", *words],
        capture_output=True,
        text=True,
        check=True,
        timeout=PROCESS_TIMEOUT,
        env=os.environ | {"PATH": f"{SCRIPTS}:{os.environ['PATH']}"},
    )
    assert not ended.stderr
    return ended.stdout.split()


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.skipif(not Path("/bin/bash").exists(), reason="needs bash")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["edgegap", "st"], ["status", "stop"]),
        (["edgegap", "tag", ""], ["add", "ls", "rm"]),
        (["edgegap", "ps", "--st"], ["--state"]),
        (["edgegap", "ps", "--state", "RE"], ["ready"]),
        (["edgegap", "stop", "--d"], ["--dry-run"]),
    ],
)
def test_bash_completes_commands_options_and_values(
    words: list[str], offered: list[str]
) -> None:
    assert [it.lower() for it in completed(*words)] == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_script(shell: str) -> None:
    result = CliRunner().invoke(program, ["completion", shell])
    assert result.exit_code == 0
    assert f"_EDGEGAP_COMPLETE={shell}_complete" in result.stdout
    if found := shutil.which(shell):
        subprocess.run([found, "-n", "-c", result.stdout], check=True)  # noqa: S603


def test_another_shell_is_wrong_use() -> None:
    result = CliRunner().invoke(program, ["completion", "csh"])
    assert result.exit_code == 2
    assert "bash" in result.stderr
