"""`session.relays`: players that connect to each other through a relay."""

from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from ipaddress import IPv4Address, IPv6Address
from typing import TypeAlias, Unpack, cast

from .._masking import made, revealed
from .._transport.client import Transport
from .._transport.options import CallOptions
from ..endpoints import (
    AUTHORIZE_RELAY_USER,
    CREATE_RELAY,
    DELETE_RELAY,
    RELAY,
    RELAYS,
    REVOKE_RELAY_USER,
)
from ..models._check import whole_number
from ..models.relay import (
    AuthorizedUser,
    RelayAuthorization,
    RelayRevocation,
    RelaySession,
    RelaySessionRequest,
    RelaySessions,
)
from ._in_use import OpenSession
from ._options import all_rows, call_options, page_query

Address: TypeAlias = str | IPv4Address | IPv6Address


class Relays:
    """Relay sessions, for games in which a player hosts the match. Every method takes
    `timeout`, seconds for the whole call, and raises `EdgegapError`.
    """

    def __init__(self, transport: Transport, session: OpenSession) -> None:
        self._transport, self._session = transport, session

    async def create(
        self,
        users: Sequence[Address],
        *,
        filters: Sequence[Mapping[str, object]] = (),
        webhook_url: str | None = None,
        **options: Unpack[CallOptions],
    ) -> RelaySession:
        """Create a session (POST /v1/relays/sessions). A request whose answer was lost is
        not sent again: `iterate` shows whether there is one.

        Args:
            users: the IP addresses of the players, at least one.
            filters: conditions on locations, in the API's own form.
            webhook_url: the URL that the API calls once the session is ready.
            timeout: seconds for the whole call.
        """
        body = made(
            partial(
                RelaySessionRequest,
                # The body checks and converts them.
                cast("tuple[str, ...]", users),
                cast("tuple[dict[str, object], ...]", filters),
                webhook_url,
            )
        )
        del webhook_url
        return await self._transport.call(
            CREATE_RELAY, body=revealed(body), **call_options(self.create, options)
        )

    async def get(
        self, session_id: str, **options: Unpack[CallOptions]
    ) -> RelaySession:
        """One session (GET /v1/relays/sessions/{session_id})."""
        return await self._transport.call(
            RELAY, {"session_id": session_id}, **call_options(self.get, options)
        )

    async def list(
        self,
        *,
        page: int | None = None,
        limit: int | None = None,
        **options: Unpack[CallOptions],
    ) -> RelaySessions:
        """One page of the organization's sessions (GET /v1/relays/sessions).

        Args:
            page, limit: which page, and rows per page, from 1. Not given: the API
                decides.
            timeout: seconds for the whole call.
        """
        return await self._transport.call(
            RELAYS, query=page_query(page, limit), **call_options(self.list, options)
        )

    def iterate(
        self, *, page_size: int = 100, **options: Unpack[CallOptions]
    ) -> AsyncIterator[RelaySession]:
        """All sessions, page by page, none of them twice (GET /v1/relays/sessions).

        Args:
            page_size: rows to ask for at once; the API may return fewer.
            timeout: seconds for each page.
        """
        whole_number("page_size", page_size, 1)
        call_options(self.iterate, options)

        async def ask(number: int) -> RelaySessions:
            return await self.list(page=number, limit=page_size, **options)

        return all_rows(
            RELAYS, ask, lambda page: page.sessions, lambda it: it.session_id
        )

    async def delete(self, session_id: str, **options: Unpack[CallOptions]) -> None:
        """End a session (DELETE /v1/relays/sessions/{session_id})."""
        await self._transport.call(
            DELETE_RELAY,
            {"session_id": session_id},
            **call_options(self.delete, options),
        )

    async def authorize_user(
        self, session_id: str, user_ip: Address, **options: Unpack[CallOptions]
    ) -> AuthorizedUser:
        """Add a player to a session (POST /v1/relays/sessions:authorize-user). A request
        whose answer was lost is not sent again: `get` shows the players.

        Args:
            user_ip: the IP address of the player.
            timeout: seconds for the whole call.

        Raises:
            Conflict: the player is in it already.
        """
        body = RelayAuthorization(session_id, cast("str", user_ip))
        return await self._transport.call(
            AUTHORIZE_RELAY_USER,
            body=body,
            **call_options(self.authorize_user, options),
        )

    async def revoke_user(
        self,
        session_id: str,
        authorization_token: int,
        **options: Unpack[CallOptions],
    ) -> None:
        """Remove a player from a session (POST /v1/relays/sessions:revoke-user).

        Args:
            authorization_token: that of the player, not that of the session.
            timeout: seconds for the whole call.
        """
        body = made(partial(RelayRevocation, session_id, authorization_token))
        del authorization_token
        await self._transport.call(
            REVOKE_RELAY_USER,
            body=revealed(body),
            **call_options(self.revoke_user, options),
        )
