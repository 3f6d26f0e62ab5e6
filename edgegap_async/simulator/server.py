"""The door: `Simulator`, the API on loopback."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Literal, Self, TypeAlias, TypedDict, get_args

from aiohttp import web

from .._endpoint import LimitName
from ..endpoints import OPERATIONS
from .faults.fault import Fault
from .faults.injector import Mischief
from .http.container import environment
from .http.handlers import Reply
from .http.pipeline import Exchange, Manners
from .http.responses import RetryAfter, RetryAfterForm, answer
from .http.serving import Served, in_json
from .http.webhooks import WebhookCounts, Webhooks
from .rate_limits import SPACING_TOLERANCE, LimitCounts, Rates, RuleName, gates
from .world.clock import Clock
from .world.options import Draw
from .world.world import Choices, Gone, World

FleetPath: TypeAlias = Literal["both", "page", "renamed"]

_HOST = "127.0.0.1"
_COUNTS_PATH = "/_simulator/counts"
# A thousand clients may connect in one turn of the loop; the kernel cuts it to what it
# allows.
_BACKLOG = 65_535
# Seconds for which aiohttp waits for handlers at the end: there are none left by then,
# and 0 would mean for ever.
_SHUTDOWN = 0.001


class Counts(TypedDict):
    """What `Simulator.counts` gives: plain values, ready for JSON."""

    limits: dict[LimitName, LimitCounts]
    deployed: list[str]
    running: list[str]
    stopped: list[str]
    faulted: dict[str, int]
    webhooks: WebhookCounts


class Simulator:
    """Edgegap's dedicated-server API on loopback.

        async with Simulator(error_share=0.1) as sim:
            async with EdgegapSession("any-token", base_url=sim.url) as edgegap:
                ...

    Deployments become ready with time, fail, stop and end; the documented limits are
    enforced; nothing leaves the machine. Time is the running loop's: under
    `VirtualTimeLoop` a day passes at once. A simulator is entered once.

    A list holds what exists, so nothing that is TERMINATED. Several filters, of a list
    or of a bulk stop, must all pass; a bulk stop without filters stops all. Every name
    is a private fleet with three hosts, made up when it is first asked for; a deploy to
    a host that nobody has listed yet goes to the cloud. A self-stop takes the bare
    delete token of its deployment (see `environment`) and no other. Whatever a request
    is, it counts under its limit.

    Webhooks that a deploy asks for are sent when the deployment becomes READY, goes to
    ERROR, or is TERMINATED: a POST with the body of a status, once, with ten seconds
    for an answer, two hundred at a time. They can overtake the deploy's own answer. One
    that is stopped before it is READY or in ERROR tells only its end.

    `GET /_simulator/counts` answers `counts()` as JSON; it takes no token and does not
    count.

    Args:
        token: the API token to accept; None accepts any. `Authorization: token <it>` is
            required either way.
        seed: of all that is left to chance: the same one gives the same IDs, times and
            failures.
        ready_after: seconds from the deploy until READY: a range, or a callable that
            says them.
        error_share: the share of deployments that end in ERROR instead of READY, from 0
            to 1.
        enforcement: how requests are counted: `off`, `fixed-window`, `sliding-window`,
            `token-bucket` or `spacing`.
        rates: requests per second in place of the documented limits: `{"deploy": 25}`;
            None is no limit.
        spacing_tolerance: how many seconds early `spacing` still admits a request.
        retry_after: seconds that a 429 asks for in `Retry-After`; None leaves the
            header out.
        retry_after_form: write them as `seconds`, or as a `date` (in whole seconds)
            with a `Date` beside it.
        delay_before: seconds before a request counts: a range, or a callable that says
            them.
        delay_after: seconds from the deed until it is answered, likewise.
        port: the port to listen on; 0 takes a free one.
        stop_takes: seconds from the beginning of a stop until TERMINATED.
        gone: what is known of a deployment that has ended: a status call answers `404`,
            `410`, `400` (with the message that clients look for), or 200 and TERMINATED
            (`terminated`); the other calls answer the same, or 404. An ID that never
            existed is 404, with `400` it is 400. A stop answers 410 and 404 in any
            case.
        newest_first: the order of a list that asks for none.
        max_page_size: the most deployments on a page; who asks for more gets so many.
        fleet_deploy: the path of the fleet deploy: the reference `page`'s, the
            `renamed` one, or `both`.
        faults: what goes wrong: `[Fault("deploy", "cut-after", 0.05)]`.
        others: so many deployments of others in the same organization: READY and older
            than all that is deployed here, with no end of their own. They are in lists,
            and stop like any other; `deployed` and `running` leave them out, `stopped`
            does not: who stops what is not theirs shall see it.

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
        retry_after_form: RetryAfterForm = "seconds",
        delay_before: Draw = (0.0, 0.0),
        delay_after: Draw = (0.0, 0.0),
        port: int = 0,
        stop_takes: float = 0.5,
        gone: Gone = "404",
        newest_first: bool = True,
        max_page_size: int = 100,
        fleet_deploy: FleetPath = "both",
        faults: Sequence[Fault] = (),
        others: int = 0,
    ) -> None:
        self._seed, self._port, self._fleet_deploy = seed, port, fleet_deploy
        self._gates = gates(enforcement, rates, spacing_tolerance)
        self._choices = Choices(
            ready_after,
            error_share,
            stop_takes,
            gone,
            newest_first,
            max_page_size,
            others,
        )
        self._manners = Manners(
            token, RetryAfter(retry_after, retry_after_form), delay_before, delay_after
        )
        self._mischief = Mischief(faults, seed)
        if fleet_deploy not in get_args(FleetPath):
            raise ValueError(
                f"fleet_deploy must be both, page or renamed, not {fleet_deploy!r}"
            )
        self._served: Served | None = None

    @property
    def url(self) -> str:
        """Where the API is: `http://127.0.0.1:<port>`, without a slash at the end."""
        return self._started.url

    @property
    def faults(self) -> Sequence[Fault]:
        """What may still go wrong; with `times`, how often. To be set at any time, for
        the requests from then on.

        Raises:
            ValueError: the shares of those that exclude each other add up to more than
                1.
        """
        return self._mischief.faults

    @faults.setter
    def faults(self, faults: Sequence[Fault]) -> None:
        """Only these from now on."""
        self._mischief.faults = faults

    def faulted(self) -> dict[str, int]:
        """How often each kind of fault has struck."""
        return self._mischief.struck()

    def busiest_second(self, limit: LimitName) -> int:
        """The most requests, refused ones too, that arrived under a limit in any one
        second [t, t + 1).
        """
        return self._gates[limit].busiest_second

    def arrivals(self, limit: LimitName) -> int:
        """How many requests arrived under a limit, refused ones too."""
        return self._gates[limit].arrivals

    def refused(self, limit: LimitName) -> int:
        """How many requests were answered 429 under a limit."""
        return self._gates[limit].refused

    def deployed(self) -> tuple[str, ...]:
        """The request IDs of all that was ever deployed here, in the order of arrival."""
        return self._started.world.deployed()

    def running(self) -> frozenset[str]:
        """The request IDs of what was deployed here and exists: not TERMINATED now, or
        at the end of the block.
        """
        return self._started.world.running(self._started.now())

    def stopped(self) -> frozenset[str]:
        """The request IDs of all whose stop was accepted, carried out or not, those of
        others too.
        """
        return frozenset(self._started.world.stopped())

    def settled_at(self, request_id: str) -> float | None:
        """The loop's time at which a deployment became READY, or ERROR; None before
        that.

        Raises:
            LookupError: nothing was ever deployed under this ID.
        """
        settles = self._started.world.known(request_id).settles
        return settles if settles <= self._started.now() else None

    def webhooks(self) -> WebhookCounts:
        """How many webhooks were `sent`, `answered` with 2xx, or `failed`, and how many
        were `lost` by a fault.
        """
        return self._started.webhooks.counts()

    def tags_of(self, request_id: str) -> tuple[str, ...]:
        """The tags of what was ever deployed, those that it had at its end if that has
        come.

        Raises:
            LookupError: nothing was ever deployed under this ID.
        """
        return tuple(self._started.world.known(request_id).tags)

    def counts(self) -> Counts:
        """All that is counted, as a plain dict; IDs in the order of arrival."""
        deployed, running = self.deployed(), self.running()
        return {
            "limits": {name: gate.counts() for name, gate in self._gates.items()},
            "deployed": list(deployed),
            "running": [each for each in deployed if each in running],
            "stopped": list(self._started.world.stopped()),
            "faulted": self.faulted(),
            "webhooks": self.webhooks(),
        }

    def environment(self, request_id: str) -> dict[str, str]:
        """The environment of a deployment's container: ARBITRIUM_* with its delete URL
        and token, and the deploy's own.

        Raises:
            LookupError: nothing was ever deployed under this ID.
        """
        return environment(self._started.world.known(request_id), self.url)

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            OSError: the port is taken.
            RuntimeError: it was entered before.
        """
        if self._served is not None:
            raise RuntimeError("a Simulator is entered once; make another one")
        loop = asyncio.get_running_loop()
        clock = Clock(datetime.now(UTC) - timedelta(seconds=loop.time()))
        world = World(self._choices, self._seed, clock, loop.time())
        webhooks = Webhooks(world, self._mischief)
        exchange = Exchange(
            world, self._gates, self._manners, self._mischief, webhooks, self._seed
        )
        runner = web.AppRunner(
            self._app(exchange), access_log=None, shutdown_timeout=_SHUTDOWN
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, _HOST, self._port, backlog=_BACKLOG).start()
        except BaseException:
            await runner.cleanup()
            raise
        self._served = Served(
            f"http://{_HOST}:{runner.addresses[0][1]}",
            world,
            exchange,
            webhooks,
            runner,
            loop,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop listening, and cut every connection. A cancellation that comes meanwhile
        waits for that: it is short.
        """
        closing = asyncio.create_task(self._started.aclose())
        try:
            await asyncio.shield(closing)
        except asyncio.CancelledError:
            await closing
            raise

    def __repr__(self) -> str:
        where = "not started" if self._served is None else self._served.url
        return f"<Simulator {where}, {sum(gate.arrivals for gate in self._gates.values())} requests>"

    @property
    def _started(self) -> Served:
        if self._served is None:
            raise RuntimeError(
                "the Simulator is not started: enter it with `async with`"
            )
        return self._served

    def _app(self, exchange: Exchange) -> web.Application:
        app = web.Application(middlewares=[in_json])
        new_paths = {row.renamed.path for row in OPERATIONS if row.renamed}
        for row in OPERATIONS:
            left_out = (self._fleet_deploy == "renamed" and row.renamed) or (
                self._fleet_deploy == "page" and row.path in new_paths
            )
            if not left_out:
                app.router.add_route(
                    row.method, row.path, exchange.serving(row.call, row.limit.name)
                )
        app.router.add_get(_COUNTS_PATH, self._answer_counts)
        return app

    async def _answer_counts(self, request: web.Request) -> web.Response:
        return answer(Reply(200, {**self.counts()}))
