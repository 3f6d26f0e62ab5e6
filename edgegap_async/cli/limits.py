"""`limits`: the limits of the API, and how all processes use them."""

from collections.abc import Sequence

import click

from .._shared.config import SharedState
from .._shared.limit_listing import SharedLimit, shared_limits
from .._shared.store import StoreError
from ..endpoints import LIMITS, OPERATIONS, OTHER_LIMIT, Limit
from .common import output_options
from .output import Output
from .shared import optional_shared_state, organization, shared_options
from .table import Column

LIMIT_COLUMNS: Sequence[Column[Limit]] = (
    Column("LIMIT", lambda it: it.name),
    Column("PER SECOND", lambda it: _rate(it.rate), right=True),
    Column("CALLS", lambda it: ", ".join(_calls(it)), shrinks=True, wraps=True),
)
USE_COLUMNS: Sequence[Column[SharedLimit]] = (
    Column("LIMIT", lambda it: it.limit),
    Column(
        "PER SECOND",
        lambda it: f"{_rate(it.rate)}{' (adapted)' if it.adapted else ''}",
        right=True,
    ),
    Column("SENT", lambda it: str(it.admitted + it.refused), right=True),
    Column("REFUSED", lambda it: str(it.refused), right=True),
    Column("WAITING", lambda it: f"{it.waiting:g}s" if it.waiting else "", right=True),
    Column("PROCESSES", lambda it: str(it.processes), right=True),
)


@click.command(short_help="Show the limits and their use.")
@output_options
@shared_options(required=False)
def limits(output: Output, url: str | None, key: str | None) -> None:
    """Show the documented limits, and which calls count for them. --verbose of other
    commands shows how they use them.

    With --shared, show how all processes that share the limits use them: the rate that is
    allowed at the moment, the requests and refusals in a second, and for how long calls
    have been waiting. Nothing is sent, and no process is disturbed.

    \b
    Examples:
      edgegap limits
      edgegap limits --shared redis://10.0.0.5:6379/0

    Exit code: 0, done; 1, the store can't be read; 2, wrong use.
    """
    shared = optional_shared_state(url, key)
    if shared is not None:
        output.rows(USE_COLUMNS, _used(shared), "no process uses the limits")
    elif output.json:
        for limit in LIMITS:
            output.record(
                {"limit": limit.name, "rate": limit.rate, "calls": _calls(limit)}
            )
    else:
        output.rows(LIMIT_COLUMNS, LIMITS, "")
        output.say(
            f"no limit is documented for {OTHER_LIMIT.name}: it is this SDK's own"
        )


def _used(shared: SharedState) -> Sequence[SharedLimit]:
    try:
        return shared_limits(shared, organization(shared))
    except (StoreError, ValueError, ModuleNotFoundError) as error:
        raise click.ClickException(str(error)) from None


def _rate(rate: float | None) -> str:
    return "" if rate is None else f"{rate:g}"


def _calls(limit: Limit) -> list[str]:
    return list(dict.fromkeys(it.call for it in OPERATIONS if it.limit is limit))
