"""The proxy and the certificates that the environment asks for, read once per session.

aiohttp's own `trust_env` reads the variables and `.netrc` again for each request, in a
thread. It takes the credentials for the API from `.netrc`, too: those would replace the
token.
"""

import logging
import os
import ssl
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import NamedTuple
from urllib.parse import SplitResult, quote, urlsplit
from urllib.request import getproxies, proxy_bypass

from .._masking import without_frames
from ..models._check import fail
from ..models._urls import http_url, is_loopback

log = logging.getLogger("edgegap_async")
# OpenSSL reads the first two by itself. They go before the variables of other programs.
_OPENSSL_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
_BUNDLE_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


class Network(NamedTuple):
    """How the API is reached.

    Attributes:
        proxy: the URL of a proxy. It may hold a password. None: no proxy.
        certificates: what a certificate is checked against. None: aiohttp's default.
    """

    proxy: str | None = None
    certificates: ssl.SSLContext | None = None

    def __repr__(self) -> str:
        # The URL may hold a password.
        return f"<Network {'with' if self.proxy else 'without'} proxy>"


DIRECT = Network()


def network_of_environment(base_url: str) -> Network:
    """Return how to reach a base URL, as the variables of the environment ask for.

    The proxy is that of HTTPS_PROXY, HTTP_PROXY or ALL_PROXY, unless NO_PROXY names the
    host. No proxy is used for this machine. If its URL has no user name, the line of
    its host in `.netrc` is used.

    Raises:
        ValueError: a variable can't be used. The text names it and does not repeat its
            value, which may hold a password.
    """
    url = urlsplit(base_url)
    try:
        proxy = _proxy(url)
    except ValueError as error:
        raise without_frames(error)  # noqa: B904
    return Network(proxy, _certificates() if url.scheme == "https" else None)


def _proxy(url: SplitResult) -> str | None:
    if is_loopback(url.hostname) or proxy_bypass(url.netloc):
        return None
    proxies = getproxies()
    name = url.scheme if url.scheme in proxies else "all"
    given = proxies.get(name)
    if not given:
        return None
    variable = f"{name.upper()}_PROXY"
    if "://" not in given:
        given = f"http://{given}"
    if urlsplit(given).scheme.startswith("socks"):
        fail(
            variable,
            "names a SOCKS proxy, which is not supported: name an HTTP proxy, or pass http= with a connector "
            "for SOCKS",
        )
    parts = http_url(variable, given)
    if parts.username is not None:
        return given
    login = _login(parts.hostname or "")
    return parts._replace(netloc=f"{login}{parts.netloc}").geturl()


def _login(host: str) -> str:
    """Return the user name and the password for a host in `.netrc`, for a URL."""
    name = "_netrc" if os.name == "nt" else ".netrc"
    path = Path(os.environ.get("NETRC") or Path("~") / name).expanduser()
    try:
        hosts = netrc(path).hosts
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeError, NetrcParseError):
        # The text of the error may repeat a password.
        log.warning("%s can't be read: the proxy gets no user name from it", path)
        return ""
    # The default line is not meant for proxies.
    if host not in hosts:
        return ""
    user, _, password = hosts[host]
    return f"{quote(user, safe='')}:{quote(password or '', safe='')}@"


def _certificates() -> ssl.SSLContext | None:
    for name in (*_OPENSSL_VARIABLES, *_BUNDLE_VARIABLES):
        if not (path := os.environ.get(name)):
            continue
        if name == "SSL_CERT_DIR":
            # A list of directories, for OpenSSL.
            return ssl.create_default_context()
        try:
            if Path(path).is_dir():
                named = ssl.create_default_context(capath=path)
            else:
                # OpenSSL itself ignores a file that can't be read.
                named = ssl.create_default_context(cafile=path)
        except OSError as error:
            # This includes `ssl.SSLError`.
            fail(name, f"names certificates that can't be read: {error}")
        return ssl.create_default_context() if name in _OPENSSL_VARIABLES else named
    return None
