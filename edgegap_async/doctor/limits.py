"""How the API counts requests against its limit of lists, and what a refusal is like."""

import asyncio
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from math import inf

from .._transport.retry import Retry, read_retry_after
from ..endpoints import LIST, LIST_LIMIT
from ..errors import EdgegapError, RateLimited
from ..models._check import fail
from ..session import EdgegapSession
from .counting import Fit, Sample, alike, explains, fits
from .findings import Diagnosis, Finding, Value, finding

# Requests in all.
MOST = 200
# Sent at once, one after the other, until one is refused.
BURSTS = (20, 20, 40, 40)
# Seconds without a request, in which windows empty and buckets fill.
QUIET = 2.5
# The time between two requests after a burst, and how long they go on, in seconds.
SLOW, SLOW_FOR = 0.05, 1.6
# After a burst of which one or two were admitted: spacing is only measured by requests
# that are closer than its tolerance.
FAST, FAST_FOR = 0.007, 0.5
FEW_ADMITTED = 2
# The second burst begins so much later in a second than the first. Only a fixed window
# sees a difference.
SHIFT = 0.5
AGAIN_FOR = 1.2
# More than the limit, so that the second burst is refused in part.
SPARE = 5
ONCE = Retry(tries=1)


async def limits(edgegap: EdgegapSession) -> Diagnosis:
    """Send more lists than the documented limit allows, at most 200, within ten seconds
    (GET /v1/deployments). Meanwhile, all programs of the organization may be refused.

    Args:
        edgegap: a session that does not limit lists: `limits=Limits(list=None)`.

    Raises:
        ValueError: the session limits lists; nothing was sent.
        EdgegapError: the API can't be reached, or fails.
    """
    if edgegap.usage()["list"].rate is not None:
        fail("edgegap", "must not limit lists: give it limits=Limits(list=None)")
    probe = _Probe(edgegap)
    await _send(probe)
    return Diagnosis(
        checked=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        target=edgegap.base_url,
        findings=(*_counting(probe.samples), *_refusal(probe.refusal)),
    )


class _Probe:
    """Sends lists, and notes which are refused.

    Attributes:
        samples: one for each request that was answered.
        refusal: the first one.
    """

    def __init__(self, edgegap: EdgegapSession) -> None:
        self._edgegap = edgegap
        self._loop = asyncio.get_running_loop()
        self._sent = 0
        self._shortest = inf
        self._answers: list[tuple[float, bool]] = []
        self._failure: EdgegapError | None = None
        self.refusal: RateLimited | None = None

    @property
    def samples(self) -> list[Sample]:
        # The server has counted a request half a round trip before its answer arrived,
        # or earlier: the shortest round trip has the least delays in it.
        back = self._shortest / 2
        return [Sample(at - back, admitted) for at, admitted in self._answers]

    async def burst(self, size: int) -> int:
        """Send requests at once. Return how many were admitted."""
        before = len(self._answers)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(size):
                self._start(tasks)
        self._raise()
        return sum(admitted for _, admitted in self._answers[before:])

    async def trickle(self, every: float, seconds: float) -> None:
        """Send requests at an even pace, whether they are answered or not."""
        began = self._loop.time()
        async with asyncio.TaskGroup() as tasks:
            for number in range(1, int(seconds / every) + 1):
                await asyncio.sleep(began + number * every - self._loop.time())
                self._start(tasks)
        self._raise()

    def _start(self, tasks: asyncio.TaskGroup) -> None:
        if self._sent < MOST and self._failure is None:
            self._sent += 1
            tasks.create_task(self._list())

    async def _list(self) -> None:
        began, admitted = self._loop.time(), True
        try:
            await self._edgegap.request(
                LIST.method, LIST.path, query={"limit": 1}, retry=ONCE
            )
        except RateLimited as error:
            admitted = False
            self.refusal = self.refusal or error
        except EdgegapError as error:
            # A group of tasks would raise it in a group of errors.
            self._failure = error
            return
        ended = self._loop.time()
        self._shortest = min(self._shortest, ended - began)
        self._answers.append((ended, admitted))

    def _raise(self) -> None:
        if self._failure is not None:
            raise self._failure


async def _send(probe: _Probe) -> None:
    """Send what tells the ways of counting from each other."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(QUIET)
    began, admitted = loop.time(), 0
    for size in BURSTS:
        admitted += await probe.burst(size)
        if probe.refusal is not None:
            break
    else:
        return
    if admitted <= FEW_ADMITTED:
        await probe.trickle(FAST, FAST_FOR)
    await probe.trickle(SLOW, SLOW_FOR)
    await asyncio.sleep(QUIET)
    await asyncio.sleep((began + SHIFT - loop.time()) % 1)
    await probe.burst(admitted + SPARE)
    await probe.trickle(SLOW, AGAIN_FOR)


def _counting(samples: list[Sample]) -> Iterable[Finding]:
    count = len(samples)
    refused = sum(not it.admitted for it in samples)
    way: Value = None
    rate: Value = None
    note = f"{refused} of {count} requests were refused"
    rate_note = ""
    if not refused:
        way = "off"
    else:
        best = alike(fits(samples))
        if not explains(best[0]):
            note += (
                "; no known way of counting explains which: try again at a quiet time"
            )
        else:
            way = best[0].way if len(best) == 1 else None
            if way is None:
                note += f"; {' or '.join(it.way for it in best)}"
            rate, rate_note = _rate(best)
    yield finding(
        "enforcement",
        "How are lists counted against their limit?",
        way,
        "sliding-window",
        note,
    )
    question = "How many lists per second are admitted?"
    yield finding("list_rate", question, rate, LIST_LIMIT.rate, rate_note)


def _rate(best: list[Fit]) -> tuple[Value, str]:
    """The rate, if there is only one that explains the requests, or the documented one is
    among them.
    """
    rates = {rate for fit in best for rate in fit.rates}
    if len(rates) == 1:
        return rates.pop(), ""
    documented = LIST_LIMIT.rate if LIST_LIMIT.rate in rates else None
    return documented, f"from {min(rates)} to {max(rates)}"


def _refusal(refusal: RateLimited | None) -> Iterable[Finding]:
    form, seconds, body = None, None, None
    note = "" if refusal else "nothing was refused"
    if refusal is not None:
        form, seconds = _retry_after(refusal.headers)
        body = "json" if refusal.from_api else "other"
        note = refusal.message[:80]
    yield finding("refusal_body", "Which body has a refusal (429)?", body, "json", note)
    question = "Which Retry-After has a refusal?"
    yield finding("retry_after_form", question, form, "none")
    if seconds is not None:
        question = "How many seconds does it ask to wait?"
        yield finding("retry_after", question, seconds)


def _retry_after(headers: Mapping[str, str]) -> tuple[str, float | None]:
    """The form of the header, and its seconds."""
    text = headers.get("retry-after")
    if text is None:
        return "none", None
    wait = read_retry_after(text, headers.get("date"), datetime.now(UTC))
    if wait is None:
        return "unreadable", None
    # The day of the week comes first.
    if text.lstrip()[:1].isalpha():
        return "date", max(0.0, wait)
    return ("seconds", wait) if wait >= 0 else ("unreadable", None)
