"""`docs/cli.md` and the help name every command and every option."""

import re
import shlex
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner
from support.paths import ROOT

from edgegap_async.cli.load import MISSED
from edgegap_async.cli.options import INTERRUPTED
from edgegap_async.cli.program import program

PAGE = (ROOT / "docs" / "cli.md").read_text()
# They have options of their own, which their help describes.
OF_THEIR_OWN = {"completion", "journal", "launch", "reap", "simulate"}


def commands(
    group: click.Group = program, before: str = "edgegap"
) -> Iterator[tuple[str, click.Command]]:
    """All commands by their full names."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{before} {name}")
        if not isinstance(command, click.Group) or command.invoke_without_command:
            yield f"{before} {name}", command


COMMANDS = dict(commands())


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_on_the_page_and_has_examples(name: str) -> None:
    assert f"`{name}" in PAGE
    shown = CliRunner().invoke(program, [*name.split()[1:], "--help"]).stdout
    examples = shown.partition("Examples:\n")[2].partition("\n\n")[0].splitlines()
    assert examples
    assert all(line.strip().startswith(("edgegap ", "EDGEGAP_")) for line in examples)
    assert any(name in line for line in examples)
    assert "Exit code" in shown


@pytest.mark.parametrize(
    "name", [it for it in COMMANDS if it.split()[1] not in OF_THEIR_OWN]
)
def test_each_option_is_on_the_page_and_has_help(name: str) -> None:
    for option in COMMANDS[name].params:
        if isinstance(option, click.Option) and option.name != "help":
            assert option.help, option.name
            assert re.search(rf"{option.opts[-1]}\b", PAGE), option.opts[-1]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_are_accepted(name: str) -> None:
    """Each of them is parsed. What stands for a value of its own is none."""
    shown = CliRunner().invoke(program, [*name.split()[1:], "--help"]).stdout
    for line in shown.partition("Examples:\n")[2].partition("\n\n")[0].splitlines():
        words = shlex.split(
            re.split(r" [|<>&;]| \$\(", line.partition("edgegap ")[2])[0]
        )
        command: click.Command = program
        while isinstance(command, click.Group) and words[0] in command.commands:
            command = command.commands[words.pop(0)]
        if "$(" not in line:
            command.make_context(name, words).close()


def test_the_exit_codes_are_on_the_page() -> None:
    codes = re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)
    assert codes == ["0", "1", "2", str(MISSED), str(INTERRUPTED)]


def test_linked_files_exist() -> None:
    for path in re.findall(r"\]\((?!https?:)([^)#]+)\)", PAGE):
        assert (ROOT / "docs" / path).exists(), path
