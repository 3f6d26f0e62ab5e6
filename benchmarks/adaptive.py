"""Measures how the rate adapts to a limit that is lower than documented, counted in
another way, or also used by another client.

    python benchmarks/adaptive.py [--seconds 120]

The server admits 25 deploys per second, although 40 are documented. It runs with each
way to count, with and without `Retry-After: 1`. Callers always have work. Time is
virtual, sockets are real, and a round trip takes 10 to 30 ms. The output is: refusals in
the first minute / refusals per minute afterwards / the share of the 25 that is reached
in the second half. The same client also runs with other rules: none, a stop of one
second after every 429, and the adaptive rule of botocore as published. The exit code is
1 if the SDK misses a goal.
"""

import argparse
import asyncio
import logging
import random
import sys
from collections.abc import Callable
from contextlib import suppress
from math import inf

from aiohttp import web
from arrivals import DEPLOY

from edgegap_async import EdgegapError, EdgegapSession
from edgegap_async._limits.adaptive import AdaptiveRate
from edgegap_async.endpoints import DEPLOY_LIMIT, Limit
from edgegap_async.simulator.rate_limits import (
    EnforcedLimit,
    Enforcement,
    enforced_limits,
)
from edgegap_async.simulator.virtual_time import VirtualTimeLoop

REAL, DOCUMENTED = 25.0, 40.0
CALLERS = 60
# Seconds in each direction.
WAY = (0.005, 0.015)
RULES: tuple[Enforcement, ...] = (
    "fixed-window",
    "sliding-window",
    "token-bucket",
    "spacing",
)
# The most refusals in the first minute, and per minute afterwards.
FIRST_MINUTE, PER_MINUTE = 12, 6
JITTER, SPACING_REFUSALS = 0.005, 20


class NoRule(AdaptiveRate):
    """Goes on as if nothing had happened."""

    def refused(
        self, now: float, sent: float, admitted: int, waiting_since: float | None
    ) -> float:
        return 0.0


class StopASecond(NoRule):
    """Stops for a second at every 429."""

    def refused(
        self, now: float, sent: float, admitted: int, waiting_since: float | None
    ) -> float:
        return 1.0


class Botocore(NoRule):
    """The adaptive mode of botocore's retries: a cubic rate around the last that was
    refused.
    """

    beta, scale, smooth = 0.7, 0.4, 0.8

    def __init__(self, limit: Limit) -> None:
        super().__init__(limit)
        self.fill, self.last_max, self.window, self.throttled_at = inf, 0.0, 0.0, 0.0
        self.measured, self.bucket_at, self.in_bucket = 0.0, 0.0, 0

    def measure(self, now: float) -> None:
        """The rate of sending, smoothed over half seconds."""
        half = int(now * 2) / 2
        self.in_bucket += 1
        if half > self.bucket_at:
            current = self.in_bucket / (half - self.bucket_at)
            self.measured = current * self.smooth + self.measured * (1 - self.smooth)
            self.bucket_at, self.in_bucket = half, 0

    def refused(
        self, now: float, sent: float, admitted: int, waiting_since: float | None
    ) -> float:
        self.measure(now)
        rate = min(self.measured, self.fill)
        self.last_max, self.throttled_at = rate, now
        self.window = (rate * (1 - self.beta) / self.scale) ** (1 / 3)
        self.fill = max(0.5, rate * self.beta)
        return 0.0

    def admitted(self, now: float) -> None:
        """After a success."""
        self.measure(now)
        if self.fill < inf:
            cubic = (
                self.scale * (now - self.throttled_at - self.window) ** 3
                + self.last_max
            )
            self.fill = max(0.5, min(cubic, 2 * self.measured))

    def rate(self, now: float) -> float:
        return min(self.limit, self.fill)

    def slots(self, now: float) -> float:
        return max(1, min(self.most_slots, int(self.rate(now) + 0.999)))


class Server:
    """Admits as its gate says, which can be exchanged while it runs."""

    def __init__(
        self,
        rule: Enforcement,
        rate: float,
        retry_after: bool,
        way: tuple[float, float],
    ) -> None:
        self.gate = gate(rule, rate)
        self.refused: list[float] = []
        self.admitted: list[float] = []
        self._retry_after, self._way = retry_after, way
        self._chance = random.Random(1)

    async def deploy(self, request: web.Request) -> web.Response:
        """Answer one deploy."""
        await asyncio.sleep(self._chance.uniform(*self._way))
        now = asyncio.get_running_loop().time()
        admitted = self.gate.admit(now)
        (self.admitted if admitted else self.refused).append(now)
        await asyncio.sleep(self._chance.uniform(*self._way))
        if admitted:
            return web.json_response({"request_id": "a69f8e3e0555"}, status=202)
        headers = {"Retry-After": "1"} if self._retry_after else None
        return web.json_response(
            {"message": "too many requests"}, status=429, headers=headers
        )


def gate(rule: Enforcement, rate: float) -> EnforcedLimit:
    """How the server counts."""
    return enforced_limits(rule, {"deploy": rate})["deploy"]


async def drive(
    server: Server,
    pace: AdaptiveRate | None,
    seconds: float,
    then: Callable[[], None] | None = None,
) -> float:
    """Keep callers busy; gives when it began. `then` happens at half time."""
    runner = web.AppRunner(_app(server), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with EdgegapSession(
        "token", base_url=f"http://127.0.0.1:{runner.addresses[0][1]}"
    ) as edgegap:
        if pace:
            edgegap._transport.limiters["deploy"]._rate = pace

        async def caller() -> None:
            while True:
                with suppress(EdgegapError):
                    await edgegap.deployments.deploy(
                        "app", "1", users=["203.0.113.7"], timeout=None
                    )
                    if isinstance(pace, Botocore):
                        pace.admitted(loop.time())

        tasks = [asyncio.ensure_future(caller()) for _ in range(CALLERS)]
        await asyncio.sleep(seconds / 2)
        if then:
            then()
        await asyncio.sleep(seconds / 2)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    await runner.cleanup()
    return began


def _app(server: Server) -> web.Application:
    app = web.Application()
    app.router.add_post(DEPLOY, server.deploy)
    return app


def run(
    server: Server,
    pace: AdaptiveRate | None,
    seconds: float,
    then: Callable[[], None] | None = None,
) -> float:
    """One run in virtual time."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(drive(server, pace, seconds, then))


def figures(server: Server, began: float, seconds: float) -> tuple[int, float, float]:
    """Refusals in the first minute, refusals a minute after it, share of the real limit
    in the second half.
    """
    first = sum(time < began + 60 for time in server.refused)
    later = (len(server.refused) - first) / max(seconds - 60, 1) * 60
    half = began + seconds / 2
    return (
        first,
        later,
        sum(time >= half for time in server.admitted) / (REAL * seconds / 2),
    )


def lower_limit(seconds: float) -> bool:
    """The table; whether the goals are reached."""
    others: dict[str, Callable[[Limit], AdaptiveRate]] = {
        "no rule": NoRule,
        "stop a second": StopASecond,
        "botocore": Botocore,
    }
    print(
        f"| enforced 25/s | Retry-After | goal | the SDK | {' | '.join(others)} |\n|{'---|' * (4 + len(others))}"
    )
    good = True
    for rule in RULES:
        for retry_after in (False, True):
            goal = (
                (0.72 if retry_after else 0.80)
                if rule == "spacing"
                else (0.84 if retry_after else 0.88)
            )
            cells = []
            for make in (None, *others.values()):
                server = Server(rule, REAL, retry_after, WAY)
                began = run(server, make(DEPLOY_LIMIT) if make else None, seconds)
                cells.append(figures(server, began, seconds))
            first, later, reached = cells[0]
            kept = reached >= goal and (
                rule == "spacing" or (first <= FIRST_MINUTE and later <= PER_MINUTE)
            )
            good = good and kept
            shown = " | ".join(
                f"{first} / {later:.0f} / {reached:.2f}"
                for first, later, reached in cells
            )
            verdict = "" if kept else " FAILED"
            print(
                f"| {rule} | {'1 s' if retry_after else 'none'} | {goal}{verdict} | {shown} |",
                flush=True,
            )
    return good


def recovery() -> None:
    """How long it takes after the limit is lifted."""
    seconds = 240.0
    for rule in RULES:
        server = Server(rule, REAL, False, WAY)

        def lift(server: Server = server, rule: Enforcement = rule) -> None:
            server.gate = gate(rule, DOCUMENTED)

        half = run(server, None, seconds, lift) + seconds / 2
        per_second = [
            sum(half + s <= time < half + s + 1 for time in server.admitted)
            for s in range(int(seconds / 2))
        ]
        back = next(
            (
                s
                for s, admitted in enumerate(per_second)
                if admitted >= 0.9 * DOCUMENTED
            ),
            None,
        )
        print(
            f"{rule}: after the limit is lifted to 40, nine tenths of it are reached after {back} s"
        )


def spacing() -> bool:
    """Spacing at the documented rate, the default burst, some jitter."""
    server = Server("spacing", DOCUMENTED, False, (0.005, 0.005 + JITTER))
    began = run(server, None, 60)
    reached = sum(time >= began + 30 for time in server.admitted) / (DOCUMENTED * 30)
    print(
        f"spacing at 40/s, up to 5 ms of jitter: {len(server.refused)} refusals in a minute, share {reached:.2f}"
    )
    return len(server.refused) <= SPACING_REFUSALS


def main() -> None:
    """All of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=120.0)
    given = parser.parse_args()
    # Otherwise, each refusal would be logged.
    logging.disable(logging.CRITICAL)
    random.seed(1)
    good = [spacing(), lower_limit(given.seconds)]
    recovery()
    sys.exit(not all(good))


if __name__ == "__main__":
    main()
