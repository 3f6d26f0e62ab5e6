"""`completion`: prints the script with which a shell completes commands and options."""

import click
from click.shell_completion import get_completion_class

NAME = "edgegap"
# The shell calls the program with this variable, and click answers.
VARIABLE = "_EDGEGAP_COMPLETE"


@click.command(short_help="Print a script for completion in a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a script with which a shell completes commands, options and their values. Add
    a line to the file that your shell reads when it starts:

    \b
      ~/.bashrc                   eval "$(edgegap completion bash)"
      ~/.zshrc                    eval "$(edgegap completion zsh)"
      ~/.config/fish/config.fish  edgegap completion fish | source

    \b
    Examples:
      edgegap completion bash

    Exit code: 0, done; 2, wrong use.
    """
    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"this version of click has no completion for {shell}")
    click.echo(found(context.find_root().command, {}, NAME, VARIABLE).source())
