"""A server of lists, statuses and stops that shares no code with the simulator, so that
both can't be wrong together. What it does wrong is replaced from outside.

    server = ListServer({"c1": ["a"], "c2": ["b"]})
    server.tell = lambda body, number: {**body, "total_count": -5}
    async with server.session() as edgegap:
        ...
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from edgegap_async import EdgegapSession

Json = dict[str, Any]


def tagged(count: int, *tags: str, name: str = "c") -> dict[str, Sequence[str]]:
    """Return so many servers with these tags."""
    return {f"{name}{number}": tags for number in range(count)}


class ListServer:
    """Serves what is documented.

    Attributes:
        servers: the tags of each server by its ID, the oldest first.
        size: rows per page, if fewer are asked for, those.
        asked: how often each operation was called.
        stopped: IDs in the order of their stops.
        no_empty_pages: a page after the last one is answered 404.
        page_size: the rows of a page, by its number and the rows asked for.
        matches: whether a server passes a filter on tags with these values.
        tell: makes the body of a page what the server sends, given its number.
        row: makes the row of a server.
        status: makes the status of a server.
        stop: answers a stop.
        listing: called before each list with its number.
    """

    def __init__(self, servers: Mapping[str, Sequence[str]], size: int = 100) -> None:
        self.servers = dict(servers)
        self.asked: Counter[str] = Counter()
        self.stopped: list[str] = []
        self.no_empty_pages: bool = False
        self.page_size: Callable[[int, int], int] = lambda _, asked: min(asked, size)
        self.matches: Callable[[str, Sequence[str]], bool] = self._has_any
        self.tell: Callable[[Json, int], Json] = lambda body, _: body
        self.row: Callable[[str], Json] = lambda it: {"tags": [*self.servers[it]]}
        self.status: Callable[[str], Any] = self._status
        self.stop: Callable[[str], Any] = self._stop
        self.listing: Callable[[int], object] = lambda _: None

    def _has_any(self, request_id: str, values: Sequence[str]) -> bool:
        return not {*values}.isdisjoint(self.servers[request_id])

    def _passing(self, found: Iterable[str], each: Json) -> list[str]:
        """Return the servers that pass a filter."""
        values = each["value"] if isinstance(each["value"], list) else [each["value"]]
        passes = {
            "request_id": lambda it: it in values,
            "application": lambda _: "game" in values,
            "tags": lambda it: self.matches(it, values),
        }[each["field"]]
        negated = each["operator"] in ("neq", "nin")
        return [it for it in found if passes(it) is not negated]

    def ordered(self, found: list[str], query: Json) -> list[str]:
        """Return these IDs, the oldest first, in the order of the list."""
        newest = any(each["order"] == "desc" for each in query.get("order_by", ()))
        return found[::-1] if newest else found

    def _status(self, request_id: str) -> Any:
        if request_id not in self.servers:
            return 404, {"message": f"no deployment {request_id}"}
        return 200, {"tags": [*self.servers[request_id]], "app_name": "game"}

    def _stop(self, request_id: str) -> Any:
        if self.servers.pop(request_id, None) is None:
            return 410, {"message": f"deployment {request_id} has ended"}
        self.stopped.append(request_id)
        return 200, {"message": "stopped"}

    async def _listed(self, request: web.Request) -> web.Response:
        self.asked["list"] += 1
        number = int(request.query.get("page", 1))
        asked = int(request.query.get("limit", 10))
        self.listing(self.asked["list"])
        query = json.loads(request.query.get("query", "{}"))
        found = [*self.servers]
        for each in query.get("filters", ()):
            found = self._passing(found, each)
        found = self.ordered(found, query)
        size = self.page_size(number, asked)
        pages = max(1, -(-len(found) // size))
        if self.no_empty_pages and number > pages:
            return web.json_response({"message": "Invalid page."}, status=404)
        rows = found[(number - 1) * size : number * size]
        body = {
            "data": [{"request_id": it, **self.row(it)} for it in rows],
            "total_count": len(found),
            "pagination": {
                "number": number,
                "paginator": {"num_pages": pages},
                "has_next": number < pages,
            },
        }
        return web.json_response(self.tell(body, number))

    async def _answer(self, request: web.Request) -> web.Response:
        request_id = request.match_info["request_id"]
        name = "status" if request.method == "GET" else "stop"
        self.asked[name] += 1
        answer = (self.status if name == "status" else self.stop)(request_id)
        if asyncio.iscoroutine(answer):
            answer = await answer
        status, body = answer
        if isinstance(body, str):
            return web.Response(status=status, text=body, content_type="text/html")
        return web.json_response({"request_id": request_id, **body}, status=status)

    @asynccontextmanager
    async def session(self, **options: Any) -> AsyncIterator[EdgegapSession]:
        """Open a session on this server. A test that hangs fails after a day."""
        app = web.Application()
        app.router.add_get("/v1/deployments", self._listed)
        app.router.add_get("/v1/status/{request_id}", self._answer)
        app.router.add_delete("/v1/stop/{request_id}", self._answer)
        async with (
            asyncio.timeout(24 * 60 * 60),
            TestServer(app) as server,
            EdgegapSession(
                "made-up", base_url=str(server.make_url("")), **options
            ) as edgegap,
        ):
            yield edgegap


def without(body: Json, *path: str) -> Json:
    """Return a body without one of its fields."""
    first, *rest = path
    if rest:
        return {**body, first: without(body[first], *rest)}
    return {key: value for key, value in body.items() if key != first}


def with_pages(body: Json, told: Any) -> Json:
    """Return a page that tells this number of pages."""
    pagination = {**body["pagination"], "paginator": {"num_pages": told}}
    return {**body, "pagination": pagination}


def with_next(body: Json, told: Any) -> Json:
    """Return a page that tells this of whether another one follows."""
    return {**body, "pagination": {**body["pagination"], "has_next": told}}


def ids(rows: Iterable[Any]) -> set[str]:
    return {row.request_id for row in rows}
