"""Deploys in a storm of faults, a share of the callers cancelled: is a server handed out twice, or forgotten?

    python benchmarks/deploy_storm.py [--deploys 2000] [--seed 1]

Against the simulator, in virtual time. Closed at once when the last caller is served (what may run must be named in
`leftovers`), and after the quarantine (nothing may run that nobody has); the same where filters by tag match nothing,
where they are ignored, and where what was cut appears so late that it was given up. Closed in the middle, too. Beside
it the SDK with `deploy_once=False`, and what anybody would write: aiohttp that repeats on an error. Exits with 1 where
a goal is missed, or where one of these two loses nothing: then the storm was too mild and the run is void.
"""

import argparse
import asyncio
import logging
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import count
from math import inf
from typing import Literal, NamedTuple
from unittest.mock import patch

import aiohttp
from aiolimiter import AsyncLimiter
from arrivals import DEPLOY

from edgegap_async import DeployOutcomeUnknown, EdgegapError, EdgegapSession
from edgegap_async._lookups import QUARANTINE, Lookups
from edgegap_async.endpoints import DEPLOY_LIMIT, LIST_LIMIT, OTHER_LIMIT, STATUS_LIMIT
from edgegap_async.events import Event
from edgegap_async.simulator import Fault, Simulator
from edgegap_async.simulator.virtual_time import VirtualTimeLoop

TIMEOUT = 600.0
ATTEMPT = 30.0  # seconds: twice the default attempt_timeout, as deploys get it
WAY = (0.005, 0.03)  # seconds in each direction
CANCELLED = 0.05  # of the callers
OLDEST = 10  # callers
MIDDLE = 30.0  # seconds
CUT_SHORT = ("truncated", "not-json", "invalid-utf8", "empty", "no-id")
STORM = (
    Fault("deploy", "cut-before", 0.05),
    Fault("deploy", "cut-after", 0.05),
    Fault("deploy", "502-after", 0.03),
    Fault("deploy", "503-before", 0.03),
    Fault("deploy", "429", 0.01),
    *(Fault("deploy", kind, 0.01 / len(CUT_SHORT)) for kind in CUT_SHORT),
    Fault("deploy", "late", 0.02, seconds=ATTEMPT + 10),
    Fault("deploy", "deed-late", 0.02, seconds=2),
    Fault("list", "cut-before", 0.02),
    Fault("list", "503-before", 0.02),
    Fault("list", "not-json", 0.01),
    Fault("list", "lag", seconds=1),
)
LIMITS = (DEPLOY_LIMIT, STATUS_LIMIT, LIST_LIMIT, OTHER_LIMIT)
LOSSES = ("handed out twice", "forgotten")
Deploy = Callable[[int], Awaitable[str]]


class Goal(NamedTuple):
    """A figure, and between what it has to be."""

    value: float
    most: float = inf
    least: float = -inf

    @property
    def kept(self) -> bool:
        """Whether it is."""
        return self.least <= self.value <= self.most

    def shown(self, *, judged: bool) -> str:
        """As it stands in the table."""
        return f"{self.value:.4g}{'' if self.kept or not judged else ' FAILED'}"


@dataclass(frozen=True)
class Run:
    """One column of the table."""

    name: str
    closed: Literal["at once", "after", "in the middle"] = "at once"
    faults: tuple[Fault, ...] = ()
    client: Literal["sdk", "once off", "naive"] = "sdk"
    shares: bool = False  # whether there are goals beyond "none doubled, none forgotten, all told, the limits held"


EMPTY, IGNORED = (Fault("list", kind, fields=("tags",)) for kind in ("filters-empty", "filters-ignored"))
LATE = Fault("deploy", "deed-late", 0.02, seconds=20)
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
    answered: set[str] = field(default_factory=set)  # servers that a deploy was answered
    lists: list[float] = field(default_factory=list)
    began: float = 0.0
    served: float = 0.0  # when the last caller was told

    def on_event(self, event: Event) -> None:
        """Note the attempts at lists, and the servers that deploys were answered."""
        if event.kind == "attempt" and event.limit == "list":
            self.lists.append(asyncio.get_running_loop().time() - event.round_trip)
        if event.kind == "call" and event.limit == "deploy" and event.request_id and isinstance(event.outcome, int):
            self.answered.add(event.request_id)


@asynccontextmanager
async def sdk(url: str, run: Run, tale: Tale) -> AsyncIterator[Deploy]:
    """The SDK; closed at the end of the block."""
    edgegap = EdgegapSession(
        "token",
        base_url=url,
        deploy_once=run.client == "sdk",
        on_intent=tale.intents.append,
        on_event=tale.on_event,
    )

    async def deploy(caller: int) -> str:
        accepted = await edgegap.deployments.deploy(
            "app", "1", users=["203.0.113.7"], tags=[f"caller-{caller}"], timeout=TIMEOUT
        )
        return accepted.request_id

    async with edgegap:
        yield deploy
    tale.leftovers = edgegap.leftovers


@asynccontextmanager
async def naive(url: str) -> AsyncIterator[Deploy]:
    """Paced, and repeated on every error."""
    limiter = AsyncLimiter(1, 1 / 35)
    pool = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=pool, headers={"Authorization": "token token"}) as http:

        async def deploy(caller: int) -> str:
            user = {"user_type": "ip_address", "user_data": {"ip_address": "203.0.113.7"}}
            body = {"application": "app", "version": "1", "users": [user], "tags": [f"caller-{caller}"]}
            for _ in range(5):
                try:
                    end = aiohttp.ClientTimeout(total=ATTEMPT)
                    async with limiter, http.post(url + DEPLOY, json=body, timeout=end) as answer:
                        answer.raise_for_status()
                        return str((await answer.json())["request_id"])
                except (aiohttp.ClientError, TimeoutError, ValueError, KeyError):
                    await asyncio.sleep(random.random())
            raise EdgegapError("five times in vain")

        yield deploy


def cancel_some(callers: list[asyncio.Task[str]], chance: random.Random) -> None:
    """Cancel a share of the callers, spread over the whole storm: half of them any, half of them of the oldest."""
    loop, ended = asyncio.get_running_loop(), count()
    moments = Counter(chance.randrange(len(callers) * 99 // 100) for _ in range(int(CANCELLED * len(callers))))

    def strike() -> None:
        if waiting := [task for task in callers if not task.done()]:
            # The oldest are under way, or somebody looks for what became of them.
            chance.choice(waiting[: chance.choice((OLDEST, len(callers)))]).cancel()

    def ends(_: asyncio.Task[str]) -> None:
        for _ in range(moments[next(ended)]):
            loop.call_later(chance.uniform(0, 0.2), strike)

    for caller in callers:
        caller.add_done_callback(ends)


async def drive(run: Run, sim: Simulator, tale: Tale, deploys: int, seed: int) -> None:
    """The storm."""
    loop, early = asyncio.get_running_loop(), run.closed == "in the middle"
    async with sim:
        async with naive(sim.url) if run.client == "naive" else sdk(sim.url, run, tale) as deploy:
            tale.began = loop.time()
            callers = [asyncio.ensure_future(deploy(caller)) for caller in range(deploys)]
            cancel_some(callers, random.Random(seed))
            await asyncio.wait(callers, timeout=MIDDLE if early else 2 * TIMEOUT)
            tale.served = loop.time()
            if not early:
                tale.outcomes = [outcome(caller) for caller in callers]
            await asyncio.sleep(QUARANTINE + 30 if run.closed == "after" else 0)
        tale.outcomes = tale.outcomes or [outcome(caller) for caller in callers]
        await asyncio.sleep(60)  # what is late still happens


@contextmanager
def watched(tale: Tale) -> Iterator[None]:
    """Note what is put into quarantine."""
    plain = Lookups.quarantine

    def quarantine(lookups: Lookups, tag: str, since: float) -> None:
        tale.quarantined.add(tag)
        plain(lookups, tag, since)

    with patch.object(Lookups, "quarantine", quarantine):
        yield


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
    named = {each for each in loose if each in names or not names.isdisjoint(sim.tags_of(each))}
    served = tale.served - tale.began
    looks = sum(at < tale.served for at in tale.lists)
    return {
        "handed out twice": Goal(twice(sim, held), 0),
        "forgotten": Goal(len(loose if run.closed == "after" else loose - named), 0),
        "handed out, and stopped": Goal(len(sim.stopped() & set(held)), 0),
        "no typed outcome": Goal(sum(not isinstance(e, EdgegapError | asyncio.CancelledError) for e in errors), 0),
        **{f"busiest second: {it.name}": Goal(sim.busiest_second(it.name), it.rate or inf) for it in LIMITS},
        "not cancelled and served, %": Goal(
            100 * len(held) / (len(tale.outcomes) - cancelled), least=97 if run.shares else -inf
        ),
        "DeployOutcomeUnknown, %": Goal(100 * unknown / len(tale.outcomes), 0.5 if run.shares else inf),
        "started / handed out": Goal(len(sim.deployed()) / max(len(held), 1), 1.1 if run.shares else inf),
        "list calls a second": Goal(looks / served, 3 if run.shares else inf),
        "cancelled": Goal(cancelled),
        "adopted": Goal(len(set(held) - tale.answered) if tale.intents else 0),
        "repeated": Goal(max(0, len(tale.intents) - len(tale.outcomes))),
        "quarantined": Goal(len(tale.quarantined)),
        "of them turned up": Goal(sum(not tale.quarantined.isdisjoint(sim.tags_of(it)) for it in sim.deployed())),
        "reported": Goal(unknown),
        "in leftovers": Goal(len(tale.leftovers)),
        "of them running": Goal(len(named)),
        "stopped": Goal(len(sim.stopped())),
        "seconds until all were told": Goal(served),
    }


def twice(sim: Simulator, held: list[str]) -> int:
    """Servers that two callers have, and callers that have one and run another that nobody stopped."""
    owners = Counter(held)
    running = Counter(sim.tags_of(each)[0] for each in sim.deployed() if each not in sim.stopped())
    served = {sim.tags_of(each)[0] for each in held}
    return sum(count - 1 for count in owners.values()) + sum(running[name] > 1 for name in served)


def tell(run: Run, deploys: int, seed: int) -> dict[str, Goal]:
    """The figures of one run."""
    random.seed(seed)
    tale = Tale()
    sim = Simulator(seed=seed, delay_before=WAY, delay_after=WAY, faults=(*STORM, *run.faults))
    with watched(tale), asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(drive(run, sim, tale, deploys, seed))
    return told(sim, run, tale)


def main() -> None:
    """All runs, side by side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deploys", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)  # a line for each fault
    columns = {}
    for run in RUNS:
        began = time.perf_counter()
        columns[run] = tell(run, given.deploys, given.seed)
        print(f"{run.name}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    print(f"| {given.deploys} deploys | {' | '.join(run.name for run in RUNS)} |\n|{'---|' * (1 + len(RUNS))}")
    for row in columns[RUNS[0]]:
        cells = (column[row].shown(judged=run.client == "sdk") for run, column in columns.items())
        print(f"| {row} | {' | '.join(cells)} |")
    good = all(figure.kept for run in RUNS if run.client == "sdk" for figure in columns[run].values())
    lost = {run.name: sum(columns[run][row].value for row in LOSSES) for run in RUNS if run.client != "sdk"}
    print("".join(f"\nVOID: {name} lost and doubled nothing" for name, count in lost.items() if not count))
    sys.exit(not (good and all(lost.values())))


if __name__ == "__main__":
    main()
