"""`EdgegapSession`: checks its arguments, owns the parts of a session, and offers its
namespaces.
"""

import logging
import os
from collections.abc import Mapping
from functools import partial
from math import inf
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias, Unpack
from warnings import warn

import aiohttp

from ._deploys.blocks import AsyncOnly
from ._deploys.leftovers import Leftover
from ._deploys.manager import DeployManager
from ._deploys.pending import OnIntent
from ._limits.config import Limits, LimitUsage
from ._limits.limiter import Limiter
from ._masking import made, revealed, secret_of
from ._transport.client import DEPLOY_TIMEOUT_FACTOR, Transport
from ._transport.environment import DIRECT, Network, network_of_environment
from ._transport.options import CallOptions
from ._transport.retry import Retry
from .endpoints import LimitName, Method
from .events import OnEvent
from .models._check import (
    fail,
    flag,
    instance,
    log_storage_query,
    one_of,
    optional_callables,
    optional_instance,
    optional_seconds,
    seconds,
)
from .models._urls import api_base_url, token_text
from .resources._in_use import OpenSession
from .resources._options import call_options
from .resources._raw import raw_body, raw_endpoint, raw_query
from .resources.apps import Apps
from .resources.deployments import Deployments
from .resources.locations import Locations
from .resources.private_fleets import PrivateFleets
from .resources.pull_profiles import PullProfiles
from .resources.registry import Registry
from .resources.relays import Relays
from .resources.storage import Storage
from .resources.tags import Tags
from .resources.versions import Versions

# Most sessions have no webhooks and no shared state.
if TYPE_CHECKING:
    from ._deploys.journal import Journal
    from ._deploys.relay import Relay
    from ._shared.budget import SharedBudget
    from ._shared.config import SharedState
    from .webhooks import WebhookReceiver

# Whether deploys go on while the journal can't be written.
JournalMode: TypeAlias = Literal["best-effort", "required"]
JOURNAL_MODES: tuple[JournalMode, ...] = ("best-effort", "required")

log: logging.Logger = logging.getLogger("edgegap_async")
TOKEN_VARIABLE = "EDGEGAP_API_TOKEN"
BASE_URL_VARIABLE = "EDGEGAP_BASE_URL"
BASE_URL = "https://api.edgegap.com"


class EdgegapSession(AsyncOnly):
    """A session with Edgegap's API. Open one per application, where the application
    starts, and close it where it ends.

    Use it as an async context manager, or `await session.aclose()`. It belongs to the
    event loop of its first call.

    Args:
        token: the API token, with or without the word `token` before it; else
            EDGEGAP_API_TOKEN.
        base_url: else EDGEGAP_BASE_URL, else Edgegap's own.
        limits: the limits to keep; not given: the documented ones.
        retry: how often and how fast a failed request is retried.
        timeout: seconds for each call as a whole, with its time in the queue and all
            retries; None: no end.
        attempt_timeout: seconds for one exchange with the server. A deploy gets twice
            as long.
        http: an `aiohttp.ClientSession` of yours, with your proxy or TLS settings. It
            is never closed here. Its middlewares are not run, and its
            `raise_for_status` is overridden. Give its connector a
            `keepalive_timeout` of 1: if a balancer has closed an idle connection, the
            outcome of a deploy on it is unknown at first.
        trust_env: reach the API as the environment says: through the proxy of
            HTTPS_PROXY, HTTP_PROXY or ALL_PROXY, except for the hosts of NO_PROXY and
            this machine, with its user and password from the URL or `.netrc`; and trust
            the certificates of SSL_CERT_FILE, SSL_CERT_DIR, REQUESTS_CA_BUNDLE or
            CURL_CA_BUNDLE. All are read once, when the session is made. Not with
            `http`, which has its own settings.
        allow_insecure: allow `http://` to another machine, which sends the token in
            clear text.
        on_event: called with an `Event` for each attempt and each call that ends, and
            for each server that is ready, stopped or has ended. It is called in the
            event loop, so it must be quick. An error that it raises is logged, and the
            call goes on.
        deploy_once: if the outcome of a deploy is unknown, search for a tag that was
            sent with it, and deploy again only if nothing was started. The tag, `once-`
            and 15 hex digits, is visible wherever tags are.
        cleanup_timeout: seconds that closing waits until orphaned servers are stopped,
            and that leaving `running(...)` waits until its stop is accepted.
        container_log_storage: where the API keeps the logs of the servers that the
            session stops by itself: True, False, or the name of an endpoint storage.
        on_intent: called with the tag of each deploy before anything is sent, so that
            `deployments.reap` can find the servers that a crash has left running. An
            error that it raises ends the deploy, before anything is sent. A deploy
            without `deploy_once` has no tag.
        webhooks: the receiver of your web application. Each deploy then asks for
            webhooks under URLs that the receiver has signed, unless you gave URLs of
            your own, and waiters learn at once. Lost webhooks are made up for by
            polling. With `shared`, and a common secret of the receivers, a webhook that
            another process has received arrives too.
        shared: where the processes of your organization share their state. The session
            keeps a journal there of what it is responsible for. If its process dies,
            another session with an equal `shared` stops these servers, or the next one
            that is opened.
        journal: "best-effort": while the journal can't be written, there is one warning,
            and deploys go on. "required": they end with `JournalUnavailable`, and
            nothing is sent.

    Attributes:
        webhooks: the receiver that it was given.

    Raises:
        ValueError: an argument is wrong; the text names it.
        ModuleNotFoundError: `shared` needs the extra `redis`.
    """

    def __init__(
        self,
        token: str | None = None,
        *,
        base_url: str | None = None,
        limits: Limits | None = None,
        retry: Retry | None = None,
        timeout: float | None = 60.0,
        attempt_timeout: float = 15.0,
        http: aiohttp.ClientSession | None = None,
        trust_env: bool = False,
        allow_insecure: bool = False,
        on_event: OnEvent | None = None,
        deploy_once: bool = True,
        cleanup_timeout: float = 8.0,
        container_log_storage: bool | str | None = None,
        on_intent: OnIntent | None = None,
        webhooks: "WebhookReceiver | None" = None,
        shared: "SharedState | None" = None,
        journal: JournalMode | None = None,
    ) -> None:
        super().__init__("`async with EdgegapSession(...) as edgegap:`")
        secret = secret_of(_token, token)
        del token
        optional_callables(on_event=on_event, on_intent=on_intent)
        url = _base_url(base_url, allow_insecure=allow_insecure)
        sharing = _sharing(shared, url, secret)
        self._transport = Transport(
            url,
            revealed(secret),
            http=optional_instance("http", http, aiohttp.ClientSession),
            network=_network(url, trust_env, http),
            limits=optional_instance("limits", limits, Limits) or Limits(),
            retry=optional_instance("retry", retry, Retry) or Retry(),
            timeout=optional_seconds("timeout", timeout),
            attempt_timeout=seconds("attempt_timeout", attempt_timeout),
            on_event=on_event,
            sharing=sharing,
        )
        _warn_of_small_pool(http, self._transport.connections)
        self.webhooks: WebhookReceiver | None = _receiver(webhooks)
        self._deploys = DeployManager(
            self._transport,
            once=flag("deploy_once", deploy_once),
            cleanup_timeout=seconds("cleanup_timeout", cleanup_timeout, zero=True),
            stop_query=log_storage_query(container_log_storage),
            on_intent=on_intent,
            webhooks=self.webhooks,
            journal=_journal(sharing, journal, attempt_timeout),
            relay=_relay(sharing, self.webhooks),
        )
        self._session = OpenSession(self._transport, self._deploys.closing.close_soon)
        self.deployments: Deployments = Deployments(
            self._transport, self._deploys, self._session
        )
        self.locations: Locations = Locations(self._transport, self._session)
        self.private_fleets: PrivateFleets = PrivateFleets(
            self._transport, self._deploys, self._session
        )
        self.tags: Tags = Tags(self._transport, self._session)
        self.apps: Apps = Apps(self._transport, self._session)
        self.relays: Relays = Relays(self._transport, self._session)
        self.storage: Storage = Storage(self._transport, self._session)
        self.pull_profiles: PullProfiles = PullProfiles(self._transport, self._session)
        self.registry: Registry = Registry(self._transport, self._session)
        self.versions: Versions = Versions(self._transport, self._session)

    async def request(
        self,
        method: Method,
        path: str,
        *,
        query: Mapping[str, str | int | float | bool | None] | None = None,
        body: object = None,
        **options: Unpack[CallOptions],
    ) -> Any:
        """Call an operation of the API that has no method here, under the same limits,
        retries and errors.

            found = await edgegap.request("GET", "/v1/ip/203.0.113.7/lookup")

        An operation of the table in `docs/reference/operations.md` counts for its own
        limit, all others for "other". A deploy that is sent so has no tag, and its server
        is yours alone. In events, the path is this one, and the operation is "request".

        Args:
            method: GET, POST, PUT, PATCH or DELETE. A GET or DELETE whose answer is lost
                is sent again.
            path: from the host on, without a query. Characters that a path can't hold
                are percent-encoded.
            query: the parameters of the URL; None leaves one out.
            body: anything that JSON can hold, or that msgspec can encode. None: no
                body.
            options: see `CallOptions`.

        Returns:
            The JSON of the answer, as dicts, lists, texts, numbers, bools and None. None
            if there is none.

        Raises:
            ValueError: an argument is wrong; nothing was sent.
            EdgegapError: see the tree in `errors`.
        """
        content = made(partial(raw_body, body))
        del body
        endpoint = raw_endpoint(method, path)
        return await self._transport.call(
            endpoint,
            body=revealed(content),
            query=raw_query(query),
            **call_options(self.request, options),
        )

    @property
    def base_url(self) -> str:
        """The base URL of the API, without a final slash."""
        return self._transport.base_url

    def usage(self) -> Mapping[LimitName, LimitUsage]:
        """How each limit is used at the moment: deploy, status, list and other."""
        return {
            name: limiter.usage() for name, limiter in self._transport.limiters.items()
        }

    @property
    def held(self) -> int:
        """How many servers the session has to stop at the moment: those of open blocks, and
        those whose stop the API has not accepted yet.
        """
        return self._deploys.records.due

    @property
    def leftovers(self) -> tuple[Leftover, ...]:
        """After closing: what may still be running, as (request_id or None, tag or
        None). It is logged as a warning too.

        A tag stands for a deploy whose outcome is unknown. A server may be running under
        it, or may turn up within five minutes; `deployments.reap` searches again.
        (None, None) stands for deploys with `once=False` whose outcome nobody got: they
        have no tag to search for.
        """
        return self._deploys.leftovers.found

    @property
    def watched_tags(self) -> tuple[str, ...]:
        """After closing: the tags of lost deploys of the last five minutes under which no
        server was found. A server turns up under one only if the API has processed a
        lost request very late. To be sure, list them with `deployments.find` after a few
        minutes.
        """
        return self._deploys.closing.watched_tags

    async def aclose(self) -> None:
        """Close the session. Calls in progress end with `SessionClosed`. Orphaned
        servers are stopped, for at most `cleanup_timeout`; the rest is in `leftovers`.
        Closing a second time only waits until the first has ended. If it is cancelled
        meanwhile, it finishes first, and then raises the cancellation.

        After its loop has ended, it only releases what it holds. A session that nobody
        has closed closes itself when its loop is shut down (`asyncio.run` does that).
        """
        self._session.closed = True
        await self._deploys.closing.aclose()

    async def __aenter__(self) -> Self:
        self._transport.enter()
        self._deploys.leases.opened()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        if not hasattr(self, "_deploys"):
            # A debugger or an error tracker shows it while its arguments are checked.
            return "<EdgegapSession>"
        state = "closed" if self._transport.closed else "open"
        used = ", ".join(
            f"{name} {usage.waiting} waiting {usage.in_flight} in flight"
            for name, usage in self.usage().items()
            if usage.waiting or usage.in_flight
        )
        return f"<EdgegapSession {self._transport.base_url} {state}{': ' if used else ''}{used}>"


def limiters_of(session: EdgegapSession) -> Mapping[LimitName, Limiter] | None:
    """The limiters of a session, for `integrations`. None: it is closed, or was never used."""
    transport = session._transport  # pyright: ignore[reportPrivateUsage]
    unused = transport.loop is None
    return None if transport.closed or unused else transport.limiters


def _receiver(given: object) -> "WebhookReceiver | None":
    if given is None:
        return None
    from .webhooks import WebhookReceiver

    return instance("webhooks", given, WebhookReceiver)


def _sharing(shared: object, url: str, token: object) -> "SharedBudget | None":
    if shared is None:
        return None
    from ._shared.budget import SharedBudget
    from ._shared.config import SharedState

    checked = instance("shared", shared, SharedState)
    return SharedBudget(checked, checked.key_for(url, str(token)))


def _journal(
    sharing: "SharedBudget | None", mode: object, attempt_timeout: float
) -> "Journal | None":
    if sharing is None:
        if mode is not None:
            fail("journal", "needs shared=SharedState(...), where it is stored")
        return None
    from ._deploys.journal import Journal

    chosen = one_of("journal", mode or JOURNAL_MODES[0], JOURNAL_MODES)
    return Journal(
        *sharing,
        required=chosen == "required",
        sending=attempt_timeout * DEPLOY_TIMEOUT_FACTOR,
    )


def _relay(
    sharing: "SharedBudget | None", receiver: "WebhookReceiver | None"
) -> "Relay | None":
    if sharing is None or receiver is None:
        return None
    if not receiver.relay_keys:
        log.info(
            "webhooks are not passed on to other processes, as the receiver has a random secret: behind one URL, give "
            "all of them the same WebhookReceiver(url, secret=...)"
        )
        return None
    from ._deploys.relay import Relay

    return Relay(*sharing, receiver, receiver.relay_keys)


def _base_url(given: str | None, *, allow_insecure: bool) -> str:
    insecure = flag("allow_insecure", allow_insecure)
    if given is not None:
        return api_base_url("base_url", given, allow_insecure=insecure)
    url = os.environ.get(BASE_URL_VARIABLE) or BASE_URL
    return api_base_url(BASE_URL_VARIABLE, url, allow_insecure=insecure)


def _token(given: object) -> str:
    token = os.environ.get(TOKEN_VARIABLE) if given is None else given
    if token is None:
        fail("token", f"is missing: give one, or set {TOKEN_VARIABLE}")
    bare: object = bare_token(token) if isinstance(token, str) else token
    return token_text(TOKEN_VARIABLE if given is None else "token", bare)


def bare_token(token: str) -> str:
    """A token without the word `token` before it."""
    word, _, rest = token.strip().partition(" ")
    return rest if rest and word.lower() == "token" else token.strip()


def _network(url: str, trust_env: bool, http: object) -> Network:
    if not flag("trust_env", trust_env):
        return DIRECT
    if http is not None:
        fail(
            "trust_env",
            "can't be used with http=, which has settings of its own: aiohttp.ClientSession(trust_env=True)",
        )
    return network_of_environment(url)


def _warn_of_small_pool(http: aiohttp.ClientSession | None, needed: float) -> None:
    connector = http.connector if http else None
    sizes = () if connector is None else (connector.limit, connector.limit_per_host)
    # A 0 of aiohttp's means no limit.
    smallest = min((size for size in sizes if size), default=inf)
    if smallest < needed:
        wanted = "as many" if needed == inf else f"{needed:g}"
        warn(
            f"http= has a pool of {smallest:g} connections and the limits allow {wanted} requests at a time: calls "
            f"will wait for connections; use aiohttp.TCPConnector(limit={0 if needed == inf else int(needed)})",
            stacklevel=3,
        )
