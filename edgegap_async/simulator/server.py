"""The server: what happens to every request, in this order.

    delay_before -> counted, refused with 429? -> authorized? -> the deed -> delay_after -> answered
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from random import Random
from types import TracebackType
from typing import Literal, Self, TypeAlias, TypedDict

import msgspec
from aiohttp import web

from .._endpoint import LimitName
from ..endpoints import OPERATIONS
from .clock import Clock
from .container import environment
from .enforcement import LimitCounts, Rates, RuleName, gates
from .handlers import HANDLERS, Call, Handler, Reply
from .refusal import Refusal
from .world import Choices, Draw, Gone, World, drawn

FleetPath: TypeAlias = Literal["both", "page", "renamed"]
_Serve: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

_HOST = "127.0.0.1"
# A thousand clients may connect in one turn of the loop; the kernel cuts it to what it allows.
_BACKLOG = 65_535
# Seconds for which aiohttp waits for handlers at the end: there are none left by then, and 0 would mean for ever.
_SHUTDOWN = 0.001


class Counts(TypedDict):
    """What `Simulator.counts` gives: all that can be counted, as plain values."""

    limits: dict[LimitName, LimitCounts]
    deployed: list[str]
    running: list[str]
    stopped: list[str]


class Simulator:
    """Edgegap's dedicated-server API on loopback.

        async with Simulator(error_share=0.1) as sim:
            async with EdgegapSession("any token", base_url=sim.url) as edgegap:
                ...

    Deployments become ready with time, fail, stop and end; the documented limits are enforced; nothing leaves the
    machine. Time is the running loop's: under `VirtualTimeLoop` a day passes at once. It can be entered once.

    A list holds what exists, so nothing that is TERMINATED. Several filters, of a list or of a bulk stop, must all
    pass; a bulk stop without filters stops all. Every name is a private fleet with three hosts, made up when it is
    first asked for; a deploy to a host that nobody has listed yet goes to the cloud. A self-stop takes the bare delete
    token of its deployment (see `environment`) and no other. Whatever a request is, it counts under its limit.

    `GET /_simulator/counts` answers `counts()` as JSON; it takes no token and does not count.

    Args:
        token: the API token to accept; None accepts any. `Authorization: token <it>` is required either way.
        seed: of all that is left to chance: the same one gives the same IDs, times and failures.
        ready_after: seconds from the deploy until READY: a range, or a callable that says them.
        error_share: the share of deployments that end in ERROR instead of READY, from 0 to 1.
        enforcement: how requests are counted: `off`, `fixed-window`, `sliding-window`, `token-bucket` or `spacing`.
        rates: requests per second in place of the documented limits, by limit: `{"deploy": 25}`; None is no limit.
        spacing_tolerance: how many seconds early `spacing` still admits a request.
        retry_after: seconds that a 429 asks for in `Retry-After`; None leaves the header out.
        retry_after_form: write them as `seconds` or as a `date`, which then has a `Date` header beside it.
        delay_before: seconds before a request counts: a range, or a callable that says them.
        delay_after: seconds from the deed until it is answered, likewise.
        port: the port to listen on; 0 takes a free one.
        stop_takes: seconds from the beginning of a stop until TERMINATED.
        gone: what is known of a deployment that has ended: a status call answers `404`, `410`, `400` (with the
            message that clients look for) or 200 and TERMINATED (`terminated`); the others answer the same, or 404.
            An ID that never existed is 404, with `400` it is 400. A stop answers 410 and 404 in any case.
        newest_first: the order of a list that asks for none.
        max_page_size: the most deployments on a page; who asks for more gets so many.
        fleet_deploy: the path of the fleet deploy: the reference `page`'s, the `renamed` one, or `both`.

    Raises:
        ValueError: an argument is out of its range; the text names it.
    """

    def __init__(
        self,
        *,
        token: str | None = None,
        seed: int = 0,
        ready_after: Draw = (2.0, 5.0),
        error_share: float = 0.0,
        enforcement: RuleName = "sliding-window",
        rates: Rates | None = None,
        spacing_tolerance: float = SPACING_TOLERANCE,
        retry_after: float | None = None,
        retry_after_form: Literal["seconds", "date"] = "seconds",
        delay_before: Draw = (0.0, 0.0),
        delay_after: Draw = (0.0, 0.0),
        port: int = 0,
        stop_takes: float = 0.5,
        gone: Gone = "404",
        newest_first: bool = True,
        max_page_size: int = 100,
        fleet_deploy: FleetPath = "both",
    ) -> None:
        pass
