"""The program and its commands."""

import click

from .._version import __version__
from .journal import journal
from .launch import launch
from .reap import reap
from .simulate import simulate


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="edgegap_async")
def program() -> None:
    """Launch game servers on Edgegap, within the documented limits."""


program.add_command(journal)
program.add_command(launch)
program.add_command(reap)
program.add_command(simulate)
