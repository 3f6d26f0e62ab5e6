"""The group of all commands: each error is one line that says what to do."""

import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import click

from .clean_text import one_line
from .options import INTERRUPTED
from .streams import tell, write_failed


class OneLineErrors(click.Group):
    """A group whose errors are one line each, without the usage."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command, and exit with its code."""
        run = partial(
            super().main, args, prog_name, complete_var, standalone_mode=False, **extra
        )
        if not standalone_mode:
            return run()
        try:
            code: object = run()
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            code = error.exit_code
        except click.Abort:
            tell("interrupted")
            code = INTERRUPTED
        except click.ClickException as error:
            tell(f"Error: {one_line(error.format_message())}{_where_to_look(error)}")
            code = error.exit_code
        except OSError as error:
            if error.filename is not None:
                raise
            code = write_failed(error)
        sys.exit(code if isinstance(code, int) else 0)


def _where_to_look(error: click.ClickException) -> str:
    if isinstance(error, click.UsageError) and error.ctx:
        return f" (see `{error.ctx.command_path} --help`)"
    return ""
