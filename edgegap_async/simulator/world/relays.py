"""Relay sessions."""

from dataclasses import dataclass, field
from random import Random

from ...models.relay import RelaySessionRequest
from .errors import ApiError

# Seconds from the creation until a session has its relay, and until it is ready.
LINKED_AFTER, READY_AFTER = 0.5, 1.0
TOKEN_BITS = 32


@dataclass(slots=True)
class RelaySession:
    """A relay session.

    Attributes:
        number: its position in the order of creation.
        users: the tokens of its players, by their addresses.
    """

    session_id: str
    number: int
    token: int
    created: float
    webhook_url: str | None
    users: dict[str, int] = field(default_factory=dict[str, int])

    def is_linked(self, now: float) -> bool:
        """Return whether it has a relay."""
        return now >= self.created + LINKED_AFTER

    def is_ready(self, now: float) -> bool:
        """Return whether players can connect."""
        return now >= self.created + READY_AFTER


class Relays:
    """All relay sessions, in the order of their creation."""

    def __init__(self, seed: int) -> None:
        # Its own, so that it does not change the random numbers of deployments.
        self._random = Random(f"relays of {seed}")
        self._sessions: dict[str, RelaySession] = {}
        self._made = 0

    def all(self) -> tuple[RelaySession, ...]:
        """Return all sessions."""
        return tuple(self._sessions.values())

    def get(self, session_id: str) -> RelaySession:
        """Return a session.

        Raises:
            ApiError: There is none with this ID.
        """
        if session_id not in self._sessions:
            raise ApiError(404, f"Relay session {session_id} not found")
        return self._sessions[session_id]

    def create(self, body: RelaySessionRequest, now: float) -> RelaySession:
        """Create a session."""
        session = RelaySession(
            session_id=f"{self._random.getrandbits(48):012x}-S",
            number=self._made,
            token=self._random.getrandbits(TOKEN_BITS),
            created=now,
            webhook_url=body.webhook_url,
            users={each: self._random.getrandbits(TOKEN_BITS) for each in body.users},
        )
        self._made += 1
        self._sessions[session.session_id] = session
        return session

    def delete(self, session_id: str) -> None:
        """End a session."""
        del self._sessions[self.get(session_id).session_id]

    def authorize(self, session_id: str, user_ip: str) -> RelaySession:
        """Add a player."""
        session = self.get(session_id)
        if user_ip in session.users:
            raise ApiError(409, f"User {user_ip} is already in the session")
        session.users[user_ip] = self._random.getrandbits(TOKEN_BITS)
        return session

    def revoke(self, session_id: str, token: int) -> None:
        """Remove a player."""
        session = self.get(session_id)
        found = [user for user, each in session.users.items() if each == token]
        if not found:
            raise ApiError(404, "User not found in the session")
        for user in found:
            del session.users[user]
