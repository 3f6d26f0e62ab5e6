"""Refuses requests that a web page of another origin has made.

A browser lets any web page send requests to a port of this machine. It can't read the
responses, but a request that changes something would be carried out. With DNS rebinding,
a page can even read: its own host name resolves to 127.0.0.1 then.

    the Host is a name of another machine         -> 403 (DNS rebinding)
    the Origin is another one                     -> 403
    a change, and Sec-Fetch-Site is another site  -> 403
    a change, and no JSON content type            -> 415 (an HTML form can't send JSON)
    a change, not on loopback, without the token  -> 401, or 403 if there is none

A simulator that listens to other machines does not check the Host, as it can't know its
names. There, the token protects it.
"""

from dataclasses import dataclass
from hmac import compare_digest
from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import web

from ..http.responses import JsonResponse, token_of

# In each response: other origins can't embed it, and nothing is stored.
SAFE_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_OWN_SITES = ("same-origin", "none")
_JSON = "application/json"


def is_loopback(host: str) -> bool:
    """Return whether a host name or an IP address means this machine only."""
    if host.lower().rstrip(".").split(".")[-1] == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Guard:
    """Decides which requests are carried out.

    Args:
        host: The host on which the simulator listens.
        token: The only API token that it accepts; None accepts any.
    """

    host: str
    token: str | None

    @property
    def needs_token(self) -> bool:
        """Whether changes, and the values of environments, need the token."""
        return not is_loopback(self.host)

    def has_token(self, request: web.Request) -> bool:
        """Return whether a request may do what needs the token."""
        if not self.needs_token:
            return True
        given = token_of(request.headers.get("Authorization", "").strip())
        return self.token is not None and compare_digest(
            given.encode(), self.token.encode()
        )

    def refusal(self, request: web.Request, *, changes: bool) -> JsonResponse | None:
        """Return the response to a request that is refused."""
        headers = request.headers
        host = headers.get("Host", "")
        if not self.needs_token and not is_loopback(_hostname(host)):
            return _forbidden(
                "the Host is not a name of this machine: use 127.0.0.1 or localhost"
            )
        origin = headers.get("Origin")
        if origin is not None and not _same(origin, host):
            return _forbidden("the Origin is another one than that of the simulator")
        if not changes:
            return None
        if headers.get("Sec-Fetch-Site", "none") not in _OWN_SITES:
            return _forbidden("the request was made by a page of another site")
        if request.content_type != _JSON:
            return JsonResponse(415, {"message": f"Content-Type must be {_JSON}"})
        return None if self.has_token(request) else self._unauthorized()

    def _unauthorized(self) -> JsonResponse:
        if self.token is None:
            return _forbidden(
                "a simulator that listens to other machines can be changed only if it "
                "was started with a token"
            )
        return JsonResponse(
            401, {"message": "changes need the header Authorization: token <token>"}
        )


def _forbidden(why: str) -> JsonResponse:
    return JsonResponse(403, {"message": f"Forbidden: {why}"})


def _hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _same(origin: str, host: str) -> bool:
    """Return whether an origin is that of a host and port."""
    scheme, _, netloc = origin.partition("://")
    return scheme in ("http", "https") and netloc.lower() == host.lower()
