"""The options that all commands for operators have, as one value."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any

import click
from click.core import ParameterSource

from .._limits.config import Limits
from .._shared.config import SharedState
from ..session import BASE_URL_VARIABLE
from ..simulator.faults import Fault
from .options import SECONDS
from .output import Output
from .shared import optional_shared_state, shared_options

# Seconds for one call of the API.
TIMEOUT = 30.0
# Below the help of each command.
EXIT_CODES = (
    "Exit code: 0, done; 1, failed, or only in part; 2, wrong use, and nothing was done; "
    "130, interrupted. The token is read from EDGEGAP_API_TOKEN."
)


@dataclass(frozen=True, slots=True)
class Common:
    """How a command reaches the API, and what it prints.

    Attributes:
        output: what it prints.
        timeout: seconds for each call; of some commands, for everything. None: no end.
        base_url: of the API. None: as the environment says.
        proxy: the URL of a proxy. None: as the environment says.
        shared: what is shared with other processes.
        simulate: use an embedded simulator instead of the API.
        faults: of that simulator.
        limits: that the session keeps. None: the documented ones.
    """

    output: Output
    timeout: float | None = TIMEOUT
    base_url: str | None = None
    proxy: str | None = None
    shared: SharedState | None = None
    simulate: bool = False
    faults: Sequence[Fault] = ()
    limits: Limits | None = None


_RESULTS = (
    click.option("--json", is_flag=True, help="Print one JSON object per line."),
    click.option("-q", "--quiet", is_flag=True, help="Print no messages but errors."),
)
_VERBOSE = click.option(
    "-v", "--verbose", is_flag=True, help="Print a message for each request."
)
_NETWORK = (
    click.option(
        "--base-url",
        metavar="URL",
        help=f"URL of the API, or of a simulator; otherwise {BASE_URL_VARIABLE}.",
    ),
    click.option(
        "--proxy",
        metavar="URL",
        help="An HTTP proxy; otherwise that of HTTPS_PROXY and NO_PROXY. If it has a "
        "password, set HTTPS_PROXY instead: other users see the arguments of a program.",
    ),
)
_SIMULATE = click.option(
    "--simulate", is_flag=True, help="Use an embedded simulator; no token is needed."
)


def output_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command that sends nothing the options `--json` and `--quiet`. It gets them
    as an `Output`, its first argument.
    """

    @wraps(command)
    def collected(**given: Any) -> None:
        command(Output(given.pop("json"), given.pop("quiet")), **given)

    for each in reversed(_RESULTS):
        collected = each(collected)
    return collected


def common_options(
    *,
    timeout: float | None = TIMEOUT,
    timeout_of: str = "each call",
    shared: bool = False,
    simulate: bool = False,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return the options that all commands have. The command gets them as a `Common`, its
    first argument.

    Args:
        timeout: the default of `--timeout`, in seconds. None: no end.
        timeout_of: what it is for.
        shared: with `--shared` and `--key`.
        simulate: with `--simulate`.
    """
    option = click.option(
        "--timeout",
        type=SECONDS,
        default=timeout,
        show_default=timeout is not None,
        help=f"Seconds for {timeout_of}{'' if timeout else '; without it, no end'}.",
    )
    options = [*_RESULTS, _VERBOSE, option, *_NETWORK]
    if shared:
        options.append(shared_options(required=False))
    if simulate:
        options.append(_SIMULATE)

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def collected(**given: Any) -> None:
            command(_common(given), **given)

        for each in reversed(options):
            collected = each(collected)
        return collected

    return decorate


def _common(given: dict[str, Any]) -> Common:
    """Take the common options out of those that were given."""
    output = Output(*(given.pop(name) for name in ("json", "quiet", "verbose")))
    if output.quiet and output.verbose:
        raise click.UsageError("--quiet and --verbose contradict each other")
    url, key = given.pop("url", None), given.pop("key", None)
    shared = optional_shared_state(url, key)
    common = Common(
        output,
        timeout=given.pop("timeout"),
        base_url=given.pop("base_url"),
        proxy=given.pop("proxy"),
        simulate=given.pop("simulate", False),
        shared=shared,
    )
    if common.simulate and (common.base_url or common.proxy or _is_typed("url")):
        raise click.UsageError(
            "--simulate calls no API: leave out --base-url, --proxy and --shared"
        )
    return common


def _is_typed(parameter: str) -> bool:
    """Whether an option was given, and not in the environment."""
    source = click.get_current_context().get_parameter_source(parameter)
    return source is ParameterSource.COMMANDLINE
