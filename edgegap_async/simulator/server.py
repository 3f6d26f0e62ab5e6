"""`Simulator`: its options, its counts, and its start and end."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self

from aiohttp import web

from ..endpoints import LimitName
from ..models._check import flag, some
from ..models.deployment import ReportRequest
from .control.guard import Guard
from .control.routes import Control
from .faults.fault import Fault
from .faults.injector import FaultInjector
from .http.app import make_app
from .http.container import environment
from .http.form import Form
from .http.open_ports import OpenPorts
from .http.pipeline import FleetPath, RequestPipeline, ServerOptions
from .http.responses import RetryAfter, RetryAfterForm
from .http.webhooks import WebhookCounts, WebhookSender
from .parts import Counts, Parts
from .rate_limits import (
    SPACING_TOLERANCE,
    Enforcement,
    LimitSettings,
    RateLimits,
    Rates,
)
from .waiting import in_loop, until
from .world.clock import Clock
from .world.errors import ApiError
from .world.options import Delay, Gone, WorldOptions
from .world.registry import USUAL_SIZE_MB
from .world.world import World

# The loopback address for hosts that mean all addresses of the machine.
_LOOPBACK_OF = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}  # noqa: S104
# A thousand clients may connect in one turn of the loop. The kernel reduces this to its
# own maximum.
_BACKLOG = 65_535
# In seconds: how long aiohttp waits for handlers at the end. All of them have ended by
# then, and 0 would mean no time-out.
_SHUTDOWN_TIMEOUT = 0.001


@dataclass(slots=True)
class _Server:
    """A started simulator. Its parts can be read after its end."""

    parts: Parts
    control: Control
    runner: web.AppRunner

    async def aclose(self) -> None:
        """Cancel all requests and webhooks, and close all connections."""
        parts = self.parts
        if parts.ended_at is None:
            parts.ended_at = parts.loop.time()
            for site in self.runner.sites:
                await site.stop()
            await self.control.aclose()
            await parts.pipeline.aclose()
            await self.runner.cleanup()
            # Webhooks are closed last, as any request may schedule one.
            await parts.webhooks.aclose()
            if parts.open_ports:
                await parts.open_ports.reset()


class Simulator:
    """A simulator of Edgegap's API for dedicated servers, on loopback.

        async with Simulator(error_share=0.1) as sim:
            async with EdgegapSession("any-token", base_url=sim.url) as edgegap:
                ...

    Deployments start, become READY or fail, and stop. The simulator enforces the
    documented limits. It never contacts the real API. It uses the clock of the running
    loop, so a simulated day takes no real time under `VirtualTimeLoop`. A simulator can
    be entered once.

    Lists show the deployments that are not TERMINATED. A deployment must pass all
    filters of a list or a bulk stop. A bulk stop without filters stops all deployments.
    Every name is a private fleet with three hosts, which is created on first use. A
    deploy to an unknown host goes to the cloud. A self-stop accepts only the delete
    token of its deployment (see `environment`). Every request counts against its limit,
    whatever its result.

    Every application and version can be deployed until a program creates an application.
    From then on, only those that exist and are active can be, and a deployment has the
    ports, the environment variables and the `max_duration` of its version. A deploy that
    is refused is answered 400.

    The simulator sends the webhooks of a deployment when it becomes READY, becomes
    ERROR, or is TERMINATED. Each webhook is one POST with the body of a status. It
    waits ten seconds for the response, and sends at most two hundred webhooks at a
    time. A webhook may arrive before the response to its deploy. A deployment that is
    stopped before it is READY or ERROR sends only the webhook of its end.

    At `/`, it serves a page for a browser. Everything that the page shows and does is
    an endpoint under `/_simulator/`, such as `GET /_simulator/counts`, which returns
    `counts()` as JSON. See docs/simulator.md. These endpoints need no token, and their
    requests do not count.

    Args:
        token: The API token to accept. None accepts any token. The header
            `Authorization: token <token>` is required in both cases.
        seed: The seed of all random numbers. The same seed gives the same IDs, times
            and failures.
        ready_after: Seconds from the deploy until READY: a range, or a callable that
            returns them.
        error_share: The share of deployments that become ERROR instead of READY, from 0
            to 1.
        crash_after: Seconds from READY until the container crashes, so that the
            deployment becomes ERROR: a range, or a callable that returns them. None: no
            container crashes.
        enforcement: How requests are counted: `off`, `fixed-window`, `sliding-window`,
            `token-bucket` or `spacing`.
        rates: Requests per second that replace the documented limits, such as
            `{"deploy": 25}`. None means no limit.
        spacing_tolerance: How many seconds early `spacing` admits a request.
        retry_after: Seconds in the `Retry-After` of a 429. None omits the header.
        retry_after_form: The form of that header: `seconds`, or `date` (in whole
            seconds, with a `Date` header).
        delay_before: Seconds before a request counts: a range, or a callable that
            returns them.
        delay_after: Seconds from the operation until its response, in the same form.
        port: The port to listen on. 0 selects a free one.
        stop_takes: Seconds from the beginning of a stop until TERMINATED.
        gone: The response to a status call for a deployment that has ended: `404`,
            `410`, `400` (with the message that clients look for), or 200 and TERMINATED
            (`terminated`). Other calls respond the same, or 404. An ID that never
            existed is 404, or 400 with `400`. Stops always respond 410 and 404.
        newest_first: The order of a list whose query requests no order.
        max_page_size: The largest page size. A larger requested size is reduced to it.
        page_size: The page size of locations, beacons, tags and fleet hosts for requests
            without `limit`. None means all rows at once, as on the reference page.
            Applications and versions always have pages, of ten without `limit`.
        fleet_deploy: The path of the fleet deploy: `page` (as on the reference page),
            `renamed`, or `both`. None means `both`, or `renamed` if `form` is
            `official`, as the OpenAPI files have no other.
        faults: The faults to inject, such as `[Fault("deploy", "cut-after", 0.05)]`.
        replica_lag: The seconds after a deploy in which all calls with its ID are
            answered as if it were unknown, as by a replica that lags. A stop in this
            time has no effect. Lists and bulk stops are not affected: for these, use
            the fault `lag`.
        longest_url: The bytes of the longest path and query that are not answered with
            414 and a text, as by a gateway. None: there is no such limit.
        neighbours: The number of deployments of neighbours: other users of the same
            organization. They are READY, older than all others, and never end by
            themselves. Lists show them, and a stop can stop them. `deployed` and
            `running` omit them. `stopped` includes them, so that a test notices if
            its program stops them.
        host: The host name or IP address to listen on. If it is not on loopback, other
            machines can use the simulator. Then `token` is needed to change it under
            `/_simulator/`.
        form: The form of answers and webhooks: `page`, that of the reference page, or
            `official`, that of Edgegap's OpenAPI files, which clients generated from
            them can read. See docs/simulator.md for what differs.
        keep: The number of deployments that are remembered after their end. The others
            are forgotten: to all calls, it is as if they had never existed, but they
            are still counted. None: all are remembered.
        open_ports: Whether each deployment that is READY listens on its ports, on
            127.0.0.1, and sends back what arrives, so that a probe of your program
            succeeds. Its host name is `localhost` then. Each port takes a file
            descriptor or two.

    Raises:
        ValueError: An argument is out of its range; the message names it.
    """

    def __init__(
        self,
        *,
        token: str | None = None,
        seed: int = 0,
        ready_after: Delay = (2.0, 5.0),
        error_share: float = 0.0,
        crash_after: Delay | None = None,
        enforcement: Enforcement = "sliding-window",
        rates: Rates | None = None,
        spacing_tolerance: float = SPACING_TOLERANCE,
        retry_after: float | None = None,
        retry_after_form: RetryAfterForm = "seconds",
        delay_before: Delay = (0.0, 0.0),
        delay_after: Delay = (0.0, 0.0),
        port: int = 0,
        stop_takes: float = 0.5,
        gone: Gone = "404",
        newest_first: bool = True,
        max_page_size: int = 100,
        page_size: int | None = None,
        fleet_deploy: FleetPath | None = None,
        faults: Sequence[Fault] = (),
        replica_lag: float = 0.0,
        longest_url: int | None = None,
        neighbours: int = 0,
        host: str = "127.0.0.1",
        form: Form = "page",
        keep: int | None = None,
        open_ports: bool = False,
    ) -> None:
        self._seed, self._host, self._port = seed, host, port
        self._limits = RateLimits(
            LimitSettings(enforcement, rates or {}, spacing_tolerance)
        )
        self._world_options = WorldOptions(
            ready_after=ready_after,
            error_share=error_share,
            crash_after=crash_after,
            stop_takes=stop_takes,
            gone=gone,
            newest_first=newest_first,
            max_page_size=max_page_size,
            page_size=page_size,
            neighbours=neighbours,
            replica_lag=replica_lag,
            keep=keep,
        )
        self._server_options = ServerOptions(
            token,
            RetryAfter(retry_after, retry_after_form),
            delay_before,
            delay_after,
            longest_url,
            fleet_deploy,
            form,
        )
        self._injector = FaultInjector(faults, seed)
        self._open_ports = flag("open_ports", open_ports)
        self._server: _Server | None = None

    @property
    def token(self) -> str | None:
        """The API token that is accepted. None: any."""
        return self._server_options.token

    @property
    def url(self) -> str:
        """The base URL of the API: `http://127.0.0.1:<port>`, without a final slash."""
        return self._parts.url

    @property
    def faults(self) -> Sequence[Fault]:
        """The faults that can still occur, each with its remaining `times`.

        They can be replaced at any time. The new faults apply to later requests.

        Raises:
            ValueError: The shares of faults that exclude each other add up to more than
                1.
        """
        return self._injector.faults

    @faults.setter
    def faults(self, faults: Sequence[Fault]) -> None:
        """Replace all faults."""
        self._injector.faults = faults

    def add_fault(self, fault: Fault) -> None:
        """Add a fault. It applies to later requests. Any thread may call it.

        Raises:
            ValueError: The shares of faults that exclude each other add up to more than
                1.
        """
        self._injector.faults = [*self._injector.faults, fault]

    def clear_faults(
        self, *, operation: str | None = None, kind: str | None = None
    ) -> None:
        """Remove all faults, or those of an operation, or of a kind. Any thread may call
        it.

        Raises:
            ValueError: There is no such operation or kind; the message names those
                there are.
        """
        self._injector.clear(operation, kind)

    def crash(self, request_id: str) -> None:
        """Let the container of a READY deployment crash: it becomes ERROR. Any thread
        may call it.

        Raises:
            LookupError: There was never a deployment with this ID.
            ValueError: The deployment is not READY.
        """
        parts = self._parts
        deployment = parts.world.known(request_id)
        try:
            in_loop(parts.loop, lambda: parts.crash(deployment))
        except ApiError as error:
            raise ValueError(error.message) from None

    def push_image(self, image: str, *tags: str, size_mb: float = USUAL_SIZE_MB) -> str:
        """Push a new build of an image into the container registry, under some tags, and
        return its hash. Tags that exist name it from now on. Any thread may call it.

        No operation of the API does this, and deploys do not look at the registry.

        Raises:
            ValueError: An argument is wrong, or there are no tags.
        """
        parts = self._parts
        return in_loop(
            parts.loop,
            lambda: parts.world.registry.push(image, tags, size_mb, parts.now()),
        ).image_hash

    async def until(
        self, condition: Callable[[], object], *, timeout: float = 30.0
    ) -> None:
        """Wait until a condition is true, on the clock of the running loop.

            await simulator.until(lambda: len(simulator.running()) == 3)

        A synchronous test runs it with `asyncio.run`.

        Args:
            condition: Called every 10 ms.
            timeout: Seconds.

        Raises:
            TimeoutError: It was not true in time; the message has the counts.
        """
        name = getattr(condition, "__qualname__", repr(condition))
        await until(
            condition,
            timeout,
            lambda: f"{name} was not true within {timeout:g} s: {self.counts()}",
        )

    async def wait_stopped(self, *, timeout: float = 30.0) -> None:
        """Wait until every deployment made here is TERMINATED.

        Args:
            timeout: Seconds, on the clock of the running loop.

        Raises:
            TimeoutError: Some are not; the message names them.
        """
        await until(
            lambda: not self.running(),
            timeout,
            lambda: (
                f"not TERMINATED within {timeout:g} s: {some(sorted(self.running()))}"
            ),
        )

    def faulted(self) -> dict[str, int]:
        """Return how often each kind of fault has occurred."""
        return self._injector.hits()

    def busiest_second(self, limit: LimitName) -> int:
        """Return the most requests under a limit in any one second [t, t + 1).

        Refused requests are included.
        """
        return self._limits.by_name[limit].busiest_second

    def arrivals(self, limit: LimitName) -> int:
        """Return how many requests arrived under a limit, including refused ones."""
        return self._limits.by_name[limit].arrivals

    def refused(self, limit: LimitName) -> int:
        """Return how many requests under a limit got a 429."""
        return self._limits.by_name[limit].refused

    def deployed(self) -> tuple[str, ...]:
        """Return the IDs of all deployments made here, in the order of arrival."""
        return self._parts.world.deployed()

    def running(self) -> frozenset[str]:
        """Return the IDs of the deployments made here that are not TERMINATED.

        After the end of the `async with` block, this is the state at its end.
        """
        return self._parts.world.running(self._parts.now())

    def stopped(self) -> frozenset[str]:
        """Return the IDs of all deployments with an accepted stop, complete or not.

        Deployments of neighbours are included.
        """
        return frozenset(self._parts.world.stopped())

    def stall(self, seconds: float) -> None:
        """Let a proxy in front of the server stall for so many seconds from now.

        It holds all requests, also those whose clients close their connections
        meanwhile. At the end, it delivers all of them at once.
        """
        self._parts.pipeline.stall(seconds)

    def ready_or_failed_at(self, request_id: str) -> float | None:
        """Return the loop's time at which a deployment became READY or ERROR.

        None means that it is neither of them yet.

        Raises:
            LookupError: There was never a deployment with this ID.
        """
        when = self._parts.world.known(request_id).ready_or_failed_at
        return when if when <= self._parts.now() else None

    def webhooks(self) -> WebhookCounts:
        """Return how many webhooks were `sent`, `answered` with 2xx, `failed`, or
        `lost` by a fault.
        """
        return self._parts.webhooks.counts()

    def tags_of(self, request_id: str) -> tuple[str, ...]:
        """Return the tags of a deployment, or those that it had at its end.

        Raises:
            LookupError: There was never a deployment with this ID.
        """
        return tuple(self._parts.world.known(request_id).tags)

    def reports_of(self, request_id: str) -> tuple[ReportRequest, ...]:
        """Return the reports of a deployment, in the order of arrival.

        Raises:
            LookupError: There was never a deployment with this ID.
        """
        return tuple(self._parts.world.known(request_id).reports)

    def counts(self) -> Counts:
        """Return all counts as a plain dict.

        `deployed` is the number of deployments made here. `stopped` is the number of
        deployments with an accepted stop, complete or not, including those of
        neighbours. `running` is the number of the others made here that are not
        TERMINATED. `most_at_once` is the largest number made here that existed at one
        time.
        """
        return self._parts.counts()

    def environment(self, request_id: str) -> dict[str, str]:
        """Return the environment variables of a deployment's container.

        They are the ARBITRIUM_* variables, with the delete URL and token, and those of
        the version and the deploy request.

        Raises:
            LookupError: There was never a deployment with this ID.
        """
        return environment(self._parts.world.known(request_id), self.url)

    async def __aenter__(self) -> Self:
        """Start to listen.

        Raises:
            OSError: The port is taken.
            RuntimeError: The simulator was entered before.
        """
        if self._server is not None:
            raise RuntimeError("a Simulator can be entered only once; make a new one")
        loop = asyncio.get_running_loop()
        clock = Clock(datetime.now(UTC) - timedelta(seconds=loop.time()))
        world = World(self._world_options, self._seed, clock, loop.time())
        webhooks = WebhookSender(world, self._injector, self._server_options.form)
        open_ports = OpenPorts(world) if self._open_ports else None

        def changed() -> None:
            webhooks.reschedule()
            if open_ports:
                open_ports.update()

        pipeline = RequestPipeline(
            world,
            self._limits,
            self._server_options,
            self._injector,
            changed,
            self._seed,
        )
        parts = Parts(
            world=world,
            limits=self._limits,
            injector=self._injector,
            webhooks=webhooks,
            open_ports=open_ports,
            changed=changed,
            pipeline=pipeline,
            loop=loop,
            started_at=loop.time(),
        )
        control = Control(parts, Guard(self._host, self._server_options.token))
        app = make_app(pipeline, self._server_options.fleet_path(), control.add_routes)
        runner = await self._listen(app)
        parts.url = _base_url(self._host, runner.addresses[0][1])
        self._server = _Server(parts, control, runner)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop listening, and close all connections.

        If it is cancelled, it raises CancelledError only after everything is closed,
        which takes little time.
        """
        if self._server is None:
            raise RuntimeError("the Simulator is not started")
        closing = asyncio.create_task(self._server.aclose())
        try:
            await asyncio.shield(closing)
        except asyncio.CancelledError:
            await closing
            raise

    def __repr__(self) -> str:
        if not hasattr(self, "_server"):
            # An error tracker shows it while its arguments are checked.
            return "<Simulator>"
        where = "not started" if self._server is None else self._server.parts.url
        requests = sum(limit.arrivals for limit in self._limits.by_name.values())
        return f"<Simulator {where}, {requests} requests>"

    @property
    def _parts(self) -> Parts:
        if self._server is None:
            raise RuntimeError(
                "the Simulator is not started: enter it with `async with`"
            )
        return self._server.parts

    async def _listen(self, app: web.Application) -> web.AppRunner:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_TIMEOUT)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port, backlog=_BACKLOG).start()
        except BaseException:
            await runner.cleanup()
            raise
        return runner


def _base_url(host: str, port: int) -> str:
    """Return the URL of a server that listens on a host.

    Hosts that mean all addresses of a machine are no address of a server, so their URL
    is the one on loopback.
    """
    shown = _LOOPBACK_OF.get(host, host)
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"
