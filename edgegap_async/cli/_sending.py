"""When is a deploy on its way? The HTTP session of a launch says it to whoever sends."""

from contextvars import ContextVar, Token
from types import SimpleNamespace, TracebackType

import aiohttp

REFUSED = 429

_sending: ContextVar["Sending | None"] = ContextVar("_sending", default=None)


class Sending:
    """A context in which requests are sent, and which is told of them."""

    _token: Token["Sending | None"]

    def begins(self) -> None:
        """A request is about to be sent; what this raises ends the call with nothing sent."""

    def over(self) -> None:
        """It was refused with 429, or no connection was to be had: it has started nothing."""

    def __enter__(self) -> None:
        self._token = _sending.set(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _sending.reset(self._token)


def _of(method: str) -> Sending | None:
    """Whose request this is; the look-ups of a session were born in the context of its first deploy, and only look."""
    return _sending.get() if method == "POST" else None


async def _start(
    session: aiohttp.ClientSession, context: SimpleNamespace, params: aiohttp.TraceRequestStartParams
) -> None:
    if sending := _of(params.method):
        sending.begins()


async def _end(session: aiohttp.ClientSession, context: SimpleNamespace, params: aiohttp.TraceRequestEndParams) -> None:
    sending = _of(params.method)
    if sending and params.response.status == REFUSED:
        sending.over()


async def _exception(
    session: aiohttp.ClientSession, context: SimpleNamespace, params: aiohttp.TraceRequestExceptionParams
) -> None:
    sending = _of(params.method)
    if sending and isinstance(params.exception, aiohttp.ClientConnectorError):
        sending.over()


def http_session() -> aiohttp.ClientSession:
    """As the SDK makes its own, with an ear for what is sent. The slots of the limits bound its connections."""
    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(_start)
    trace.on_request_end.append(_end)
    trace.on_request_exception.append(_exception)
    connector = aiohttp.TCPConnector(limit=0)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trace_configs=[trace])
