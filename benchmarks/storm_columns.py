"""The columns of deploy_storm.py: the faults, what the callers do, when the session is
closed, and the goals.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any, Literal, NamedTuple, TypeAlias

from edgegap_async.endpoints import LIMITS
from edgegap_async.simulator import Fault

# What each caller does:
#   deploy   starts a server, and keeps it
#   match    starts a server, waits until it is READY, plays, and stops it
#   stream   one consumer takes the servers of all callers from `deploy_many`
Work: TypeAlias = Literal["deploy", "match", "stream"]
# When the session is closed: as soon as all callers have their outcome, when its
# quarantine has ended too, or while callers wait.
Closed: TypeAlias = Literal["at once", "after", "in the middle"]
Client: TypeAlias = Literal["sdk", "once off", "naive"]

# The bounds of `deploy_many` that its documentation states: 200 requests are in
# progress, and 400 outcomes wait to be taken.
MOST_UNTAKEN = 600


class Range(NamedTuple):
    """What a figure must be."""

    least: float = -inf
    most: float = inf

    def holds(self, value: float) -> bool:
        """Whether a figure is within the range."""
        return self.least <= value <= self.most


NONE = Range(most=0)
# The goals of every column.
GOALS: Mapping[str, Range] = {
    "handed out twice": NONE,
    "forgotten": NONE,
    "stopped in use": NONE,
    "untyped errors": NONE,
    "hung calls": NONE,
    **{f"busiest second: {it.name}": Range(most=it.rate or inf) for it in LIMITS},
}
SERVED = {"served, %": Range(least=97), "started / handed out": Range(most=1.1)}
STORM_GOALS = {
    **SERVED,
    "DeployOutcomeUnknown, %": Range(most=0.5),
    "list calls a second": Range(most=3),
}


@dataclass(frozen=True)
class Column:
    """One column of the table.

    Args:
        name: Its name, also for `--columns`.
        faults: What goes wrong.
        goals: Its goals beyond `GOALS`.
        give_up: Callers come one after the other, and give up after so many seconds.
        callers: The number of callers, whatever `--deploys` says.
        simulator: Further arguments of `Simulator`.
    """

    name: str
    faults: tuple[Fault, ...]
    goals: Mapping[str, Range] = field(default_factory=dict)
    closed: Closed = "at once"
    work: Work = "deploy"
    client: Client = "sdk"
    give_up: float | None = None
    callers: int | None = None
    simulator: Mapping[str, Any] = field(default_factory=dict)


def parse(text: str) -> tuple[Fault, ...]:
    """Return the faults of a text: one in each word."""
    return tuple(map(Fault.parse, text.split()))


STORM = parse("""
    deploy:cut-before:0.05 deploy:cut-after:0.05 deploy:502-after:0.03
    deploy:503-before:0.03 deploy:429:0.01 deploy:late:0.02:40
    deploy:processed-late:0.02:2 deploy:truncated:0.002 deploy:not-json:0.002
    deploy:invalid-utf8:0.002 deploy:empty:0.002 deploy:no-id:0.002 list:cut-before:0.02
    list:503-before:0.02 list:not-json:0.01 list:lag:1:1
""")
EMPTY, IGNORED = parse("list:filters-empty:1:tags list:filters-ignored:1:tags")
LATE = Fault("deploy", "processed-late", 0.02, seconds=20)
# 5 % of the deploys start a server whose answer is lost.
LOST = parse("deploy:cut-after:0.03 deploy:502-after:0.02")
GATEWAY = parse("stop:404-text:0.3 status:404-text:0.3")
# 5 % of the deploys.
TWICE = parse("""
    deploy:twice-first:0.01:0 deploy:twice-first:0.01:3 deploy:twice-second:0.01:0
    deploy:twice-502:0.005:0 deploy:twice-502:0.005:3 deploy:twice-hang:0.005:0
    deploy:twice-late-502:0.0025:3 deploy:twice-late-hang:0.0025:3
""")
NO_TAGS = parse("list:tags-missing:0.34 list:tags-null:0.33 list:tags-text:0.33")
ALL_OF = parse("list:filters-all-of")
UNORDERED = parse("list:filters-ignored list:order-shuffled")
# 5 % of the deploys are never answered; four out of five of them start a server.
NO_ANSWER = parse("deploy:hang-after:0.04 deploy:hang-before:0.01")


def lag(seconds: float) -> Fault:
    """Return the fault of lists that are so many seconds old."""
    return Fault("list", "lag", seconds=seconds)


COLUMNS = (
    Column("closed at once", STORM, STORM_GOALS),
    Column("closed after", STORM, STORM_GOALS, closed="after"),
    Column("filters empty, at once", (*STORM, EMPTY)),
    Column("filters empty, after", (*STORM, EMPTY), closed="after"),
    Column("filters ignored, at once", (*STORM, IGNORED)),
    Column("filters ignored, after", (*STORM, IGNORED), closed="after"),
    Column("deploys 20 s late, at once", (*STORM, LATE)),
    Column("deploys 20 s late, after", (*STORM, LATE), closed="after"),
    Column("closed in the middle", STORM, closed="in the middle"),
    Column("replica lag 1 s", (), SERVED, work="match", simulator={"replica_lag": 1.0}),
    Column("404 by a gateway", GATEWAY, SERVED, work="match"),
    Column("POST twice", TWICE, SERVED, closed="after"),
    Column("rows without tags", (*LOST, *NO_TAGS), SERVED, closed="after"),
    Column("in means all of", (*LOST, *ALL_OF), SERVED, closed="after"),
    Column("no filters, no order", (*LOST, *UNORDERED), SERVED, closed="after"),
    Column("lists lag 8 s", (*LOST, lag(8)), SERVED, closed="after"),
    Column("lists lag 20 s", (*LOST, lag(20)), SERVED, closed="after"),
    Column(
        "no answer",
        NO_ANSWER,
        {
            **SERVED,
            # Nobody can serve a caller that gives up before the answer.
            "served, %": Range(least=90),
            # The list shows these servers, so there is time to stop them.
            "leftovers that run": NONE,
            "seconds to close": Range(most=8),
        },
        give_up=2.0,
    ),
    Column(
        "consumer stands still",
        LOST,
        {**SERVED, "most started, not handed out": Range(most=MOST_UNTAKEN)},
        work="stream",
        callers=1500,
        # While the consumer stands still, some servers become READY and others don't.
        simulator={"ready_after": (30.0, 50.0)},
    ),
    Column("deploy_once=False", STORM, client="once off"),
    Column("naive", STORM, client="naive"),
)
