"""The plan of a load test, and when its requests are due. This module does no I/O."""

from collections.abc import Iterator
from itertools import count
from math import ceil, inf, sqrt
from typing import NamedTuple

from msgspec.structs import force_setattr

from ..models._check import (
    fail,
    flag,
    instance,
    number,
    optional_instance,
    optional_seconds,
    seconds,
    whole_number,
)
from ..models._plain import PlainData
from ..models.deploy import DeployRequest

# Requests per second. No organization may send so many.
MOST_RATE = 10_000.0
# More deploys than a test needs; a wrong unit of `hold` would start as many servers.
MOST_DEPLOYS = 1_000_000
# Seconds for each server, from the sending of its deploy until it is READY.
READY_TIMEOUT = 300.0
# Requests by which sums of rates may be off.
ROUNDING = 1e-6


class Ramp(PlainData, frozen=True):
    """A rate that rises, or falls, evenly.

    Args:
        start: deploys per second at its beginning; may be 0.
        end: deploys per second at its end, which is the rate from then on.
        seconds: how long it takes.
    """

    start: float
    end: float
    seconds: float

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            rate = number(f"ramp: {name}", getattr(self, name), 0, MOST_RATE)
            force_setattr(self, name, float(rate))
        force_setattr(self, "seconds", float(seconds("ramp: seconds", self.seconds)))
        if not self.start + self.end:
            fail("ramp:", "start and end must not both be 0")


class Phase(NamedTuple):
    """A part of the schedule, in which the rate changes evenly. Times are in seconds."""

    start: float
    end: float
    seconds: float

    @property
    def deploys(self) -> float:
        """How many deploys are due in it."""
        return (self.start + self.end) / 2 * self.seconds

    def due(self, deploys: float) -> float:
        """When so many deploys are due, in seconds from its beginning."""
        if deploys <= 0:
            return 0.0
        slope = (self.end - self.start) / self.seconds
        root = self.start**2 + 2 * slope * deploys
        return 2 * deploys / (self.start + sqrt(max(root, 0.0)))


class Plan(PlainData, frozen=True, kw_only=True):
    """What a load test does.

    Args:
        request: what each deploy asks for.
        rate: deploys per second. Not with `ramp`.
        ramp: a rate that changes, before `hold`. Not with `rate`.
        hold: seconds at `rate`, or at the end of the ramp. None: until `count`, or after
            a ramp not at all.
        lifetime: seconds that each server runs, from READY until it is stopped. None:
            until the end of the test.
        count: how many deploys there are at most. None: as many as are due.
        max_running: how many servers may exist at once. One counts until its stop is
            accepted; the API takes some more time to end it. Further deploys wait, which
            counts as `queued`. If more deploys are due than that, `lifetime` is required:
            without one, no server would make room. None: any number.
        stop_at_end: once the outcome of each deploy is known, stop all servers. False:
            each runs for its lifetime, and without a `lifetime` they are left running. A
            test that is interrupted or fails always stops all.
        ready_timeout: seconds from the sending of a deploy until its server is READY. A
            later one has failed.

    Raises:
        ValueError: an argument is wrong; the text names it.
    """

    request: DeployRequest
    rate: float | None = None
    ramp: Ramp | None = None
    hold: float | None = None
    lifetime: float | None = None
    count: int | None = None
    max_running: int | None = None
    stop_at_end: bool = True
    ready_timeout: float = READY_TIMEOUT

    def __post_init__(self) -> None:
        instance("request", self.request, DeployRequest)
        optional_instance("ramp", self.ramp, Ramp)
        if (self.rate is None) == (self.ramp is None):
            fail("rate", "or ramp is required, and not both")
        if self.rate is not None:
            rate = number("rate", self.rate, 0, MOST_RATE)
            if not rate:
                fail("rate", "must be above 0")
            force_setattr(self, "rate", float(rate))
        for name in ("hold", "lifetime"):
            force_setattr(self, name, optional_seconds(name, getattr(self, name)))
        for name in ("count", "max_running"):
            if (given := getattr(self, name)) is not None:
                force_setattr(self, name, whole_number(name, given, 1, MOST_DEPLOYS))
        force_setattr(self, "stop_at_end", flag("stop_at_end", self.stop_at_end))
        timeout = seconds("ready_timeout", self.ready_timeout)
        force_setattr(self, "ready_timeout", timeout)
        self._check_size()

    def _check_size(self) -> None:
        if self.rate is not None and self.hold is None and self.count is None:
            fail("hold", "or count is required with rate: the test would never end")
        if self.ramp and not self.ramp.end and self.hold:
            fail("hold", "must not be given with a ramp that ends at 0")
        due = sum(phase.deploys for phase in self.phases)
        if self.count is None and due > MOST_DEPLOYS:
            name = "ramp" if self.hold is None else "hold"
            most = f"{MOST_DEPLOYS:,}"
            fail(name, f"would start {due:,.0f} servers: set count, up to {most}")
        due = min(due, inf if self.count is None else self.count)
        if self.lifetime is None and due - ROUNDING > (self.max_running or inf):
            fail(
                "lifetime",
                f"is required if max_running ({self.max_running:,}) is less than the deploys "
                f"that are due ({ceil(due - ROUNDING):,}): no server would make room",
            )

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The parts of the schedule."""
        phases: list[Phase] = []
        if ramp := self.ramp:
            phases.append(Phase(ramp.start, ramp.end, ramp.seconds))
            if self.hold is None:
                return tuple(phases)
        rate = self.ramp.end if self.ramp else self.rate or 0.0
        phases.append(Phase(rate, rate, inf if self.hold is None else self.hold))
        return tuple(phases)

    def due_times(self) -> Iterator[float]:
        """When each deploy is due, in seconds from the beginning of the test."""
        numbers = count() if self.count is None else iter(range(self.count))
        started, deploys = 0.0, 0.0
        phases = iter(self.phases)
        phase = next(phases)
        for each in numbers:
            while each >= deploys + phase.deploys - ROUNDING:
                started, deploys = started + phase.seconds, deploys + phase.deploys
                following = next(phases, None)
                if following is None:
                    return
                phase = following
            yield started + phase.due(each - deploys)
