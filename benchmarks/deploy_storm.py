"""Deploys in a storm of faults, a share of the callers cancelled: is a server handed
out twice, or forgotten?

    python benchmarks/deploy_storm.py [--deploys 2000] [--seed 1]

Against the simulator, in virtual time. Closed at once when the last caller is served
(what may run must be named in `leftovers`), and after the quarantine (nothing may run
that nobody has); the same where filters by tag match nothing, where they are ignored,
and where what was cut appears so late that it was given up. Closed in the middle, too.
Beside it the SDK with `deploy_once=False`, and what anybody would write: aiohttp that
repeats on an error. Exits with 1 where a goal is missed, or where one of these two
loses nothing: then the storm was too mild and the run is void.
"""

import argparse
import asyncio
import logging
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import count
from math import inf
from typing import Literal, NamedTuple
from unittest.mock import patch

import aiohttp
from aiolimiter import AsyncLimiter
from arrivals import DEPLOY

from edgegap_async import DeployOutcomeUnknown, EdgegapError, EdgegapSession
from edgegap_async._deploys.tag_search import QUARANTINE, TagSearch
from edgegap_async.endpoints import DEPLOY_LIMIT, LIST_LIMIT, OTHER_LIMIT, STATUS_LIMIT
from edgegap_async.events import Event
from edgegap_async.simulator import Fault, Simulator
from edgegap_async.simulator.virtual_time import VirtualTimeLoop

TIMEOUT = 600.0
# seconds: twice the default attempt_timeout, as deploys get it; `late` is later
ATTEMPT = 30.0
# seconds in each direction
WAY = (0.005, 0.03)
# of the callers
CANCELLED = 0.05
# of the requests: their callers are cancelled soon, if they wait by then
UNDER_WAY, LOOKED_FOR = 0.025, 0.05
# seconds
MIDDLE = 30.0
STORM = """
    deploy:cut-before:0.05 deploy:cut-after:0.05 deploy:502-after:0.03
    deploy:503-before:0.03 deploy:429:0.01 deploy:late:0.02:40
    deploy:processed-late:0.02:2 deploy:truncated:0.002 deploy:not-json:0.002
    deploy:invalid-utf8:0.002 deploy:empty:0.002 deploy:no-id:0.002 list:cut-before:0.02
    list:503-before:0.02 list:not-json:0.01 list:lag:1:1
"""
FAULTS = tuple(map(Fault.parse, STORM.split()))
LIMITS = (DEPLOY_LIMIT, STATUS_LIMIT, LIST_LIMIT, OTHER_LIMIT)
LOSSES = ("handed out twice", "forgotten")
Deploy = Callable[[int], Awaitable[str]]
CALLER: ContextVar[int] = ContextVar("CALLER")


class Goal(NamedTuple):
    """A figure, and between what it has to be."""

    value: float
    most: float = inf
    least: float = -inf

    @property
    def kept(self) -> bool:
        """Whether it is."""
        return self.least <= self.value <= self.most


@dataclass(frozen=True)
class Run:
    """One column of the table."""

    name: str
    closed: Literal["at once", "after", "in the middle"] = "at once"
    faults: tuple[Fault, ...] = ()
    client: Literal["sdk", "once off", "naive"] = "sdk"
    # whether there are goals beyond "none doubled, none forgotten, all told, the limits
    # held"
    shares: bool = False


EMPTY, IGNORED = (
    Fault("list", kind, fields=("tags",))
    for kind in ("filters-empty", "filters-ignored")
)
LATE = Fault("deploy", "processed-late", 0.02, seconds=20)
RUNS = (
    Run("closed at once", shares=True),
    Run("closed after", "after", shares=True),
    Run("filters empty, at once", faults=(EMPTY,)),
    Run("filters empty, after", "after", (EMPTY,)),
    Run("filters ignored, at once", faults=(IGNORED,)),
    Run("filters ignored, after", "after", (IGNORED,)),
    Run("2 % 20 s late, at once", faults=(LATE,)),
    Run("2 % 20 s late, after", "after", (LATE,)),
    Run("closed in the middle", "in the middle"),
    Run("deploy_once=False", client="once off"),
    Run("naive", client="naive"),
)


@dataclass
class Tale:
    """What was seen of a run."""

    outcomes: list[str | BaseException] = field(default_factory=list)
    leftovers: tuple[tuple[str | None, str | None], ...] = ()
    intents: list[str] = field(default_factory=list)
    quarantined: set[str] = field(default_factory=set)
    # servers that a deploy was answered
    answered: set[str] = field(default_factory=set)
    lists: list[float] = field(default_factory=list)
    began: float = 0.0
    # when the last caller was told
    served: float = 0.0

    def on_event(self, event: Event) -> None:
        """Note the attempts at lists, and the servers that deploys were answered."""
        if event.kind == "attempt" and event.limit == "list":
            self.lists.append(asyncio.get_running_loop().time() - event.round_trip)
        if (
            event.kind == "call"
            and event.limit == "deploy"
            and event.request_id
            and isinstance(event.outcome, int)
        ):
            self.answered.add(event.request_id)


@asynccontextmanager
async def sdk(
    url: str, http: aiohttp.ClientSession, run: Run, tale: Tale
) -> AsyncIterator[Deploy]:
    """The SDK; closed at the end of the block."""
    once, intent = run.client == "sdk", tale.intents.append
    edgegap = EdgegapSession(
        "token",
        base_url=url,
        http=http,
        deploy_once=once,
        on_intent=intent,
        on_event=tale.on_event,
    )

    async def deploy(caller: int) -> str:
        accepted = await edgegap.deployments.deploy(
            "app",
            "1",
            users=["203.0.113.7"],
            tags=[f"caller-{caller}"],
            timeout=TIMEOUT,
        )
        return accepted.request_id

    async with edgegap:
        yield deploy
    tale.leftovers = edgegap.leftovers


@asynccontextmanager
async def naive(url: str, http: aiohttp.ClientSession) -> AsyncIterator[Deploy]:
    """Paced, and repeated on every error."""
    limiter, end = AsyncLimiter(1, 1 / 35), aiohttp.ClientTimeout(total=ATTEMPT)
    token = {"Authorization": "token token"}
    users = [{"user_type": "ip_address", "user_data": {"ip_address": "203.0.113.7"}}]

    async def deploy(caller: int) -> str:
        body = {
            "application": "app",
            "version": "1",
            "users": users,
            "tags": [f"caller-{caller}"],
        }
        for _ in range(5):
            try:
                async with (
                    limiter,
                    http.post(
                        url + DEPLOY, json=body, headers=token, timeout=end
                    ) as answer,
                ):
                    answer.raise_for_status()
                    return str((await answer.json())["request_id"])
            except (aiohttp.ClientError, TimeoutError, ValueError, KeyError):
                await asyncio.sleep(random.random())
        raise EdgegapError("five times in vain")

    yield deploy


class Cancelling:
    """Cancels a share of the callers: half of them at any moment, spread over the whole
    storm; the others while their request is under way, or while somebody finds out what
    became of it.
    """

    def __init__(self, deploys: int, seed: int) -> None:
        self.deploys, self.callers = deploys, list[asyncio.Task[str]]()
        self._chance, self._ended = random.Random(seed), count()
        self._moments = Counter(
            self._chance.randrange(deploys) for _ in range(int(CANCELLED / 2 * deploys))
        )

    def begin(self, deploy: Deploy) -> None:
        """All callers at once."""

        async def call(caller: int) -> str:
            CALLER.set(caller)
            return await deploy(caller)

        self.callers += [
            asyncio.ensure_future(call(caller)) for caller in range(self.deploys)
        ]
        for caller in self.callers:
            caller.add_done_callback(self._one_has_ended)

    def _one_has_ended(self, _: asyncio.Task[str]) -> None:
        for _ in range(self._moments[next(self._ended)]):
            if waiting := [task for task in self.callers if not task.done()]:
                self._soon(self._chance.choice(waiting), 0.0, 0.2)

    async def one_sends(self, *_: object) -> None:
        """For aiohttp to call with each request; the SDK's tasks run in their callers'
        contexts.
        """
        drawn, caller = self._chance.random(), CALLER.get(None)
        if caller is not None and drawn < UNDER_WAY + LOOKED_FOR:
            self._soon(
                self.callers[caller],
                *((0.0, 2 * WAY[1]) if drawn < UNDER_WAY else (0.1, 8.0)),
            )

    def _soon(self, caller: asyncio.Task[str], least: float, most: float) -> None:
        asyncio.get_running_loop().call_later(
            self._chance.uniform(least, most), caller.cancel
        )


async def drive(run: Run, sim: Simulator, tale: Tale, cancelling: Cancelling) -> None:
    """The storm."""
    loop, early, trace = (
        asyncio.get_running_loop(),
        run.closed == "in the middle",
        aiohttp.TraceConfig(),
    )
    trace.on_request_start.append(cancelling.one_sends)
    pool = aiohttp.TCPConnector(limit=0)
    async with (
        sim,
        aiohttp.ClientSession(connector=pool, trace_configs=[trace]) as http,
    ):
        async with (
            naive(sim.url, http)
            if run.client == "naive"
            else sdk(sim.url, http, run, tale) as deploy
        ):
            tale.began = loop.time()
            cancelling.begin(deploy)
            await asyncio.wait(
                cancelling.callers, timeout=MIDDLE if early else 2 * TIMEOUT
            )
            tale.served = loop.time()
            if not early:
                tale.outcomes = [outcome(caller) for caller in cancelling.callers]
            await asyncio.sleep(QUARANTINE + 30 if run.closed == "after" else 0)
        tale.outcomes = tale.outcomes or [
            outcome(caller) for caller in cancelling.callers
        ]
        # what is late still happens
        await asyncio.sleep(60)


def outcome(caller: asyncio.Task[str]) -> str | BaseException:
    """The request_id that a caller got, or what it was told."""
    if not caller.done():
        caller.cancel()
        return TimeoutError("never told")
    if caller.cancelled():
        return asyncio.CancelledError()
    return caller.exception() or caller.result()


def told(sim: Simulator, run: Run, tale: Tale) -> dict[str, Goal]:
    """All figures."""
    held = [each for each in tale.outcomes if isinstance(each, str)]
    errors = [each for each in tale.outcomes if isinstance(each, BaseException)]
    cancelled = sum(isinstance(each, asyncio.CancelledError) for each in errors)
    unknown = sum(isinstance(each, DeployOutcomeUnknown) for each in errors)
    loose = set(sim.deployed()) - sim.stopped() - set(held)
    names = {name for pair in tale.leftovers for name in pair if name}
    named = {
        each
        for each in loose
        if each in names or not names.isdisjoint(sim.tags_of(each))
    }
    served = tale.served - tale.began
    looks = sum(at < tale.served for at in tale.lists)
    return {
        "handed out twice": Goal(twice(sim, held, named), 0),
        "forgotten": Goal(len(loose if run.closed == "after" else loose - named), 0),
        "handed out, and stopped": Goal(len(sim.stopped() & set(held)), 0),
        "no typed outcome": Goal(
            sum(
                not isinstance(e, EdgegapError | asyncio.CancelledError) for e in errors
            ),
            0,
        ),
        **{
            f"busiest second: {it.name}": Goal(
                sim.busiest_second(it.name), it.rate or inf
            )
            for it in LIMITS
        },
        "not cancelled and served, %": Goal(
            100 * len(held) / (len(tale.outcomes) - cancelled),
            least=97 if run.shares else -inf,
        ),
        "DeployOutcomeUnknown, %": Goal(
            100 * unknown / len(tale.outcomes), 0.5 if run.shares else inf
        ),
        "started / handed out": Goal(
            len(sim.deployed()) / max(len(held), 1), 1.1 if run.shares else inf
        ),
        "list calls a second": Goal(looks / served, 3 if run.shares else inf),
        "cancelled": Goal(cancelled),
        "adopted": Goal(len(set(held) - tale.answered) if tale.intents else 0),
        "repeated": Goal(max(0, len(tale.intents) - len(tale.outcomes))),
        "quarantined": Goal(len(tale.quarantined)),
        "of them turned up": Goal(
            sum(
                not tale.quarantined.isdisjoint(sim.tags_of(it))
                for it in sim.deployed()
            )
        ),
        "reported": Goal(unknown),
        "in leftovers": Goal(len(tale.leftovers)),
        "of them running": Goal(len(named)),
        "stopped": Goal(len(sim.stopped())),
        "seconds until all were told": Goal(served),
    }


def twice(sim: Simulator, held: list[str], named: set[str]) -> int:
    """Servers that two callers have, and callers that have one and run another that
    nobody stopped or told of.
    """
    owners = Counter(held)
    running = Counter(
        sim.tags_of(each)[0]
        for each in sim.deployed()
        if each not in sim.stopped() | named
    )
    served = {sim.tags_of(each)[0] for each in held}
    return sum(count - 1 for count in owners.values()) + sum(
        running[name] > 1 for name in served
    )


def tell(run: Run, deploys: int, seed: int) -> dict[str, Goal]:
    """The figures of one run."""
    random.seed(seed)
    tale = Tale()
    sim = Simulator(
        seed=seed, delay_before=WAY, delay_after=WAY, faults=(*FAULTS, *run.faults)
    )
    with patch.object(
        TagSearch, "quarantine", autospec=True, side_effect=TagSearch.quarantine
    ) as put:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.run(drive(run, sim, tale, Cancelling(deploys, seed)))
        tale.quarantined = {call.args[1] for call in put.call_args_list}
    return told(sim, run, tale)


def main() -> None:
    """All runs, side by side."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--deploys", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    # a line for each fault
    logging.disable(logging.CRITICAL)
    columns = {run: tell(run, given.deploys, given.seed) for run in RUNS}
    missed = {
        (run, row)
        for run in RUNS
        if run.client == "sdk"
        for row, it in columns[run].items()
        if not it.kept
    }
    print(
        f"| {given.deploys} deploys | {' | '.join(run.name for run in RUNS)} |\n|{'---|' * (1 + len(RUNS))}"
    )
    for row in columns[RUNS[0]]:
        cells = (
            f"{columns[run][row].value:.4g}{' FAILED' * ((run, row) in missed)}"
            for run in RUNS
        )
        print(f"| {row} | {' | '.join(cells)} |")
    void = [
        run.name
        for run in RUNS
        if run.client != "sdk" and not any(columns[run][row].value for row in LOSSES)
    ]
    if void:
        print(f"VOID: {', '.join(void)} lost and doubled nothing")
    sys.exit(bool(missed or void))


if __name__ == "__main__":
    main()
