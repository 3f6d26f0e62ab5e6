"""`journal`: lists what the processes of an organization are responsible for."""

from collections import Counter
from collections.abc import Iterable

import click
import msgspec

from .._shared.listing import Listing, open_entries
from .._shared.store import StoreError
from .lines import echo_json
from .shared import organization, shared_options, shared_state


@click.command(short_help="List what a journal has open, and whose it is.")
@shared_options(required=True)
def journal(url: str, key: str | None) -> None:
    """List the deploys, servers and tags that processes are responsible for.

    Each entry is printed as one JSON line on standard output, the oldest first. `owner`
    is alive, dead (nobody has taken it over so far), closed, or claimed by another
    process; `lease_left` has the seconds until it may be taken over. A summary goes to
    standard error. No entry is changed.

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
    for entry in listing.entries:
        echo_json(msgspec.json.encode(entry).decode())
    click.echo(_summary(listing), err=True)


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
