"""Helpers of the tests of the relay: two sessions behind one URL, as in two processes."""

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, NamedTuple

from redis import Redis

from edgegap_async import EdgegapSession, SharedState, WebhookReceiver
from edgegap_async._shared.relay_store import RelayStore, relay_store
from edgegap_async._shared.stores import make_store
from edgegap_async.events import Event
from edgegap_async.simulator import Fault, Simulator
from support.webhook_samples import SECRET
from support.webhook_session import NEVER_READY, NO_POLLS

KEY = "studio"
URL = "http://127.0.0.1:9/hooks"


class Relaying(NamedTuple):
    """Two sessions behind one URL.

    Attributes:
        waits: deploys, and waits.
        other: gets all webhooks.
        hooks, other_hooks: their receivers.
        events: what `waits` has reported.
    """

    waits: EdgegapSession
    other: EdgegapSession
    hooks: WebhookReceiver
    other_hooks: WebhookReceiver
    sim: Simulator
    events: list[Event]


@asynccontextmanager
async def relaying(
    store_url: str,
    *faults: Fault,
    secrets: tuple[Any, Any] = (SECRET, SECRET),
    options: dict[str, Any] | None = None,
    **session: Any,
) -> AsyncIterator[Relaying]:
    """Open two sessions on a simulator that answers no poll and sends no webhook.

    Args:
        faults: further faults.
        secrets: of the two receivers.
        options: arguments of the simulator.
        session: further arguments of the session that waits.
    """
    shared = SharedState(store_url, key=KEY)
    hooks, other_hooks = (WebhookReceiver(URL, secret=each) for each in secrets)
    events: list[Event] = []
    async with (
        Simulator(
            faults=[*NO_POLLS, *faults], **(NEVER_READY if options is None else options)
        ) as sim,
        EdgegapSession(
            "made-up",
            base_url=sim.url,
            shared=shared,
            webhooks=hooks,
            on_event=events.append,
            **session,
        ) as waits,
        EdgegapSession(
            "made-up", base_url=sim.url, shared=shared, webhooks=other_hooks
        ) as other,
    ):
        yield Relaying(waits, other, hooks, other_hooks, sim, events)


@contextmanager
def relay_at(url: str) -> Iterator[RelayStore]:
    """The relay, with a connection of its own."""
    store = make_store(SharedState(url), KEY)
    relay = relay_store(store, KEY)
    try:
        # From now on, on a channel.
        relay.read()
        yield relay
    finally:
        relay.close()
        store.close()


def published(url: str) -> int:
    """How many messages were published, in a server since `forget_published`."""
    if url.startswith("sqlite"):
        db = sqlite3.connect(url.removeprefix("sqlite:///"))
        try:
            found = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'relay'")
            return sum(seq for (seq,) in found)
        finally:
            db.close()
    with Redis.from_url(url, decode_responses=True) as client:
        stats: Any = client.info("commandstats")
        return int(stats.get("cmdstat_publish", {}).get("calls", 0))


def forget_published(url: str) -> None:
    """Begin to count at 0. A file is a new one."""
    if not url.startswith("sqlite"):
        with Redis.from_url(url) as client:
            client.config_resetstat()
