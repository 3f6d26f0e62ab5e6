"""The figures of deploy_storm.py: what a run records, and what is counted from it."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from storm_columns import Column

from edgegap_async import DeployOutcomeUnknown, EdgegapError
from edgegap_async.endpoints import LIMITS
from edgegap_async.events import Event
from edgegap_async.simulator import Simulator


class GaveUp(Exception):
    """The caller waited no longer."""


@dataclass
class Record:
    """What happened in a run.

    Args:
        errors: What callers without a server were told.
        handed_out: Each caller and the server that it got, in the order of time.
        kept: The servers that callers still have at the end.
        stopped_in_use: The servers that were stopped while a caller had them.
        hung: The calls that did not end, closing included.
        most_untaken: The most servers that were started and not handed out, while the
            consumer stood still.
        answered: The servers that were in the answer to a deploy.
        lists: When each list was sent.
    """

    callers: int
    errors: list[BaseException] = field(default_factory=list)
    handed_out: list[tuple[int, str]] = field(default_factory=list)
    kept: set[str] = field(default_factory=set)
    stopped_in_use: set[str] = field(default_factory=set)
    hung: int = 0
    most_untaken: int = 0
    leftovers: tuple[tuple[str | None, str | None], ...] = ()
    watched_tags: tuple[str, ...] = ()
    intents: list[str] = field(default_factory=list)
    answered: set[str] = field(default_factory=set)
    lists: list[float] = field(default_factory=list)
    began: float = 0.0
    # When the last caller had its outcome.
    served: float = 0.0
    seconds_to_close: float = 0.0

    def on_event(self, event: Event) -> None:
        """Record the attempts at lists, and the servers that deploys were answered."""
        if event.kind == "attempt" and event.limit == "list":
            self.lists.append(asyncio.get_running_loop().time() - event.round_trip)
        if (
            event.kind == "attempt"
            and event.limit == "deploy"
            and event.request_id
            and event.error is None
        ):
            self.answered.add(event.request_id)

    def hand_out(self, caller: int, request_id: str) -> None:
        """Record that a caller has got a server."""
        self.handed_out.append((caller, request_id))
        self.kept.add(request_id)

    def release(self, request_id: str, sim: Simulator) -> None:
        """Record that a caller needs its server no longer."""
        if request_id in sim.stopped():
            self.stopped_in_use.add(request_id)
        self.kept.discard(request_id)

    def told(self, *kinds: type[BaseException]) -> int:
        """Return how many callers were told an error of one of these kinds."""
        return sum(isinstance(each, kinds) for each in self.errors)


def figures(column: Column, sim: Simulator, record: Record) -> dict[str, float]:
    """Return all figures of a run."""
    started, handed_out = sim.deployed(), record.handed_out
    loose = set(started) - sim.stopped() - record.kept
    named = {each for each in loose if _is_named(each, sim, record)}
    served = {caller for caller, _ in handed_out}
    cancelled = record.told(asyncio.CancelledError)
    typed = record.told(EdgegapError, asyncio.CancelledError, GaveUp)
    per_caller = Counter(sim.tags_of(each)[0] for each in started)
    seconds = record.served - record.began
    looks = sum(at < record.served for at in record.lists)
    # A session that was closed after its quarantine must have stopped all.
    forgotten = loose if column.closed == "after" else loose - named
    return {
        "handed out twice": sum(_twice(sim, handed_out, loose - named)),
        "forgotten": len(forgotten),
        "stopped in use": len(record.stopped_in_use | (sim.stopped() & record.kept)),
        "untyped errors": len(record.errors) - typed,
        "hung calls": record.hung,
        **{f"busiest second: {it.name}": sim.busiest_second(it.name) for it in LIMITS},
        "served, %": 100 * len(served) / max(1, record.callers - cancelled),
        "DeployOutcomeUnknown, %": 100
        * record.told(DeployOutcomeUnknown)
        / record.callers,
        "started / handed out": len(started) / max(1, len(handed_out)),
        "second servers of a caller": len(started) - len(per_caller),
        "most started, not handed out": record.most_untaken,
        # Their number in an interval is one more than that of the times between them.
        "list calls a second": max(looks - 1, 0) / seconds,
        "cancelled": cancelled,
        "gave up": record.told(GaveUp),
        "adopted": len({each for _, each in handed_out} - record.answered)
        if record.intents
        else 0,
        "deployed again": max(0, len(record.intents) - record.callers),
        "in leftovers": len(record.leftovers),
        "leftovers that run": len(named),
        "stopped": len(sim.stopped()),
        "seconds until all were served": seconds,
        "seconds to close": record.seconds_to_close,
    }


def lost(found: Mapping[str, float]) -> float:
    """Return how many servers were handed out twice or forgotten."""
    return found["handed out twice"] + found["forgotten"]


def _is_named(request_id: str, sim: Simulator, record: Record) -> bool:
    """Whether the session names a server, by its ID or its tag."""
    names = {name for pair in record.leftovers for name in pair if name}
    names.update(record.watched_tags)
    return request_id in names or not names.isdisjoint(sim.tags_of(request_id))


def _twice(
    sim: Simulator, handed_out: list[tuple[int, str]], loose: set[str]
) -> Iterator[int]:
    """Yield how many callers too many have one server, and 1 for each caller that was
    handed out a server while another one runs for it.
    """
    owners = Counter(request_id for _, request_id in handed_out)
    yield from (count - 1 for count in owners.values())
    own = {f"caller-{caller}": request_id for caller, request_id in handed_out}
    others = {
        caller
        for each in loose
        if own.get(caller := sim.tags_of(each)[0], each) != each
    }
    yield len(others)
