"""The questions that reading answers. Nothing is started, changed or stopped."""

import asyncio
import secrets
import statistics
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, cast

import msgspec

from ..endpoints import FLEET_DEPLOY, FLEET_DEPLOY_RENAMED, LIST, STATUS
from ..errors import ApiError, Unauthorized
from ..session import EdgegapSession
from .findings import Diagnosis, Finding, Value, finding

# Calls whose times are compared.
TIMED = 3
# More rows than a page may have.
MANY = 1000
DEFAULT_PAGE, LARGEST_PAGE = 10, 100
# Seconds by which clocks may differ: the header has whole seconds, and the answer takes
# some time.
SKEW = 3.0
FLEET_PATHS = {"page": FLEET_DEPLOY.path, "renamed": FLEET_DEPLOY_RENAMED.path}
ACCEPTED = 202
# What the server answers to a path that it does not have.
NO_PATH = (404, 405)
FEW = "there are too few deployments"


class _Look:
    """What several questions need: a session, and what was read so far.

    Attributes:
        rows: of the first page.
        has_next: whether there are more.
    """

    def __init__(self, edgegap: EdgegapSession) -> None:
        self._edgegap = edgegap
        self.rows: list[dict[str, Any]] = []
        self.page: Mapping[str, Any] = {}
        self.has_next = False

    async def get(self, path: str, **query: str | int) -> Mapping[str, Any]:
        """Return the object of an answer. An answer that is none has no fields."""
        answer = await self._edgegap.request("GET", path, query=query)
        return cast("dict[str, Any]", answer) if isinstance(answer, dict) else {}

    async def status_of(self, path: str, **query: str | int) -> ApiError | None:
        """Return the error that a path is answered with. None: it is a success."""
        try:
            await self.get(path, **query)
        except ApiError as error:
            return error
        return None

    async def post_nothing(self, path: str) -> int:
        """Send an empty body, which no deploy can have. Return the status."""
        try:
            answer = await self._edgegap.request("POST", path, body={})
        except ApiError as error:
            return error.status
        if isinstance(answer, dict):
            # It should have been refused. If it has started a server, that is stopped.
            made = cast("dict[str, object]", answer).get("request_id")
            if isinstance(made, str):
                await self._edgegap.deployments.ensure_stopped(made)
        return ACCEPTED

    async def listed(self, **query: str | int) -> list[dict[str, Any]]:
        """Return the rows of a list, as they are."""
        return _rows(await self.get(LIST.path, **query))

    async def filtered(self, field: str, value: str) -> list[dict[str, Any]]:
        operator, wanted = ("in", [value]) if field == "tags" else ("eq", value)
        asked = [{"field": field, "operator": operator, "value": wanted}]
        query = msgspec.json.encode({"filters": asked}).decode()
        return await self.listed(query=query, limit=LARGEST_PAGE)


def _rows(page: Mapping[str, Any]) -> list[dict[str, Any]]:
    data: object = page.get("data")
    rows = cast("list[object]", data) if isinstance(data, list) else []
    return [cast("dict[str, Any]", row) for row in rows if isinstance(row, dict)]


def _has_next(page: Mapping[str, Any]) -> bool:
    pagination: object = page.get("pagination")
    if not isinstance(pagination, dict):
        return False
    return cast("dict[str, object]", pagination).get("has_next") is True


def _first_tag(rows: list[dict[str, Any]]) -> object:
    for row in rows:
        tags: object = row.get("tags")
        if isinstance(tags, list) and tags:
            return cast("list[object]", tags)[0]
    return None


async def examine(edgegap: EdgegapSession) -> Diagnosis:
    """Answer all questions that reading can answer (GET /v1/deployments and /v1/status, and
    a POST without a body to the paths of the fleet deploy, which starts nothing).

    Args:
        edgegap: the session whose account is examined. It makes about 25 requests.

    Raises:
        Unauthorized: the token is refused.
        EdgegapError: the API can't be reached, or fails.
    """
    look = _Look(edgegap)
    found = [each async for each in _answers(look)]
    return Diagnosis(
        checked=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        target=edgegap.base_url,
        findings=tuple(found),
    )


async def _answers(look: _Look) -> AsyncIterator[Finding]:
    for each in (_token, _pages, _rows_of_lists, _filters, _errors, _fleet):
        async for answer in each(look):
            yield answer


async def _token(look: _Look) -> AsyncIterator[Finding]:
    look.page = await look.get(LIST.path)
    look.rows = _rows(look.page)
    look.has_next = _has_next(look.page)
    yield finding("token", "Is the token accepted?", True, True)
    loop = asyncio.get_running_loop()
    times: list[float] = []
    for _ in range(TIMED):
        began = loop.time()
        await look.get(LIST.path, limit=1)
        times.append(loop.time() - began)
    middle = round(statistics.median(times), 3)
    yield finding("round_trip", "How many seconds does a small list take?", middle)


async def _pages(look: _Look) -> AsyncIterator[Finding]:
    size = len(look.rows) if look.has_next else None
    yield finding(
        "default_page",
        "How many rows has a page without `limit`?",
        size,
        DEFAULT_PAGE,
        "" if size else f"{FEW}: {len(look.rows)}",
    )
    page = await look.get(LIST.path, limit=MANY)
    rows = _rows(page)
    more = _has_next(page)
    yield finding(
        "largest_page",
        "How many rows has a page at most?",
        len(rows) if more else None,
        LARGEST_PAGE,
        "" if more else f"{FEW}: {len(rows)}",
    )
    look.rows = rows or look.rows


async def _rows_of_lists(look: _Look) -> AsyncIterator[Finding]:
    rows = look.rows
    with_tags = all(isinstance(row.get("tags"), list) for row in rows) if rows else None
    yield finding("row_tags", "Do rows of a list tell their tags?", with_tags, True)
    total = isinstance(look.page.get("total_count"), int)
    yield finding("total_count", "Does a list count all matches?", total, True)
    times = [str(row["start_time"]) for row in rows if row.get("start_time")]
    newest = times == sorted(times, reverse=True)
    oldest = times == sorted(times)
    order: Value = None
    if newest is not oldest:
        order = newest
    elif not (newest or oldest):
        order = False
    yield finding(
        "newest_first",
        "Are the newest deployments listed first?",
        order,
        True,
        FEW if order is None else "",
    )


async def _filters(look: _Look) -> AsyncIterator[Finding]:
    first = look.rows[0] if look.rows else {}
    request_id = first.get("request_id")
    app: Mapping[str, Any] = {}
    if isinstance(request_id, str):
        try:
            app = await look.get(STATUS.path.format(request_id=request_id))
        except ApiError:
            # It has ended since.
            app = {}
    real: dict[str, object] = {
        "request_id": request_id,
        "tags": _first_tag(look.rows),
        "application": app.get("app_name"),
        "version": app.get("app_version"),
    }
    for field, value in real.items():
        found, note = await _filter(look, field, value)
        yield _honoured(field, found, note)
    yield _honoured("status", *await _filter_status(look))


def _honoured(field: str, found: Value, note: str) -> Finding:
    question = f"Is the filter on {field} of a list honoured?"
    return finding(f"filter_{field}", question, found, "honoured", note)


async def _filter_status(look: _Look) -> tuple[Value, str]:
    """Ask for those that failed and for those that are READY. A state that there is not
    may be refused.
    """
    try:
        if any(_is_ready(row) for row in await look.filtered("status", "error")):
            return "ignored", ""
        if not any(_is_ready(row) for row in look.rows):
            return None, "no deployment is READY"
        found = await look.filtered("status", "ready")
        return ("honoured" if found else "empty"), ""
    except Unauthorized:
        raise
    except ApiError as error:
        return "refused", f"{error.status}: {error.message[:80]}"


def _is_ready(row: Mapping[str, Any]) -> bool:
    return row.get("ready") is True


async def _filter(look: _Look, field: str, real: object) -> tuple[Value, str]:
    """Ask for a value that can't exist, and for one that does."""
    try:
        strangers = await look.filtered(field, f"doctor-{secrets.token_hex(6)}")
        if strangers:
            return "ignored", ""
        if not look.rows:
            return None, FEW
        if not isinstance(real, str):
            return None, "no deployment has a value to look for"
        return ("honoured" if await look.filtered(field, real) else "empty"), ""
    except Unauthorized:
        raise
    except ApiError as error:
        return "refused", f"{error.status}: {error.message[:80]}"


async def _errors(look: _Look) -> AsyncIterator[Finding]:
    unknown = await look.status_of(STATUS.path.format(request_id=secrets.token_hex(6)))
    yield finding(
        "not_found",
        "What is the status of a deployment that never existed?",
        unknown.status if unknown else 200,
        404,
        unknown.message[:80] if unknown else "",
    )
    yield _skew(unknown)
    wrong = await look.status_of(LIST.path, query="{")
    yield finding(
        "bad_request",
        "What is a malformed query answered with?",
        wrong.status if wrong else 200,
        400,
        wrong.message[:80] if wrong else "",
    )


def _skew(error: ApiError | None) -> Finding:
    question = "By how many seconds is the server's clock ahead of this one?"
    try:
        headers: Mapping[str, str] = error.headers if error else {}
        there = parsedate_to_datetime(headers["date"])
        seconds = round((there - datetime.now(UTC)).total_seconds(), 1)
    except (KeyError, TypeError, ValueError):
        return finding("clock_skew", question, None, note="there is no Date header")
    return Finding(
        name="clock_skew",
        question=question,
        found=seconds,
        assumed=0,
        differs=abs(seconds) > SKEW,
    )


async def _fleet(look: _Look) -> AsyncIterator[Finding]:
    there = [
        name
        for name, path in FLEET_PATHS.items()
        if await look.post_nothing(path) not in NO_PATH
    ]
    found = {0: "none", 1: there[0] if there else "", 2: "both"}[len(there)]
    question = "Which paths does the deploy of a private fleet have?"
    note = "; ".join(f"{name}: {path}" for name, path in FLEET_PATHS.items())
    yield finding("fleet_deploy", question, found, note=note)
