"""Runs a command for operators: its session, its signals, its errors and its exit code."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import click

from .._run import SIGNAL_EXIT, run
from ..errors import EdgegapError
from ..session import EdgegapSession
from .advice import as_option, explained
from .common import Common
from .connect import connected, require_token
from .options import INTERRUPTED
from .streams import FAILED, write_failed
from .verbose import logged, show_usage

# What a command does with its session. It returns its exit code.
Operation: TypeAlias = Callable[[EdgegapSession], Awaitable[int]]


def operate(common: Common, operation: Operation) -> None:
    """Run an operation in a session, and exit with its code.

    If the reader of standard output goes away, as `head` does, that is a success.
    """
    code = attempt(common, operation)
    click.get_current_context().exit(code)


def attempt(common: Common, operation: Operation) -> int:
    """Run an operation in a session, and return its exit code. Errors are printed.

    Raises:
        click.UsageError: an option or the environment is wrong.
    """
    require_token(common)
    context, output = click.get_current_context(), common.output
    try:
        with logged(output):
            return run(_operated(common, operation), loop_factory=context.obj)
    except EdgegapError as error:
        output.problem(f"Error: {explained(error)}")
    except ValueError as error:
        raise click.UsageError(as_option(str(error))) from error
    except ModuleNotFoundError as error:
        raise click.UsageError(str(error)) from error
    except OSError as error:
        return write_failed(error)
    except (KeyboardInterrupt, asyncio.CancelledError):
        return INTERRUPTED
    except SystemExit as ended:
        # SIGTERM or SIGHUP.
        if not (isinstance(ended.code, int) and ended.code > SIGNAL_EXIT):
            raise
        return INTERRUPTED
    return FAILED


async def _operated(common: Common, operation: Operation) -> int:
    session: EdgegapSession | None = None
    try:
        async with connected(common) as session:
            return await operation(session)
    finally:
        # With what the session has sent while it was closed.
        if session:
            show_usage(common.output, session)
