"""One deployment, and its life: nothing runs in it, what it is at a time follows from
when it was asked for.

    INITIALIZING -> SEEKING -> SEEKED -> SCANNING -> DEPLOYING -> READY -> TERMINATING
                                                              -> TERMINATED \\-> ERROR
                                                              -/

A stop that comes before READY or ERROR is carried out once one of them is reached.
"""

from dataclasses import dataclass, field
from enum import Enum
from math import inf

from .locations import Host, Place

# Where in the time until it is ready a deployment enters each state; the order is the
# API's, the shares are ours.
_STARTING = (
    (0.30, "DEPLOYING"),
    (0.20, "SCANNING"),
    (0.15, "SEEKED"),
    (0.05, "SEEKING"),
    (0.0, "INITIALIZING"),
)
_PLACED_AT = _STARTING[0][0]
STARTING_STATES = tuple(state for _, state in _STARTING)
# minutes: a deployment of the API runs so long, unless it is told otherwise
_DAY = 24 * 60
# in place of these minutes
NO_END = -1


class Phase(Enum):
    """Parts of a life, as coarse as a look-up needs them: a deployment changes its
    phase three times at most.
    """

    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"
    STOPPING = "stopping"
    ENDED = "ended"


@dataclass(slots=True)
class Tag:
    """A tag, with the times of its making and of its last change."""

    created: float
    updated: float


@dataclass(slots=True, eq=False)
class Deployment:
    """One deployment. All times are the simulator's, in seconds."""

    # the how-manieth it is: the order of arrival
    number: int
    request_id: str
    application: str
    version: str
    created: float
    # when it becomes READY, or ERROR if it `fails`
    settles: float
    fails: bool
    stop_takes: float
    place: Place
    delete_token: str
    access_point: int
    host: Host | None = None
    # URLs by event, of those that are to come
    webhooks: dict[str, str] = field(default_factory=dict[str, str])
    variables: dict[str, str] = field(default_factory=dict[str, str])
    tags: dict[str, Tag] = field(default_factory=dict[str, Tag])
    max_duration: int = _DAY
    stop_asked: float | None = None
    # as the world last saw it; `phase_at` is what it is
    phase: Phase = Phase.STARTING
    # if there was no server for it, it is in error from the beginning
    allocated: bool = True

    @property
    def placed(self) -> float:
        """When it has an address."""
        return (
            inf
            if not self.allocated
            else self.created + _PLACED_AT * (self.settles - self.created)
        )

    @property
    def leaves(self) -> float:
        """When its stop begins; never, for one that nobody stops and that is in error
        or has no end of its own.
        """
        lasts = not self.fails and self.max_duration != NO_END
        by_itself = self.settles + 60 * self.max_duration if lasts else inf
        return (
            by_itself
            if self.stop_asked is None
            else min(by_itself, max(self.stop_asked, self.settles))
        )

    @property
    def ends(self) -> float:
        """When it is gone."""
        return self.leaves + self.stop_takes

    def became_ready(self, now: float) -> bool:
        """Whether it is or was READY."""
        return now >= self.settles and not self.fails

    def phase_at(self, now: float) -> Phase:
        """The part of its life that it is in."""
        if now >= self.ends:
            return Phase.ENDED
        if now >= self.leaves:
            return Phase.STOPPING
        if now >= self.settles:
            return Phase.FAILED if self.fails else Phase.READY
        return Phase.STARTING

    def next_turn(self, now: float) -> float:
        """When its phase changes next."""
        return next(
            (turn for turn in (self.settles, self.leaves, self.ends) if turn > now), inf
        )

    def states(self, now: float) -> tuple[str, str | None]:
        """The state that it is in, and the one before."""
        settled = "ERROR" if self.fails else "READY"
        match self.phase_at(now):
            case Phase.ENDED:
                return "TERMINATED", "TERMINATING"
            case Phase.STOPPING:
                return "TERMINATING", settled
            case Phase.READY | Phase.FAILED:
                return settled, _STARTING[0][1]
            case Phase.STARTING:
                return self._starting(now)

    def _starting(self, now: float) -> tuple[str, str | None]:
        length = self.settles - self.created
        done = (now - self.created) / length if length > 0 else 0.0
        reached = [state for share, state in _STARTING if done >= share] or [
            _STARTING[-1][1]
        ]
        return reached[0], reached[1] if len(reached) > 1 else None
