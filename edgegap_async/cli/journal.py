"""`journal`: lists what the processes of an organization are responsible for."""

import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

import click

from .._shared.listing import Listing, OpenEntry, open_entries
from .._shared.store import StoreError
from .ages import age_text
from .common import output_options
from .output import Output, is_terminal
from .shared import organization, shared_options, shared_state
from .table import Column

COLORS = {"alive": "green", "dead": "red"}
COLUMNS: Sequence[Column[OpenEntry]] = (
    Column("STATE", lambda it: it.state),
    # The clock of the other machine may be ahead.
    Column("AGE", lambda it: age_text(max(0.0, time.time() - it.since)), right=True),
    Column("ID", lambda it: it.request_id or ""),
    Column("TAG", lambda it: it.tag or "", shrinks=True),
    Column("PROCESS", lambda it: f"{it.host}:{it.pid}", shrinks=True),
    Column("OWNER", lambda it: it.owner, color=lambda it: COLORS.get(it.owner)),
    Column("LEASE", lambda it: f"{it.lease_left:.0f}s", right=True),
)


@click.command(short_help="List what a journal has open, and whose it is.")
@output_options
@shared_options(required=True)
def journal(output: Output, url: str, key: str | None) -> None:
    """List the deploys, servers and tags that processes are responsible for.

    Each entry is a row, the oldest first; in a pipe, it is one JSON line. `owner` is
    alive, dead (nobody has taken it over so far), closed, or claimed by another process;
    `lease_left` has the seconds until it may be taken over. A summary goes to standard
    error. No entry is changed.

    \b
    Examples:
      edgegap journal --shared sqlite:////var/lib/matchmaker/edgegap.db
      edgegap journal --shared redis://10.0.0.5:6379/0 --key my-studio | jq .state

    Exit code: 0, success; 1, the store can't be read; 2, wrong arguments.
    """
    shared = shared_state(url, key)
    try:
        listing = open_entries(shared, organization(shared))
    except (StoreError, ValueError, ModuleNotFoundError) as error:
        raise click.ClickException(str(error)) from None
    if not is_terminal(sys.stdout):
        output = replace(output, json=True)
    if listing.entries:
        output.rows(COLUMNS, listing.entries, "")
    output.say(_summary(listing))


def _summary(listing: Listing) -> str:
    entries = listing.entries
    processes = {(it.host, it.pid): it.owner for it in entries}
    parts = [
        f"open: {len(entries)}{_counts(it.state for it in entries)}",
        f"processes: {len(processes)}{_counts(processes.values())}",
    ]
    if not listing.exists:
        parts.append(
            "no session has used this journal: check the token, the base URL and --key"
        )
    if listing.unreadable:
        parts.append(f"of a newer version: {listing.unreadable}")
    return "; ".join(parts)


def _counts(words: Iterable[str]) -> str:
    counts = [f"{count} {word}" for word, count in Counter(words).items()]
    return f" ({', '.join(counts)})" if counts else ""
