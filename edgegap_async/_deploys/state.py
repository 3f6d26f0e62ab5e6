"""The states of a deploy until its server is handed to the caller.

QUEUED     waits for a slot, or for its next attempt; nothing was started
SENDING    a request is being sent, or its answer is awaited
SEARCHING  no usable answer came; its tag is searched for
ACCEPTED   a server was started, and its request_id is known
UNKNOWN    nobody can find out any more whether a server was started
FAILED     the caller got an error
CANCELLED  the caller left, and nothing was started
"""

from collections.abc import Mapping
from enum import Enum

from .._transport.request import Withdrawn
from ..errors import EdgegapError


class DeployState(Enum):
    """How far a deploy is."""

    QUEUED = "queued"
    SENDING = "sending"
    SEARCHING = "searching"
    ACCEPTED = "accepted"
    UNKNOWN = "unknown"
    FAILED = "failed"
    CANCELLED = "cancelled"


TRANSITIONS: Mapping[DeployState, frozenset[DeployState]] = {
    # A slot came; the deadline can't be met; the caller left.
    DeployState.QUEUED: frozenset(
        {DeployState.SENDING, DeployState.FAILED, DeployState.CANCELLED}
    ),
    # 429 or never sent; 202; no usable answer; refused; cut off by the loop's end.
    DeployState.SENDING: frozenset(
        {
            DeployState.QUEUED,
            DeployState.ACCEPTED,
            DeployState.SEARCHING,
            DeployState.FAILED,
            DeployState.UNKNOWN,
        }
    ),
    # Absent; found; inconclusive; cut off by the loop's end.
    DeployState.SEARCHING: frozenset(
        {
            DeployState.QUEUED,
            DeployState.ACCEPTED,
            DeployState.FAILED,
            DeployState.UNKNOWN,
        }
    ),
    DeployState.ACCEPTED: frozenset(),
    DeployState.UNKNOWN: frozenset(),
    DeployState.FAILED: frozenset(),
    DeployState.CANCELLED: frozenset(),
}
MAY_HAVE_STARTED = frozenset(
    {DeployState.SENDING, DeployState.SEARCHING, DeployState.UNKNOWN}
)


class DeployProgress:
    """The state of one deploy, as the transport and its owner report it.

    Attributes:
        wanted: a caller waits for the deploy.
        withdrawn: it must not be sent any more. Without a caller, none is.
        sent_at: when its latest request was sent, on the loop's clock; None if that
            request has started nothing.
        failure: of its latest attempt that failed.
    """

    __slots__ = ("failure", "sent_at", "state", "wanted", "withdrawn")

    def __init__(self) -> None:
        self.state: DeployState = DeployState.QUEUED
        self.wanted: bool = True
        self.withdrawn: bool = False
        self.sent_at: float | None = None
        self.failure: EdgegapError | None = None

    @property
    def may_have_started(self) -> bool:
        """Whether a server may exist whose request_id is not known."""
        return self.state in MAY_HAVE_STARTED

    def move(self, state: DeployState) -> None:
        """Change the state.

        Raises:
            RuntimeError: the table has no such transition.
        """
        if state is self.state:
            return
        if state not in TRANSITIONS[self.state]:
            raise RuntimeError(f"a deploy can't go from {self.state} to {state}")
        self.state = state
        if state is DeployState.QUEUED:
            self.sent_at = None

    def abandon(self) -> None:
        """The caller has left."""
        self.wanted, self.withdrawn = False, True

    def sending(self, now: float) -> None:
        """An attempt begins.

        Raises:
            Withdrawn: it must not, though it has a slot.
        """
        self._check()
        self.move(DeployState.SENDING)
        self.sent_at = now

    def ended(self, *, sent: bool) -> None:
        """An attempt has ended. If it was sent, its owner decides what comes next."""
        if not sent and self.state is DeployState.SENDING:
            self.move(DeployState.QUEUED)

    def interrupted(self, *, sent: bool) -> None:
        """A cancellation has ended an attempt."""
        if sent:
            self.move(DeployState.UNKNOWN)

    def failed(self, error: EdgegapError) -> None:
        """An attempt has failed."""
        self.failure = error

    def retrying(self) -> None:
        """The attempts so far have started nothing, and another one follows.

        Raises:
            Withdrawn: it must not.
        """
        self.move(DeployState.QUEUED)
        self._check()

    def _check(self) -> None:
        if self.withdrawn:
            raise Withdrawn("the deploy was withdrawn before it started anything")
