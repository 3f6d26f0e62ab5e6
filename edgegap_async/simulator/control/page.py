"""Serves the files of the page. They are data of the package; nothing is built."""

from importlib.resources import files

from aiohttp import web

from .guard import SAFE_HEADERS

_DIRECTORY = files(__name__.rsplit(".", 2)[0]) / "page"
INDEX = "index.html"
_TYPES = {
    "html": "text/html",
    "css": "text/css",
    "js": "text/javascript",
    "json": "application/json",
    "svg": "image/svg+xml",
}
# Nothing but the simulator's own files and answers; no inline script or style.
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)


def page_file(name: str) -> web.Response | None:
    """Return a file of the page; None if there is no such file."""
    kind = _TYPES.get(name.rpartition(".")[2])
    # The names of the directory are compared, so that no path leads out of it.
    found = [each for each in _DIRECTORY.iterdir() if each.name == name]
    if not found or kind is None:
        return None
    return web.Response(
        body=found[0].read_bytes(),
        content_type=kind,
        charset="utf-8",
        headers={**SAFE_HEADERS, "Content-Security-Policy": _POLICY},
    )
