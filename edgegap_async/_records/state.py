"""The life of a deploy, from its place in the queue until its server has ended.

QUEUED      waits for a slot, for its next attempt, or for capacity; nothing was started
SENDING     a request is being sent, or its answer is awaited
SEARCHING   its tag is searched for; a request may still be under way
ACCEPTED    a server was started, and its request_id is known
LEASED      the session must stop the server: at the end of a block, or because the
            outcome was not taken
RELEASED    the server is the caller's
STOPPING    the session stops the server, and retries until the stop is accepted
UNKNOWN     nobody can find out whether a server was started: its tag is in quarantine
CANCELLED   the caller left, and nothing was started
FAILED      the caller got an error, and nothing is running
ENDED       the server was stopped, or is gone
DISOWNED    another process has taken it over, as this one has not renewed its ownership
            in the journal: it stops the server

The next state depends on the state and the event, and on two properties of the record:
`wanted` (somebody waits for the deploy) and `tagged` (it has a tag of its own, to be
searched for). The rest of a record, such as the tag, the request_id and the number of
leases, changes no transition. Pure: no socket, no clock.
"""

from collections.abc import Callable, Mapping
from enum import Enum

from .._transport.trace import CALL_IDS


class DeployState(Enum):
    """How far a deploy is."""

    QUEUED = "queued"
    SENDING = "sending"
    SEARCHING = "searching"
    ACCEPTED = "accepted"
    LEASED = "leased"
    RELEASED = "released"
    STOPPING = "stopping"
    UNKNOWN = "unknown"
    CANCELLED = "cancelled"
    FAILED = "failed"
    ENDED = "ended"
    DISOWNED = "disowned"


class Event(Enum):
    """What can happen to a deploy."""

    SENT = "a slot came, and a request is being sent"
    NOT_DONE = "429, or the request was never sent"
    ANSWERED = "202 with a request_id"
    REFUSED = "an error response, or an error before anything was sent"
    REFUSED_BY_GATEWAY = "an error response that is not in the API's form"
    NOT_ALLOCATED = "422 with the request_id of a deployment in ERROR"
    LOST = "the request has ended without a usable answer"
    SEARCH = "its tag is searched for while the request is still under way"
    FOUND = "a list shows a server under its tag"
    ABSENT = "no server exists under its tag"
    GIVEN_UP = "absent, and it must not be deployed again"
    INCONCLUSIVE = "the search could not find out"
    LEASE = "the session becomes responsible for the server"
    RELEASE = "the caller takes the server over"
    STOP = "the server must be stopped: it has failed, or its block has ended"
    GONE = "a stop was accepted, the server is gone, or its quarantine is over"
    LEAVES = "the caller is cancelled or its deadline has passed"
    CLOSES = "the session is closed"
    CUT_OFF = (
        "its task is cancelled, a callback of the user raises, or the event loop ends"
    )
    CLAIMED = "another process has taken it over"


_S, _E = DeployState, Event
# Nothing is running, or the caller or another process has it alone.
FINAL = frozenset({_S.CANCELLED, _S.FAILED, _S.ENDED, _S.DISOWNED})
# The answers to a request that is under way.
_ANSWERS: Mapping[Event, DeployState] = {
    _E.NOT_DONE: _S.QUEUED,
    _E.ANSWERED: _S.ACCEPTED,
    _E.REFUSED: _S.FAILED,
    _E.REFUSED_BY_GATEWAY: _S.SEARCHING,
    _E.NOT_ALLOCATED: _S.STOPPING,
    _E.LOST: _S.SEARCHING,
}
# A server that the session must stop if nobody takes it over.
_HELD: Mapping[Event, DeployState] = {
    _E.LEASE: _S.LEASED,
    _E.RELEASE: _S.RELEASED,
    _E.STOP: _S.STOPPING,
    _E.GONE: _S.ENDED,
    _E.LEAVES: _S.STOPPING,
    _E.CLOSES: _S.STOPPING,
    _E.CUT_OFF: _S.STOPPING,
}
_BY_STATE: Mapping[DeployState, Mapping[Event, DeployState]] = {
    _S.QUEUED: {
        _E.SENT: _S.SENDING,
        # A server of an earlier attempt has turned up after all.
        _E.FOUND: _S.ACCEPTED,
        _E.REFUSED: _S.FAILED,
        _E.LEAVES: _S.CANCELLED,
        _E.CLOSES: _S.CANCELLED,
        _E.CUT_OFF: _S.CANCELLED,
    },
    _S.SENDING: {
        **_ANSWERS,
        # Again under the same tag: a gateway has refused the request before it.
        _E.SENT: _S.SENDING,
        _E.SEARCH: _S.SEARCHING,
        _E.LEAVES: _S.SEARCHING,
        _E.CLOSES: _S.SEARCHING,
        # The request is cut off. The session closes itself then, and searches for it.
        _E.CUT_OFF: _S.SEARCHING,
    },
    _S.SEARCHING: {
        **_ANSWERS,
        _E.SENT: _S.SEARCHING,
        _E.SEARCH: _S.SEARCHING,
        _E.FOUND: _S.ACCEPTED,
        _E.ABSENT: _S.QUEUED,
        _E.GIVEN_UP: _S.FAILED,
        _E.INCONCLUSIVE: _S.UNKNOWN,
        _E.LEAVES: _S.SEARCHING,
        _E.CLOSES: _S.SEARCHING,
        _E.CUT_OFF: _S.SEARCHING,
    },
    _S.ACCEPTED: _HELD,
    _S.LEASED: _HELD,
    _S.RELEASED: {
        _E.LEASE: _S.LEASED,
        # `stop_on_failure`.
        _E.STOP: _S.STOPPING,
        _E.GONE: _S.ENDED,
        _E.CLOSES: _S.RELEASED,
        _E.CUT_OFF: _S.RELEASED,
    },
    # What is still in this state when the session is closed is in `leftovers`.
    _S.STOPPING: {
        _E.STOP: _S.STOPPING,
        _E.GONE: _S.ENDED,
        _E.LEAVES: _S.STOPPING,
        _E.CLOSES: _S.STOPPING,
        _E.CUT_OFF: _S.STOPPING,
    },
    # The tag is in `leftovers`.
    _S.UNKNOWN: {
        _E.FOUND: _S.STOPPING,
        # The quarantine is over.
        _E.GONE: _S.ENDED,
        _E.LEAVES: _S.UNKNOWN,
        _E.CLOSES: _S.UNKNOWN,
        _E.CUT_OFF: _S.UNKNOWN,
    },
    **{
        state: dict.fromkeys((_E.LEAVES, _E.CLOSES, _E.CUT_OFF), state)
        for state in FINAL
    },
    # Its request may still be under way, and its tag be searched for.
    _S.DISOWNED: dict.fromkeys(_E, _S.DISOWNED),
}
TRANSITIONS: Mapping[DeployState, Mapping[Event, DeployState]] = {
    state: {**row, _E.CLAIMED: state if state in FINAL else _S.DISOWNED}
    for state, row in _BY_STATE.items()
}
# Where a deploy goes instead if nobody waits for it.
UNWANTED: Mapping[DeployState, DeployState] = {
    _S.QUEUED: _S.CANCELLED,
    _S.ACCEPTED: _S.STOPPING,
}
# Without a tag of its own there is nothing to search for.
UNTAGGED: Mapping[DeployState, DeployState] = {_S.SEARCHING: _S.SENDING}
ENDS_UNTAGGED = frozenset({_E.LOST, _E.REFUSED_BY_GATEWAY, _E.CUT_OFF})
# After these events the caller has its answer, or is not there any more.
ENDS_WAIT = frozenset(
    {_E.REFUSED_BY_GATEWAY, _E.NOT_ALLOCATED, _E.LEAVES, _E.CLOSES, _E.CUT_OFF}
)
# A request was sent, and its outcome is not known so far.
UNDER_WAY = frozenset({_S.SENDING, _S.SEARCHING})
# A server may exist whose request_id is not known.
MAY_HAVE_STARTED = frozenset({_S.SENDING, _S.SEARCHING, _S.UNKNOWN})
# A server is running, and the session does not stop it.
ALIVE = frozenset({_S.ACCEPTED, _S.LEASED, _S.RELEASED})


def next_state(
    state: DeployState, event: Event, *, wanted: bool = True, tagged: bool = True
) -> DeployState:
    """The state after an event.

    Args:
        wanted: somebody waits for the deploy, after this event.
        tagged: the deploy has a tag of its own, to be searched for.

    Raises:
        RuntimeError: the table has no such transition.
    """
    after = TRANSITIONS[state].get(event)
    if after is None:
        raise RuntimeError(f"a deploy that is {state.value} can't take: {event.value}")
    if not tagged and state in UNDER_WAY:
        after = _S.FAILED if event in ENDS_UNTAGGED else UNTAGGED.get(after, after)
    if not wanted and after is not state:
        after = UNWANTED.get(after, after)
    return after


class DeployRecord:
    """One deploy and its server, or a server that this session has learned of.

    Attributes:
        tag: of the latest attempt; None: without a tag of its own.
        request_id: of its server, once it is known.
        wanted: somebody waits for the deploy.
        withdrawn: it must not be sent any more.
        leases: how many blocks and outcomes hold the server.
        claimed: somebody has the server: this session has handed it out, or the caller
            has waited for it, adopted or stopped it by its ID.
        sent_at: when its latest request was sent, on the loop's clock; None if that
            request has started nothing.
        seen_at: when this session first saw that the server exists, on the loop's
            clock; None: not known, so it counts as old.
        accepted_at: when the server was accepted, if this session started it.
        ready_after: seconds from then until it was known to be READY.
        hooked: each change of the server sends a webhook.
        nonce: of the attempt that started the server, in its webhooks.
        call_id: the number of the call that has started the server, or that first
            named it. No other record has it.
        started_by: the same, but of a second server under a tag: the call that has sent
            the tag.
        reported: what `on_event` was told of the server.
        fleet: it runs on a private fleet.
        observer: called after each event, with this record. None: there is no journal.
        on_final: called when nothing is running any more.
    """

    __slots__ = (
        "accepted_at",
        "call_id",
        "claimed",
        "fleet",
        "hooked",
        "last_event",
        "leases",
        "nonce",
        "not_found",
        "observer",
        "on_final",
        "ready_after",
        "reported",
        "request_id",
        "seen_at",
        "sent_at",
        "started_by",
        "state",
        "tag",
        "tagged",
        "wanted",
        "withdrawn",
    )

    def __init__(
        self, state: DeployState = DeployState.QUEUED, *, tagged: bool = True
    ) -> None:
        self.state: DeployState = state
        self.tagged: bool = tagged
        self.tag: str | None = None
        self.request_id: str | None = None
        self.wanted: bool = True
        self.withdrawn: bool = False
        self.leases: int = 0
        self.claimed: bool = False
        self.sent_at: float | None = None
        self.seen_at: float | None = None
        self.accepted_at: float | None = None
        self.ready_after: float | None = None
        self.hooked: bool = False
        self.nonce: str | None = None
        # The last event of a webhook (`_waiters/recent_events.py`).
        self.last_event: object = None
        # Answers in a row that say "not found", and when the first one came.
        self.not_found: tuple[int, float] = (0, 0.0)
        self.fleet: bool = False
        self.observer: Callable[[DeployRecord], object] | None = None
        self.on_final: Callable[[], object] | None = None
        self.call_id: int = next(CALL_IDS)
        self.started_by: int = self.call_id
        self.reported: tuple[str, ...] = ()

    @property
    def may_have_started(self) -> bool:
        """Whether a server may exist whose request_id is not known."""
        return self.state in MAY_HAVE_STARTED

    def on(self, event: Event) -> DeployState:
        """Take an event.

        Returns:
            The state after it.

        Raises:
            RuntimeError: the table has no such transition.
        """
        if event in ENDS_WAIT:
            self.wanted = False
        self.state = next_state(
            self.state, event, wanted=self.wanted, tagged=self.tagged
        )
        if self.state is DeployState.QUEUED:
            self.sent_at = None
        if self.state in FINAL and self.on_final:
            final, self.on_final = self.on_final, None
            final()
        if self.observer:
            self.observer(self)
        return self.state
