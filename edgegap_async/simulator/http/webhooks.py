"""Sends the webhooks that deploys ask for, as the API does: a POST with the body of a
status, once.

No header and no word of it tells who sent it or of which event. Whatever comes of it
changes nothing in the world.
"""

import asyncio
import logging
from collections import Counter
from math import inf
from typing import TypedDict

from aiohttp import (
    ClientError,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    TCPConnector,
)
from msgspec import json

from ..faults.fault import WEBHOOK, Fault
from ..faults.injector import Mischief
from ..world.webhook_schedule import Notice
from ..world.world import World
from . import bodies as answers
from .tasks import Tasks

log: logging.Logger = logging.getLogger("edgegap_async")

_HEADERS = {"Content-Type": "application/json"}
# what aiohttp would add
_NOT_SENT = ("Accept", "Accept-Encoding", "User-Agent")
# Without a threshold aiohttp rounds a deadline up to whole seconds.
_TIMEOUT = ClientTimeout(total=10.0, ceil_threshold=inf)
# Connections. Each has two ends if the receiver is in this process, which often may
# have no more than 1024 open files.
_AT_ONCE = 200


class WebhookCounts(TypedDict):
    """What became of webhooks: how many were `sent`, each one of a doubled too; of
    those, how many were `answered` with 2xx, and how many `failed`: answered otherwise,
    or not within ten seconds. The `lost` ones were never sent.
    """

    sent: int
    answered: int
    failed: int
    lost: int


class Webhooks:
    """Knows when the next webhook is due by one timer, and owns what is on its way."""

    def __init__(self, world: World, mischief: Mischief) -> None:
        self._world = world
        self._mischief = mischief
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        # what the timer is set to
        self._due = inf
        self._tasks = Tasks()
        # each wakes a webhook that lets another one go first
        self._held: list[asyncio.Event] = []
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self._http: ClientSession | None = None
        self._counts: Counter[str] = Counter()

    def counts(self) -> WebhookCounts:
        """How many there were."""
        counts = self._counts
        return {
            "sent": counts["sent"],
            "answered": counts["answered"],
            "failed": counts["failed"],
            "lost": counts["lost"],
        }

    def look(self) -> None:
        """Set the timer to the next webhook: after all that may have changed when that
        is.
        """
        due = self._world.notices.next()
        if due == self._due:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._due, self._timer = (
            due,
            None if due == inf else self._loop.call_at(due, self._ring),
        )

    async def aclose(self) -> None:
        """Send nothing more, and give up what is on its way."""
        if self._timer is not None:
            self._timer.cancel()
        await self._tasks.end()
        if self._http is not None:
            await self._http.close()

    def _ring(self) -> None:
        self._due, self._timer = inf, None
        for notice in self._world.notices.due(self._loop.time()):
            fault = self._mischief.strike(WEBHOOK, "webhook")
            if fault is not None and fault.kind == "lost":
                self._counts["lost"] += 1
                continue
            # Encoded here: it tells how things are now, however late it goes out.
            body = json.encode(
                answers.status(notice.deployment, notice.when, self._world.clock)
            )
            self._tasks.add(self._loop.create_task(self._deliver(notice, body, fault)))
        # a loop whose clock is coarse rings early
        self.look()

    async def _deliver(self, notice: Notice, body: bytes, fault: Fault | None) -> None:
        kind, seconds = (fault.kind, fault.seconds or 0.0) if fault else ("", 0.0)
        if kind == "swapped":
            await self._let_one_go_first(seconds)
            await self._post(notice, body)
            return
        if kind == "late":
            await asyncio.sleep(seconds)
        held, self._held = self._held, []
        for _ in range(2 if kind == "doubled" else 1):
            await self._post(notice, body)
        for each in held:
            each.set()

    async def _let_one_go_first(self, seconds: float) -> None:
        gone = asyncio.Event()
        self._held.append(gone)
        try:
            async with asyncio.timeout(seconds):
                await gone.wait()
        except TimeoutError:
            # none came
            return

    async def _post(self, notice: Notice, body: bytes) -> None:
        async with self._at_once:
            self._counts["sent"] += 1
            try:
                async with self._client().post(
                    notice.url, data=body, allow_redirects=False
                ) as response:
                    came, answered = str(response.status), 200 <= response.status < 300
            except (ClientError, OSError, ValueError) as problem:
                # Not its text, which may hold the URL: that is the receiver's secret.
                came, answered = type(problem).__name__, False
        self._counts["answered" if answered else "failed"] += 1
        log.debug(
            "simulator: a webhook of %s was sent, and what came back is %s",
            notice.deployment.request_id,
            came,
        )

    def _client(self) -> ClientSession:
        """Made when it is needed. A connection for each webhook: one that is kept may
        have died, and fail the next.
        """
        if self._http is None:
            self._http = ClientSession(
                connector=TCPConnector(limit=_AT_ONCE, force_close=True),
                timeout=_TIMEOUT,
                headers=_HEADERS,
                skip_auto_headers=_NOT_SENT,
                cookie_jar=DummyCookieJar(),
            )
        return self._http
