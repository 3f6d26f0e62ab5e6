"""Relay sessions: players that connect to each other through a relay of Edgegap."""

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, ClassVar

from msgspec import field
from msgspec.structs import force_setattr

from ._check import fail, label, plain_number, plain_object, sequence, shown, text
from ._plain import HidesSecrets, PlainData
from ._urls import http_url
from ._wire import Answer, ByName, Integer, Maybe, Real, Several
from .paging import Page

TOKEN: frozenset[str] = frozenset({"authorization_token"})
# Whoever knows the URL can call it, so it is as secret as a token.
SESSION_SECRETS: frozenset[str] = TOKEN | {"webhook_url"}
LARGEST_TOKEN = 2**63 - 1


def _address(argument: str, value: object) -> str:
    is_address = isinstance(value, IPv4Address | IPv6Address)
    given = text(argument, str(value) if is_address else value)
    try:
        ip_address(given)
    except ValueError:
        fail(f"{argument}:", f"{shown(given)} is not an IP address")
    return given


class RelaySessionRequest(HidesSecrets, PlainData, frozen=True, omit_defaults=True):
    """The body that creates a session. It checks the arguments of `relays.create`. Its repr
    does not show the URL of the webhook.
    """

    secret_fields: ClassVar[frozenset[str]] = frozenset({"webhook_url"})

    users: tuple[str, ...]
    filters: tuple[dict[str, Any], ...] = ()
    webhook_url: str | None = None

    def __post_init__(self) -> None:
        users = tuple(_address("users", each) for each in sequence("users", self.users))
        if not users:
            fail("users", "must hold at least one IP address")
        filters = tuple(
            plain_object("filters", each) for each in sequence("filters", self.filters)
        )
        force_setattr(self, "users", users)
        force_setattr(self, "filters", filters)
        if self.webhook_url is not None:
            http_url("webhook_url", self.webhook_url)


class RelayAuthorization(PlainData, frozen=True):
    """The body that adds a user. It checks the arguments of `relays.authorize_user`."""

    session_id: str
    user_ip: str

    def __post_init__(self) -> None:
        force_setattr(self, "session_id", label("session_id", self.session_id))
        force_setattr(self, "user_ip", _address("user_ip", self.user_ip))


class RelayRevocation(HidesSecrets, PlainData, frozen=True):
    """The body that removes a user. It checks the arguments of `relays.revoke_user`."""

    secret_fields: ClassVar[frozenset[str]] = TOKEN

    session_id: str
    authorization_token: int

    def __post_init__(self) -> None:
        force_setattr(self, "session_id", label("session_id", self.session_id))
        given = plain_number(self.authorization_token)
        if not isinstance(given, int):
            # The error does not repeat it.
            kind = type(self.authorization_token).__name__
            fail("authorization_token", f"must be an int, not {kind}")
        if not 0 <= given <= LARGEST_TOKEN:
            fail("authorization_token", "must be the number that the API has given")
        force_setattr(self, "authorization_token", given)


class RelayUser(HidesSecrets, Answer, frozen=True, kw_only=True):
    """A player of a session. Its repr and `to_dict` leave out the token.

    Attributes:
        authorization_token: what the player's game sends to the relay.
    """

    secret_fields: ClassVar[frozenset[str]] = TOKEN

    ip_address: str | None = None
    latitude: Real = None
    longitude: Real = None
    authorization_token: Integer = None


class RelayPort(Answer, frozen=True, kw_only=True):
    """A port of a relay."""

    port: Integer = None
    protocol: str | None = None
    link: str | None = None


class Relay(Answer, frozen=True, kw_only=True):
    """A relay.

    Attributes:
        ports: `server` for the player who hosts the game, `client` for the others.
    """

    ip: str | None = None
    host: str | None = None
    ports: ByName[RelayPort] = field(default_factory=dict[str, RelayPort])


class _LinkedSession(HidesSecrets, Answer, frozen=True, kw_only=True):
    secret_fields: ClassVar[frozenset[str]] = SESSION_SECRETS

    session_id: str
    authorization_token: Integer = None
    status: str | None = None
    ready: Maybe[bool] = None
    linked: Maybe[bool] = None
    error: str | None = None
    relay: Maybe[Relay] = None
    webhook_url: str | None = None


class RelaySession(_LinkedSession, frozen=True, kw_only=True):
    """A session. Its repr and `to_dict` leave out its token and the URL of its webhook.

    Attributes:
        authorization_token: what the games of all players send to the relay.
        ready: whether players can connect.
        linked: whether it has a relay.
        error: why it has failed.
        session_users: its players, each with a token of their own.
    """

    session_users: Several[RelayUser] = ()


class AuthorizedUser(_LinkedSession, frozen=True, kw_only=True):
    """The answer when a player was added to a session. Its repr and `to_dict` leave out
    tokens and the URL of the webhook.

    Attributes:
        session_user: the player, with their token.
    """

    session_user: Maybe[RelayUser] = None


class RelaySessions(Page, frozen=True, kw_only=True):
    """A page of the organization's relay sessions."""

    sessions: Several[RelaySession] = ()
