"""A deployment. Its state at any time follows from its timestamps.

    INITIALIZING -> SEEKING -> SEEKED -> SCANNING -> DEPLOYING -> READY or ERROR
        -> TERMINATING -> TERMINATED

A container that crashes while it is READY makes it ERROR.

A stop that is requested before READY or ERROR begins once the deployment is in that
state.
"""

from dataclasses import dataclass, field
from enum import Enum
from math import inf

from ...models.deployment import ReportRequest
from ...models.version import PortSpec
from .locations import Host, Location

# The states before READY, the latest first, each with the share of the start-up time at
# which it begins. The order is that of the API, the shares are made up.
_STARTING = (
    (0.30, "DEPLOYING"),
    (0.20, "SCANNING"),
    (0.15, "SEEKED"),
    (0.05, "SEEKING"),
    (0.0, "INITIALIZING"),
)
STARTING_STATES = tuple(state for _, state in _STARTING)
# From DEPLOYING on, a deployment has an address.
_ADDRESS_SHARE = _STARTING[0][0]
# In minutes: the API ends a deployment after a day, unless its application has another
# maximum duration.
_DAY = 24 * 60
# The ports of a version that nobody has created. As in the samples of the reference page,
# there is a game port without a name, and a web port.
PORTS = (PortSpec(7777, "UDP"), PortSpec(8080, "http", tls_upgrade=True, name="web"))
# The `max_duration` of a deployment that never ends by itself.
NO_END = -1


class Phase(Enum):
    """The phases of a deployment, coarser than its states.

    A deployment changes its phase four times at most. So an index by phase is cheap.
    """

    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"
    STOPPING = "stopping"
    ENDED = "ended"


@dataclass(slots=True)
class Tag:
    """The timestamps of one tag of one deployment."""

    created: float
    updated: float


@dataclass(slots=True)
class SentWebhook:
    """A webhook of a deployment that was due.

    Args:
        event: The event, such as `ready`.
        when: The time at which it was due.
        to: The scheme, host and port of its URL. The rest may be secret.
        result: The status of the response, or why there is none. None: not known yet.
    """

    event: str
    when: float
    to: str
    result: str | None = None


@dataclass(slots=True, eq=False)
class Deployment:
    """One deployment. All times are in seconds of the simulator's clock."""

    # Its position in the order of arrival.
    number: int
    request_id: str
    application: str
    version: str
    created_at: float
    # The time at which it becomes READY, or ERROR if it `fails`.
    ready_or_failed_at: float
    fails: bool
    stop_takes: float
    location: Location
    delete_token: str
    access_point: int
    host: Host | None = None
    # The URLs of the webhooks that are not due yet, by event.
    webhooks: dict[str, str] = field(default_factory=dict[str, str])
    sent_webhooks: list[SentWebhook] = field(default_factory=list[SentWebhook])
    environment: dict[str, str] = field(default_factory=dict[str, str])
    # The names of the variables that were requested with `is_hidden`.
    hidden: frozenset[str] = frozenset()
    tags: dict[str, Tag] = field(default_factory=dict[str, Tag])
    reports: list[ReportRequest] = field(default_factory=list[ReportRequest])
    max_duration: int = _DAY
    ports: tuple[PortSpec, ...] = PORTS
    # The external ports that are open on this machine, one for each of `ports`. Empty: they
    # are made up.
    external: tuple[int, ...] = ()
    # The time at which its container crashes, if it is READY then.
    crashes_at: float = inf
    stop_requested_at: float | None = None
    # The phase under which the index holds it. `phase_at` computes the current one.
    phase: Phase = Phase.STARTING
    # False means that no server could be allocated, so it is in ERROR from the
    # beginning.
    allocated: bool = True

    @property
    def address_known_at(self) -> float:
        """The time at which it gets an address; inf if no server was allocated."""
        if not self.allocated:
            return inf
        start_up = self.ready_or_failed_at - self.created_at
        return self.created_at + _ADDRESS_SHARE * start_up

    @property
    def terminating_at(self) -> float:
        """The time at which its stop begins.

        If it failed or has no maximum duration, it is inf until a stop is requested.
        """
        expires = not self.fails and self.max_duration != NO_END
        expires_at = self.ready_or_failed_at + 60 * self.max_duration
        earliest = expires_at if expires else inf
        if self.stop_requested_at is None:
            return earliest
        return min(earliest, max(self.stop_requested_at, self.ready_or_failed_at))

    @property
    def terminated_at(self) -> float:
        """The time at which its stop is complete."""
        return self.terminating_at + self.stop_takes

    @property
    def failed_at(self) -> float:
        """The time at which it becomes ERROR, if nobody stops it before."""
        return self.ready_or_failed_at if self.fails else self.crashes_at

    @property
    def crashes(self) -> bool:
        """Whether a failure is a crash of the container. Otherwise, its image can't be
        pulled.
        """
        return not self.fails or self.number % 2 == 1

    def became_ready(self, now: float) -> bool:
        """Return whether it is READY, or was READY before its stop."""
        return now >= self.ready_or_failed_at and not self.fails

    def phase_at(self, now: float) -> Phase:
        """Return its phase at a time."""
        if now >= self.terminated_at:
            return Phase.ENDED
        if now >= self.terminating_at:
            return Phase.STOPPING
        if now >= self.ready_or_failed_at:
            return Phase.FAILED if now >= self.failed_at else Phase.READY
        return Phase.STARTING

    def next_phase_change(self, now: float) -> float:
        """Return the time at which its phase changes next; inf if never."""
        changes = (
            self.ready_or_failed_at,
            self.crashes_at,
            self.terminating_at,
            self.terminated_at,
        )
        return min((change for change in changes if change > now), default=inf)

    def history(self, now: float) -> list[tuple[str, float]]:
        """Return all its states so far, each with the time at which it began."""
        start_up = self.ready_or_failed_at - self.created_at
        began = [
            (state, self.created_at + share * start_up)
            for share, state in reversed(_STARTING)
            if self.allocated
        ]
        if not self.fails:
            began.append(("READY", self.ready_or_failed_at))
        if self.failed_at <= self.terminating_at:
            began.append(("ERROR", self.failed_at))
        began.append(("TERMINATING", self.terminating_at))
        began.append(("TERMINATED", self.terminated_at))
        return [(state, when) for state, when in began if when <= now]

    def states(self, now: float) -> tuple[str, str | None]:
        """Return its state at a time, and the state before that one."""
        started = (
            "ERROR" if min(now, self.terminating_at) >= self.failed_at else "READY"
        )
        match self.phase_at(now):
            case Phase.ENDED:
                return "TERMINATED", "TERMINATING"
            case Phase.STOPPING:
                return "TERMINATING", started
            case Phase.READY | Phase.FAILED:
                return started, _STARTING[0][1]
            case Phase.STARTING:
                return self._starting(now)

    def _starting(self, now: float) -> tuple[str, str | None]:
        length = self.ready_or_failed_at - self.created_at
        done = (now - self.created_at) / length if length > 0 else 0.0
        reached = [state for share, state in _STARTING if done >= share] or [
            _STARTING[-1][1]
        ]
        return reached[0], reached[1] if len(reached) > 1 else None
