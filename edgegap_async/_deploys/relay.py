"""Passes webhooks on to the process that waits for them, if several are behind one URL.

A webhook that is not from a deploy of this process is published, signed, in the store of
`shared=`. All processes read what is published, and take what bears one of their nonces.
A relay that is slow or fails costs what a lost webhook costs: waiters learn by polling.

The loop says when to read and to publish, as only a loop that runs can wake a waiter. The
work is done in the thread of the store.
"""

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, NamedTuple

import msgspec

from .._limits.registry import fork_count
from .._shared.config import SharedState
from .._shared.relay_messages import LIFETIME, Ignored, Message, Sealer
from .._shared.relay_store import MOST_READ, RelayStore, relay_store
from .._shared.store import StoreError
from .._shared.stores import STORES, Store
from .._shared.thread import StoreThread
from ..webhooks import WebhookEvent, WebhookReceiver

log: logging.Logger = logging.getLogger("edgegap_async")
# Seconds between two reads while somebody may wait for a webhook, and otherwise.
READ_EVERY, READ_IDLE = 0.1, 1.0
# Seconds after a deploy in which somebody may begin to wait for it.
SOON = 60.0
# Seconds between two writes, and the messages of one.
PUBLISH_EVERY, MOST_AT_ONCE = 0.05, 100
# Messages that wait to be published. The oldest ones are dropped.
MOST_QUEUED = 500
# Seconds until the next try after a failure. A try may take the thread a few seconds.
AFTER_FAILURE = 5.0
# Deploys whose webhooks are known to be of this session: as many as there are records.
MOST_NONCES = 10_000
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(WebhookEvent).decode


class _Read(NamedTuple):
    """What a read has found.

    Attributes:
        events: those of this session.
        ignored: why messages were ignored.
        more: there may be more.
    """

    events: list[WebhookEvent]
    ignored: set[Ignored]
    more: bool


class Relay:
    """The webhooks that one session passes on to other processes, and gets from them.

    Args:
        key: the organization's name.
        receiver: has verified what is passed on.
        relay_keys: the receiver's. There is one at least.
    """

    def __init__(
        self,
        shared: SharedState,
        key: str,
        receiver: WebhookReceiver,
        relay_keys: Sequence[bytes],
    ) -> None:
        self._shared, self._key, self._receiver = shared, key, receiver
        self._sealer = Sealer(relay_keys)
        self._notify: Callable[[WebhookEvent], object] = lambda _: None
        self._waiting: Callable[[], bool] = lambda: False
        self._forks = fork_count()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: StoreThread[Store]
        self._store: RelayStore
        self._closed = False
        # Of the deploys of this session. The latest last.
        self._nonces: OrderedDict[str, None] = OrderedDict()
        # To be published.
        self._queue: deque[bytes] = deque(maxlen=MOST_QUEUED)
        self._reading = self._publishing = False
        # The next ones.
        self._read_timer: asyncio.TimerHandle | None = None
        self._publish_timer: asyncio.TimerHandle | None = None
        self._busy_until = 0.0
        # What was logged: it is not logged again.
        self._ignored: set[Ignored] = set()
        self._failing: set[str] = set()
        self._full = False

    def connect(
        self, notify: Callable[[WebhookEvent], object], waiting: Callable[[], bool]
    ) -> None:
        """Connect it to the session.

        Args:
            notify: called with each webhook that another process has received.
            waiting: whether somebody may wait for one.
        """
        self._notify, self._waiting = notify, waiting

    def start(self) -> None:
        """Begin to pass webhooks on, in the running loop."""
        self._loop, self._forks = asyncio.get_running_loop(), fork_count()
        self._thread = STORES.acquire(self._shared, self._key)
        self._store = relay_store(self._thread.store, self._key)
        name = (self._shared.url, id(self._shared.client), self._key)
        self._receiver.add_relay(self.pass_on, name)
        # Processes that have ended may have left something.
        self._publish()

    def close(self) -> None:
        """End. What was received so far is still passed on. The loop may have ended."""
        if self._loop is None or self._closed:
            return
        self._closed = True
        self._receiver.remove_relay(self.pass_on)
        for timer in (self._read_timer, self._publish_timer):
            if timer:
                timer.cancel()
        while self._queue:
            last = self._thread.submit(self._store.publish, self._take())
            last.add_done_callback(_log_failure)
        self._thread.submit(self._store.close)
        STORES.release(self._shared, self._key, self._thread)

    # To other processes.

    def pass_on(self, event: WebhookEvent) -> None:
        """Pass a webhook on to the other processes. It never waits."""
        loop = self._loop
        if self._closed or loop is None or self._forks != fork_count():
            return
        message = self._sealer.seal(Message(event.nonce, _encode(event)), time.time())
        if message is None:
            self._log_ignored({Ignored.TOO_LONG})
            return
        if len(self._queue) == MOST_QUEUED and not self._full:
            self._full = True
            log.warning(
                "webhooks arrive faster than they can be passed on to other processes: some are dropped, and their "
                "waiters learn by polling; further ones are not logged"
            )
        self._queue.append(message)
        log.debug(
            "webhook passed on to other processes: %s",
            event.event,
            extra={"nonce": event.nonce, "request_id": event.request_id},
        )
        # This may be another thread.
        try:
            loop.call_soon_threadsafe(self._publish_soon)
        except RuntimeError:
            # The loop has ended, and nobody has closed the session. Another session of
            # the receiver may pass on what follows.
            self._receiver.remove_relay(self.pass_on)

    def _publish_soon(self) -> None:
        if self._queue and not self._publishing:
            self._publish()

    def _publish(self) -> None:
        """Publish what is queued. This also removes what is old."""
        if self._closed or self._loop is None:
            return
        if self._publish_timer:
            self._publish_timer.cancel()
        self._publishing = True
        messages = self._take()
        job = self._loop.run_in_executor(self._thread, self._store.publish, messages)
        job.add_done_callback(partial(self._published, bool(messages)))

    def _take(self) -> list[bytes]:
        count = min(len(self._queue), MOST_AT_ONCE)
        return [self._queue.popleft() for _ in range(count)]

    def _published(self, any_messages: bool, job: asyncio.Future[None]) -> None:
        failed = self._has_failed("passed on to other processes", job)
        if self._closed or self._loop is None:
            return
        pause = AFTER_FAILURE if failed else PUBLISH_EVERY
        self._publish_timer = self._loop.call_later(pause, self._next, any_messages)

    def _next(self, any_messages: bool) -> None:
        self._publishing = False
        if self._queue:
            self._publish()
        elif any_messages and self._loop:
            # By then, all that was published is old.
            self._publish_timer = self._loop.call_later(LIFETIME + 1.0, self._publish)

    # From other processes.

    def expect(self, nonce: str) -> None:
        """A deploy of this session is about to be sent with a nonce."""
        self._nonces[nonce] = None
        if len(self._nonces) > MOST_NONCES:
            self._nonces.popitem(last=False)
        if self._closed or self._loop is None:
            return
        now = self._loop.time()
        was_idle, self._busy_until = now >= self._busy_until, now + SOON
        if was_idle and not self._reading:
            self._read_after(0.0)

    def is_own(self, nonce: str) -> bool:
        """Whether a nonce is of a deploy of this session."""
        return nonce in self._nonces

    def _read_after(self, seconds: float) -> None:
        if self._read_timer:
            self._read_timer.cancel()
        if self._loop and not self._closed:
            self._read_timer = self._loop.call_later(seconds, self._read)

    def _read(self) -> None:
        if self._loop:
            self._reading = True
            job = self._loop.run_in_executor(self._thread, self._read_store)
            job.add_done_callback(self._has_read)

    def _read_store(self) -> _Read:
        """Read, in the thread."""
        data, now = self._store.read(), time.time()
        found = _Read([], set(), more=len(data) >= MOST_READ)
        for each in data:
            message = self._sealer.unseal(each, now)
            if isinstance(message, Ignored):
                found.ignored.add(message)
            elif message.nonce in self._nonces:
                try:
                    found.events.append(_decode(message.body))
                except (msgspec.MsgspecError, UnicodeDecodeError):
                    found.ignored.add(Ignored.UNREADABLE)
        return found

    def _has_read(self, job: asyncio.Future[_Read]) -> None:
        self._reading = False
        failed = self._has_failed("received from other processes", job)
        if self._closed or self._loop is None:
            return
        if failed:
            self._read_after(AFTER_FAILURE)
            return
        found = job.result()
        busy = self._waiting() or self._loop.time() < self._busy_until
        self._read_after(0.0 if found.more else READ_EVERY if busy else READ_IDLE)
        self._log_ignored(found.ignored)
        for event in found.events:
            log.debug(
                "webhook received from another process: %s",
                event.event,
                extra={"nonce": event.nonce, "request_id": event.request_id},
            )
            self._notify(event)

    # What is logged.

    def _log_ignored(self, ignored: set[Ignored]) -> None:
        for reason in ignored - self._ignored:
            self._ignored.add(reason)
            log.warning(
                "webhook from another process ignored: %s; further ones are not logged",
                reason.value,
            )

    def _has_failed(self, what: str, job: asyncio.Future[Any]) -> bool:
        error = None if job.cancelled() else job.exception()
        if error is None and what in self._failing:
            self._failing.discard(what)
            log.warning("webhooks are %s again", what)
        elif error and what not in self._failing and not self._closed:
            self._failing.add(what)
            log.warning(
                "webhooks can't be %s (%s): polling goes on",
                what,
                error,
                exc_info=None if isinstance(error, StoreError) else error,
            )
        return error is not None


def _log_failure(job: Future[None]) -> None:
    if error := job.exception():
        log.info("webhooks can't be passed on to other processes (%s)", error)
