"""Sends the webhooks of deployments, as the API does: one POST with the body of a
status.

No header names the sender or the event. The response changes nothing in the world.
"""

import asyncio
import logging
from collections import Counter
from math import inf
from typing import TypedDict
from urllib.parse import urlsplit

from aiohttp import (
    ClientError,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    TCPConnector,
)
from msgspec import json

from ...endpoints import STATUS
from ..faults.fault import Fault
from ..faults.injector import FaultInjector
from ..faults.kinds import WEBHOOK
from ..world.deployment import SentWebhook
from ..world.webhook_schedule import DueWebhook
from ..world.world import World
from . import bodies
from .form import Form, official
from .responses import Json

log: logging.Logger = logging.getLogger("edgegap_async")

_HEADERS = {"Content-Type": "application/json"}
# aiohttp adds these by default.
_SKIPPED_HEADERS = ("Accept", "Accept-Encoding", "User-Agent")
# Without this threshold, aiohttp rounds a time-out up to whole seconds.
_TIMEOUT = ClientTimeout(total=10.0, ceil_threshold=inf)
# If the receiver runs in this process, each connection needs two file descriptors. A
# process often has only 1024 of them.
_MAX_CONNECTIONS = 200


class TaskSet:
    """The tasks in progress. A task is removed when it ends."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[object]] = set()

    def add(self, task: asyncio.Task[object]) -> None:
        """Add a task."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def cancel(self) -> None:
        """Cancel all tasks, and return when all of them have ended."""
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)


class WebhookCounts(TypedDict):
    """How many webhooks were `sent`, `answered`, `failed` and `lost`.

    A webhook that is sent twice counts twice. `answered` means a 2xx response. `failed`
    means another response, or none within ten seconds. A `lost` webhook was not sent,
    because of a fault.
    """

    sent: int
    answered: int
    failed: int
    lost: int


class WebhookSender:
    """Sends each webhook of the world's schedule when it is due, with one timer."""

    def __init__(self, world: World, injector: FaultInjector, form: Form) -> None:
        self._world = world
        self._form = form
        self._injector = injector
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        # The time for which the timer is set.
        self._due = inf
        self._tasks = TaskSet()
        # One event for each `reordered` webhook that waits for the next one.
        self._waiting: list[asyncio.Event] = []
        self._connections = asyncio.Semaphore(_MAX_CONNECTIONS)
        self._http: ClientSession | None = None
        self._counts: Counter[str] = Counter()

    def counts(self) -> WebhookCounts:
        """Return the counts so far."""
        counts = self._counts
        return {
            "sent": counts["sent"],
            "answered": counts["answered"],
            "failed": counts["failed"],
            "lost": counts["lost"],
        }

    def reschedule(self) -> None:
        """Set the timer to the next webhook. Call it after a change of the schedule."""
        due = self._world.webhook_schedule.next_due()
        if due == self._due:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = None if due == inf else self._loop.call_at(due, self._send_due)

    async def reset(self) -> None:
        """Cancel the webhooks in progress, count from 0, and obey the new schedule."""
        await self._tasks.cancel()
        self._counts.clear()
        self.reschedule()

    async def aclose(self) -> None:
        """Send no more webhooks, and cancel those in progress."""
        if self._timer is not None:
            self._timer.cancel()
        await self._tasks.cancel()
        if self._http is not None:
            await self._http.close()

    def _send_due(self) -> None:
        self._due, self._timer = inf, None
        for webhook in self._world.webhook_schedule.pop_due(self._loop.time()):
            fault = self._injector.pick(WEBHOOK, "webhook")
            if fault is not None and fault.kind == "lost":
                self._counts["lost"] += 1
                _record(webhook).result = "lost by a fault"
                continue
            # The body is encoded now: a late webhook shows the state when it was due.
            body = json.encode(self._body(webhook))
            self._tasks.add(self._loop.create_task(self._send(webhook, body, fault)))
        # A loop with a coarse clock may fire the timer early.
        self.reschedule()

    def _body(self, webhook: DueWebhook) -> Json:
        deployment, clock = webhook.deployment, self._world.clock
        body = bodies.status(deployment, webhook.when, clock)
        if self._form == "page":
            return body
        created = clock.iso(deployment.created_at)
        return official(STATUS.call, body, lambda _: created)

    async def _send(
        self, webhook: DueWebhook, body: bytes, fault: Fault | None
    ) -> None:
        kind, seconds = (fault.kind, fault.seconds or 0.0) if fault else ("", 0.0)
        if kind == "reordered":
            await self._wait_for_next(seconds)
            await self._post(webhook, body)
            return
        if kind == "late":
            await asyncio.sleep(seconds)
        waiting, self._waiting = self._waiting, []
        for _ in range(2 if kind == "duplicated" else 1):
            await self._post(webhook, body)
        for event in waiting:
            event.set()

    async def _wait_for_next(self, seconds: float) -> None:
        sent = asyncio.Event()
        self._waiting.append(sent)
        try:
            async with asyncio.timeout(seconds):
                await sent.wait()
        except TimeoutError:
            # No other webhook was due.
            return

    async def _post(self, webhook: DueWebhook, body: bytes) -> None:
        async with self._connections:
            self._counts["sent"] += 1
            record = _record(webhook)
            try:
                async with self._client().post(
                    webhook.url, data=body, allow_redirects=False
                ) as response:
                    result = str(response.status)
                    answered = 200 <= response.status < 300
            except (ClientError, OSError, ValueError) as error:
                # Only the type is logged: the text may hold the URL, which is secret.
                result, answered = type(error).__name__, False
        self._counts["answered" if answered else "failed"] += 1
        record.result = result
        log.debug(
            "simulator: webhook sent",
            extra={"request_id": webhook.deployment.request_id, "result": result},
        )

    def _client(self) -> ClientSession:
        """Return the HTTP session, created on first use.

        Each webhook has its own connection: a reused connection may be dead, and then
        the webhook would fail.
        """
        if self._http is None:
            self._http = ClientSession(
                connector=TCPConnector(limit=_MAX_CONNECTIONS, force_close=True),
                timeout=_TIMEOUT,
                headers=_HEADERS,
                skip_auto_headers=_SKIPPED_HEADERS,
                cookie_jar=DummyCookieJar(),
            )
        return self._http


def _record(webhook: DueWebhook) -> SentWebhook:
    """Add a webhook to those of its deployment, without the secret parts of its URL."""
    try:
        url = urlsplit(webhook.url)
        to = f"{url.scheme}://{url.hostname}" + (f":{url.port}" if url.port else "")
    except ValueError:
        to = "an invalid URL"
    record = SentWebhook(webhook.event, webhook.when, to)
    webhook.deployment.sent_webhooks.append(record)
    return record
