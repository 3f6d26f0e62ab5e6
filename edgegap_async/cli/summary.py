"""The summary of a launch. This module does no I/O."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple, Protocol

import msgspec

from .._limits.config import LimitUsage
from ..endpoints import DEPLOY_LIMIT, LimitName
from ..errors import DeploymentFailed, EdgegapError, ReadyTimeout, state_seen
from ..load.figures import percentile
from ..load.words import counted, limit_sentence
from ..models.deployment import ReadyDeployment
from .addresses import address
from .clean_text import one_line
from .table import cut


class ServerCounts(Protocol):
    """The counts of a simulator."""

    def arrivals(self, limit: LimitName) -> int:
        """Return how many requests arrived under a limit, including refused ones."""
        ...

    def busiest_second(self, limit: LimitName) -> int:
        """Return the most of these requests in any second."""
        ...

    def refused(self, limit: LimitName) -> int:
        """Return how many of these requests got a 429."""
        ...


class RequestCounts(NamedTuple):
    """The requests of a launch under one limit.

    Attributes:
        sent: how many were sent.
        busiest_second: the most of them that were sent within any second.
        refused: how many of them got a 429.
    """

    sent: int
    busiest_second: int
    refused: int


def request_counts(
    usage: Mapping[LimitName, LimitUsage],
) -> dict[LimitName, RequestCounts]:
    """Return the counts of one session."""
    return {
        name: RequestCounts(used.sent, used.busiest_second, used.refused)
        for name, used in usage.items()
    }


class Counts(NamedTuple):
    """How many matches are how far."""

    total: int = 0
    deployed: int = 0
    ready: int = 0
    failed: int = 0
    stopped: int = 0

    def plus(self, other: "Counts") -> "Counts":
        """Return the sum."""
        return Counts(*(one + more for one, more in zip(self, other, strict=True)))


@dataclass(frozen=True, slots=True)
class Failure:
    """A match without a server."""

    match_id: str
    reason: str


@dataclass(slots=True)
class LaunchResult:
    """The result of a launch so far. Times are in seconds.

    Attributes:
        total: how many matches there are.
        deployed: how many deploys were accepted.
        waits: the time from each deploy until its server was READY.
        failures: the matches without a server.
        existing: the servers that were started and are not stopped: the match_id of
            each request_id.
        stopped: the stopped servers, in the same form.
        unknown: matches whose server may have been started, or may still run.
        first_sent, last_sent: when the first and the last deploy were sent, on the
            loop's clock.
        seconds: how long the launch took.
    """

    total: int
    deployed: int = 0
    waits: list[float] = field(default_factory=list[float])
    failures: list[Failure] = field(default_factory=list[Failure])
    existing: dict[str, str] = field(default_factory=dict[str, str])
    stopped: dict[str, str] = field(default_factory=dict[str, str])
    unknown: list[Failure] = field(default_factory=list[Failure])
    first_sent: float = inf
    last_sent: float = 0.0
    seconds: float = 0.0

    @property
    def ready(self) -> int:
        """The number of matches that have their server."""
        return len(self.waits)

    @property
    def complete(self) -> bool:
        """Whether every match has its server."""
        return self.ready == self.total

    @property
    def counts(self) -> Counts:
        """The numbers."""
        return Counts(
            self.total, self.deployed, self.ready, len(self.failures), len(self.stopped)
        )

    def add(self, other: "LaunchResult") -> None:
        """Add the result of another part of the launch. `seconds` stays as it is."""
        self.total += other.total
        self.deployed += other.deployed
        self.waits += other.waits
        self.failures += other.failures
        self.existing |= other.existing
        self.stopped |= other.stopped
        self.unknown += other.unknown
        self.first_sent = min(self.first_sent, other.first_sent)
        self.last_sent = max(self.last_sent, other.last_sent)


@dataclass(slots=True)
class LaunchEnd:
    """How a launch has ended.

    Attributes:
        result: what it has reached.
        requests: the requests under each limit.
        interrupted: it was ended early, and its servers are stopped.
        unauthorized: the error, if the API has refused the token.
    """

    result: LaunchResult
    requests: dict[LimitName, RequestCounts]
    interrupted: bool = False
    unauthorized: str | None = None


def reason(error: EdgegapError) -> str:
    """Return the reason why a match has no server.

    The texts of these errors advise to stop the server. The launch does that itself, so
    it uses other texts.
    """
    match error:
        case DeploymentFailed():
            return f"deployment {error.request_id} failed: {error.detail or 'no detail given'}"
        case ReadyTimeout():
            seen = state_seen(error.status) if error.status else "nothing"
            return (
                f"deployment {error.request_id} was not ready in time, last seen {seen}"
            )
        case _:
            return str(error)


def ready_line(match_id: str, server: ReadyDeployment, seconds: float) -> str:
    """Return the JSON line of a match whose server is ready."""
    line = {
        "match_id": match_id,
        "request_id": server.request_id,
        "fqdn": server.fqdn,
        "public_ip": server.public_ip,
        "ports": server.ports,
        "seconds": round(seconds, 3),
    }
    return msgspec.json.encode(line).decode()


class ReadyLine(ReadyDeployment, frozen=True, kw_only=True):
    """A JSON line."""

    match_id: str
    seconds: float


def read_ready_line(line: str) -> ReadyLine:
    """Return what a JSON line says."""
    return msgspec.json.decode(line, type=ReadyLine)


def ready_row(line: str, width: int) -> str:
    """Return the row of a server for a terminal: its time to READY, request_id, match and
    address.

    Args:
        line: its JSON line.
        width: cells of the terminal.
    """
    server = read_ready_line(line)
    match_id, host = one_line(server.match_id), one_line(address(server))
    row = f"{server.seconds:>7.1f} s  {server.request_id}  {match_id}  {host}"
    return cut(row, width, ":")


def summary(
    result: LaunchResult,
    requests: Mapping[LimitName, RequestCounts],
    simulator: ServerCounts | None = None,
    *,
    tables: bool = True,
) -> Iterator[str]:
    """Yield the lines of the summary.

    Args:
        tables: with the requests under each limit, for logs.
    """
    yield (
        f"{result.ready} of {result.total} matches have their server, {len(result.failures)} failed, "
        f"in {result.seconds:.1f} s"
    )
    yield from (
        f"  failed: {failure.match_id}: {failure.reason}" for failure in result.failures
    )
    if result.last_sent:
        yield f"deploys: all sent within {result.last_sent - result.first_sent:.1f} s"
    if waits := sorted(result.waits):
        p50, p95 = percentile(waits, 0.5), percentile(waits, 0.95)
        yield f"time from deploy to ready: p50 {p50:.1f} s, p95 {p95:.1f} s, max {waits[-1]:.1f} s"
    yield _limit_line(requests["deploy"], simulator)
    if not tables:
        return
    yield from _table(
        "requests per limit",
        (
            (name, it.sent, it.busiest_second, it.refused)
            for name, it in requests.items()
        ),
    )
    if simulator is not None:
        yield from _table(
            "counted by the simulator",
            (
                (
                    name,
                    simulator.arrivals(name),
                    simulator.busiest_second(name),
                    simulator.refused(name),
                )
                for name in requests
            ),
        )


def _limit_line(sent: RequestCounts, simulator: ServerCounts | None) -> str:
    """Say whether the limit of deploys was kept: as the server counted, if that is known."""
    allowed = DEPLOY_LIMIT.rate
    if simulator is None:
        return limit_sentence(allowed, sent.busiest_second, sent.refused)
    busiest, refused = simulator.busiest_second("deploy"), simulator.refused("deploy")
    return limit_sentence(allowed, busiest, refused)


def _table(title: str, rows: Iterable[tuple[str, int, int, int]]) -> Iterator[str]:
    yield f"{title:<26}{'requests':>10}{'busiest second':>16}{'429':>6}"
    yield from (
        f"  {name:<24}{count:>10}{busiest:>16}{refused:>6}"
        for name, count, busiest, refused in rows
    )


def stopped_lines(result: LaunchResult, *, by_name: bool) -> Iterator[str]:
    """Yield lines about stopped servers, running servers and unknown outcomes.

    Args:
        by_name: list each server with its match, not only their number.
    """
    for state, servers in (("stopped", result.stopped), ("running", result.existing)):
        if servers:
            names = ", ".join(
                f"{request_id} ({match_id})" for request_id, match_id in servers.items()
            )
            yield f"{state}: {counted(len(servers), 'server')}{f': {names}' if by_name else ''}"
    yield from (f"unknown: {each.match_id}: {each.reason}" for each in result.unknown)
