"""The summary of a launch. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, inf
from typing import Protocol

import msgspec

from .._limits.config import LimitUsage
from ..endpoints import LimitName
from ..errors import DeploymentFailed, EdgegapError, ReadyTimeout
from ..models.deployment import ReadyDeployment


class ServerCounts(Protocol):
    """The counts of a simulator."""

    def arrivals(self, limit: LimitName) -> int:
        """Requests under a limit, refused ones too."""
        ...

    def busiest_second(self, limit: LimitName) -> int:
        """The most of them in any second."""
        ...

    def refused(self, limit: LimitName) -> int:
        """How many of them were answered 429."""
        ...


@dataclass(frozen=True, slots=True)
class Failure:
    """A match without a server."""

    match_id: str
    reason: str


@dataclass(slots=True)
class Outcome:
    """The outcome of a launch so far. Times are in seconds.

    Attributes:
        existing: the servers that were started and not stopped since.
    """

    total: int
    deployed: int = 0
    # From the sending of each deploy until its server was READY.
    waits: list[float] = field(default_factory=list[float])
    failures: list[Failure] = field(default_factory=list[Failure])
    # request_id -> match_id
    existing: dict[str, str] = field(default_factory=dict[str, str])
    # the same
    stopped: dict[str, str] = field(default_factory=dict[str, str])
    # A server may have been started, or may still be running.
    unknown: list[Failure] = field(default_factory=list[Failure])
    first_sent: float = inf
    last_sent: float = 0.0
    seconds: float = 0.0

    @property
    def ready(self) -> int:
        """How many matches have their server."""
        return len(self.waits)

    @property
    def complete(self) -> bool:
        """Whether every match got its server."""
        return self.ready == self.total


def reason(error: EdgegapError) -> str:
    """Why a match has no server. The errors' own texts advise to stop what is left,
    which the launch does itself.
    """
    match error:
        case DeploymentFailed():
            return f"deployment {error.request_id} failed: {error.detail or 'no detail given'}"
        case ReadyTimeout():
            seen = error.status.current_status if error.status else "nothing"
            return (
                f"deployment {error.request_id} was not ready in time, last seen {seen}"
            )
        case _:
            return str(error)


def ready_line(match_id: str, server: ReadyDeployment, seconds: float) -> str:
    """The JSON line of a match whose server is ready."""
    line = {
        "match_id": match_id,
        "request_id": server.request_id,
        "fqdn": server.fqdn,
        "public_ip": server.public_ip,
        "ports": server.ports,
        "seconds": round(seconds, 3),
    }
    return msgspec.json.encode(line).decode()


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` of all values do not exceed."""
    return sorted(values)[max(0, ceil(share * len(values)) - 1)]


def summary(
    outcome: Outcome,
    usage: Mapping[LimitName, LimitUsage],
    simulator: ServerCounts | None = None,
) -> Iterator[str]:
    """The lines that end a launch."""
    yield (
        f"{outcome.ready} of {outcome.total} matches have their server, {len(outcome.failures)} failed, "
        f"in {outcome.seconds:.1f} s"
    )
    yield from (
        f"  failed: {failure.match_id}: {failure.reason}"
        for failure in outcome.failures
    )
    if outcome.last_sent:
        yield f"deploys: all sent within {outcome.last_sent - outcome.first_sent:.1f} s"
    if waits := outcome.waits:
        p50, p95 = percentile(waits, 0.5), percentile(waits, 0.95)
        yield f"time to ready, from the sending of the deploy: p50 {p50:.1f} s, p95 {p95:.1f} s, max {max(waits):.1f} s"
    yield from _table(
        "requests per limit",
        (
            (name, used.sent, used.busiest_second, used.refused)
            for name, used in usage.items()
        ),
    )
    if simulator is not None:
        yield from _table(
            "as the simulator counted",
            (
                (
                    name,
                    simulator.arrivals(name),
                    simulator.busiest_second(name),
                    simulator.refused(name),
                )
                for name in usage
            ),
        )


def _table(title: str, rows: Iterable[tuple[str, int, int, int]]) -> Iterator[str]:
    yield f"{title:<26}{'requests':>10}{'busiest second':>16}{'429':>6}"
    yield from (
        f"  {name:<24}{count:>10}{busiest:>16}{refused:>6}"
        for name, count, busiest, refused in rows
    )


def stopped_lines(outcome: Outcome, *, by_name: bool) -> Iterator[str]:
    """The lines that name the servers that were stopped or are running, and unknown
    outcomes.

    Args:
        by_name: name each server, with its match.
    """
    for word, servers in (("stopped", outcome.stopped), ("running", outcome.existing)):
        if servers:
            names = ", ".join(
                f"{request_id} ({match_id})" for request_id, match_id in servers.items()
            )
            yield f"{word}: {len(servers)} servers{f': {names}' if by_name else ''}"
    yield from (
        f"not known: {doubt.match_id}: {doubt.reason}" for doubt in outcome.unknown
    )
