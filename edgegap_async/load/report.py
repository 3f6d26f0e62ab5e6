"""The report of a load test: plain data, to JSON and back."""

import msgspec
from msgspec import Struct, field

from ..endpoints import LimitName
from ..models._plain import PlainData
from .plan import Plan, Ramp

# Its number rises if a later version can't read a report of an earlier one.
FORMAT = "edgegap-load/1"


class PlanData(PlainData, frozen=True, kw_only=True):
    """What the report shows of its `Plan`. A request may hold secrets: environment
    variables and the URLs of webhooks are left out.

    Attributes:
        users: the number of players of each request.
    """

    application: str
    version: str
    users: int
    tags: tuple[str, ...] = ()
    rate: float | None = None
    ramp: Ramp | None = None
    hold: float | None = None
    lifetime: float | None = None
    count: int | None = None
    max_running: int | None = None
    stop_at_end: bool = True
    ready_timeout: float

    @classmethod
    def of(cls, plan: Plan) -> "PlanData":
        """The data of a plan."""
        request = plan.request
        return cls(
            application=request.application,
            version=request.version,
            users=len(request.users),
            tags=tuple(request.tags or ()),
            rate=plan.rate,
            ramp=plan.ramp,
            hold=plan.hold,
            lifetime=plan.lifetime,
            count=plan.count,
            max_running=plan.max_running,
            stop_at_end=plan.stop_at_end,
            ready_timeout=plan.ready_timeout,
        )


class Times(PlainData, frozen=True, kw_only=True):
    """Percentiles of durations, in seconds.

    Attributes:
        count: of how many durations.
        ranges: for each percentile, its 95 % confidence interval.
    """

    count: int
    p50: float
    p90: float
    p95: float
    p99: float
    max: float
    ranges: dict[str, tuple[float, float]] = field(
        default_factory=dict[str, tuple[float, float]]
    )


class Counts(PlainData, frozen=True, kw_only=True):
    """How many deploys came how far.

    Attributes:
        due: by the schedule.
        sent: to the API. The others were withdrawn, or failed before.
        accepted: by the API.
        ready: servers that were READY in time.
        failed: deploys without a server that is READY in time.
        stopped: servers that the test has stopped.
    """

    due: int
    sent: int
    accepted: int
    ready: int
    failed: int
    stopped: int


class LimitCounts(PlainData, frozen=True, kw_only=True):
    """The requests of the test under one limit, and of other users of its session.

    Attributes:
        allowed: requests per second. None: no limit.
        requests: how many were sent.
        busiest_second: the most that were sent within any second, since the session was
            opened.
        refused: how many got a 429.
    """

    allowed: float | None
    requests: int
    busiest_second: int
    refused: int


class Series(PlainData, frozen=True, kw_only=True):
    """One value for each second of the test.

    Attributes:
        due: deploys that were due.
        sent: deploys that were sent. One that was sent again counts when it was last
            sent.
        ready: servers that became READY.
        waiting: deploys that were due and not sent yet, at the end of the second.
        in_flight: deploys that were sent and have no outcome yet, at its end.
        running: servers that are READY and not stopped yet, at its end.
        refused: answers with status 429, for each limit.
        failures: failed deploys, for each kind.
    """

    due: list[int]
    sent: list[int]
    ready: list[int]
    waiting: list[int]
    in_flight: list[int]
    running: list[int]
    refused: dict[LimitName, list[int]]
    failures: dict[str, list[int]]


class Window(PlainData, frozen=True, kw_only=True):
    """Percentiles of the deploys that were due in a part of the test.

    Attributes:
        at: its beginning, in seconds from that of the test.
        seconds: its length.
    """

    at: float
    seconds: float
    queued: Times | None
    accepted_after: Times | None
    ready_after: Times | None
    total: Times | None


class Histogram(PlainData, frozen=True, kw_only=True):
    """How many durations are how long.

    Attributes:
        step: the width of each column, in seconds; the first one begins at 0.
        counts: the number in each column.
        above: how many are longer than all columns.
    """

    step: float
    counts: list[int]
    above: int


class FailureKind(PlainData, frozen=True, kw_only=True):
    """Failures of one kind.

    Attributes:
        kind: the name of the class of the error.
        count: how many there were.
        first, last: when they were known, in seconds from the beginning of the test.
        message: of the first one.
        request_ids: of some of their deployments.
    """

    kind: str
    count: int
    first: float
    last: float
    message: str
    request_ids: list[str]


class Slow(PlainData, frozen=True, kw_only=True):
    """One of the servers that took longest. See `Report` for the times."""

    request_id: str
    due: float
    queued: float
    accepted_after: float
    ready_after: float

    @property
    def total(self) -> float:
        """Seconds from when it was due until READY."""
        return self.queued + self.ready_after


class LocationCount(PlainData, frozen=True, kw_only=True):
    """A location where servers ran.

    Attributes:
        city, country: their names. Empty: not known.
        latitude, longitude: in degrees.
        servers: how many of those whose location is known. Lists do not tell it, so the
            test asks for two statuses per second at most.
    """

    city: str
    country: str
    latitude: float
    longitude: float
    servers: int


class ThresholdResult(PlainData, frozen=True, kw_only=True):
    """Whether a threshold was met.

    Attributes:
        threshold: its text, such as "ready_p95<5s".
        value: what the report has. None: nothing, so it was missed.
        limit: what the threshold asks for, in the unit of the value.
        unit: "s", "%" or "".
    """

    threshold: str
    value: float | None
    limit: float
    unit: str
    met: bool


class Report(PlainData, frozen=True, kw_only=True):
    """What came of a load test. All durations are in seconds.

    Attributes:
        format: the version of this format.
        started: when, in UTC.
        seconds: how long it took, until the last server was stopped.
        target: the host of the API.
        versions: of this SDK, Python and aiohttp.
        schedule_kept: the share of deploys that were sent by the end of the schedule,
            of those that were due.
        queued: from when a deploy was due until it was sent: the wait for the limit and
            `max_running`, and for further tries.
        accepted_after: from then until the API had accepted it.
        ready_after: from then until its server was known to be READY.
        total: from when it was due until READY.
        interrupted: it was ended early, by a signal to `edgegap load`.
        error: why it was ended early, if the API refused the token.
        running: the request_ids of servers that were left running.
        not_stopped: the request_ids of servers whose stop has failed.
        thresholds: the conditions that were checked.
        locations: where servers ran, that with most of them first.
    """

    format: str = FORMAT
    started: str
    seconds: float
    target: str
    versions: dict[str, str]
    plan: PlanData
    counts: Counts
    schedule_kept: float
    queued: Times | None
    accepted_after: Times | None
    ready_after: Times | None
    total: Times | None
    limits: dict[LimitName, LimitCounts]
    series: Series
    windows: list[Window]
    histogram: Histogram | None
    slowest: list[Slow]
    failures: list[FailureKind]
    interrupted: bool = False
    error: str | None = None
    running: list[str] = field(default_factory=list[str])
    not_stopped: list[str] = field(default_factory=list[str])
    thresholds: list[ThresholdResult] = field(default_factory=list[ThresholdResult])
    locations: list[LocationCount] = field(default_factory=list[LocationCount])

    @classmethod
    def from_json(cls, text: str | bytes) -> "Report":
        """Read a report that `to_json` has written.

        Raises:
            ValueError: it is no report, or one of another version.
        """
        try:
            head = msgspec.json.decode(text, type=_Head)
        except msgspec.DecodeError as error:
            raise ValueError(f"it is no report of a load test: {error}") from None
        if head.format != FORMAT:
            raise ValueError(
                f"its format is {head.format[:40]!r}, and this version reads {FORMAT!r}"
            )
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.DecodeError as error:
            raise ValueError(f"it is no report of a load test: {error}") from None


class _Head(Struct):
    format: str
