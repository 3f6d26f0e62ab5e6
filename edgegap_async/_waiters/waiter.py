"""What callers wait for: one deployment, and the futures of the callers."""

import asyncio
from math import inf
from typing import Generic, NamedTuple, TypeVar

from .._transport.client import Transport
from .._transport.deadlines import Deadline
from .._transport.request import Attempt, Withdrawn
from ..endpoints import STATUS
from ..errors import ApiError, DeadlineExceeded, EdgegapError
from ..models.deployment import DeploymentStatus

R = TypeVar("R")
# After so many failed status polls in a row, lists are used even for a single waiter.
STATUS_FAILURES = 3
# A status poll without an answer for so many seconds counts as such failures.
STATUS_TIMEOUT = 2.0
# Seconds for which the answer to a status poll is still awaited when the last caller has
# left: one with a short timeout may wait again.
LINGER = 5.0
# Seconds for which all answers must be an error that no retry would mend, if it does not
# have the API's form.
GATEWAY_ERRORS = 10.0
_ERROR = "error"


class StatusPoll:
    """The status poll of a waiter while it is under way.

    Once its request is being sent, no deadline of a caller cuts it off: a caller with a
    short timeout who waits again gets its answer.
    """

    def __init__(self) -> None:
        self.sent: bool = False
        # Nobody waits for it any more.
        self.left: bool = False

    @property
    def resolves(self) -> bool:
        """A status has no outcome to find out."""
        return False

    def sending(self, now: float, attempt: Attempt) -> None:
        """An attempt begins."""
        self.sent = True

    def ended(self, *, sent: bool) -> None:
        """An attempt has ended."""
        self.sent = False

    def interrupted(self, *, sent: bool) -> None:
        """A cancellation has ended an attempt."""
        self.sent = False

    def failed(self, error: EdgegapError) -> None:
        """An attempt has failed."""

    def retrying(self) -> None:
        """Another attempt follows, unless nobody waits for it."""
        if self.left:
            raise Withdrawn


class Waiter(Generic[R]):
    """A deployment that some callers wait for.

    Args:
        now: the time, on the loop's clock.

    Attributes:
        callers: the future of each caller, with the deadline of the caller. The result
            None means that no poll can end before the deadline.
        polled_at: the time of the last status poll.
        failed_polls: failed status polls in a row.
        poll: the status poll in progress.
        poll_task: the task of the latest status poll.
        listing: a list with this deployment is in progress.
        failure: the error of the latest poll.
        last: the latest status.
        outcome: what the callers were told.
    """

    __slots__ = (
        "_claim",
        "began",
        "callers",
        "failed_polls",
        "failure",
        "last",
        "listing",
        "outcome",
        "poll",
        "poll_task",
        "polled_at",
        "request_id",
    )

    def __init__(self, request_id: str, now: float) -> None:
        self.request_id: str = request_id
        self.began: float = now
        self.callers: dict[asyncio.Future[R | None], float | None] = {}
        self.polled_at: float = now
        self.failed_polls: int = 0
        self.poll: StatusPoll | None = None
        self.poll_task: asyncio.Task[None] | None = None
        self.listing: bool = False
        self.failure: EdgegapError | None = None
        self.last: DeploymentStatus | None = None
        self.outcome: R | None = None
        # What the latest answers say and one answer does not prove, and since when.
        self._claim: tuple[str, float] | None = None

    @property
    def polling(self) -> bool:
        """Whether a status poll is in progress."""
        return self.poll is not None

    @property
    def deadline(self) -> float | None:
        """The latest deadline of the callers. None: one of them has no deadline."""
        latest = -inf
        for deadline in self.callers.values():
            if deadline is None:
                return None
            latest = max(latest, deadline)
        return latest

    def resolve(self, outcome: R) -> None:
        """Give all callers their outcome."""
        self.outcome = outcome
        for future in self.callers:
            if not future.done():
                future.set_result(outcome)

    def leave(self, now: float) -> bool:
        """The last caller has left. A poll that is not sent so far would take a slot that
        others need, and one that hangs holds it.

        Returns:
            Whether a poll goes on, for a caller who comes back.
        """
        if self.poll is None or self.poll_task is None:
            return False
        self.poll.left = True
        if self.poll.sent and now - self.polled_at < LINGER:
            asyncio.get_running_loop().call_later(LINGER, self._give_up, self.poll)
            return True
        self.poll_task.cancel()
        return False

    def _give_up(self, poll: StatusPoll) -> None:
        if self.poll is poll and self.poll_task and poll.left:
            self.poll_task.cancel()

    def answered(self, status: DeploymentStatus) -> None:
        """A status poll was answered."""
        self.last, self.failed_polls = status, 0

    def record_failure(self, error: EdgegapError) -> None:
        """Record the error of a poll.

        A time-out does not replace another error, which has more information.
        """
        if self.failure is None or not isinstance(error, TimeoutError):
            self.failure = error

    def status_unavailable(self, now: float) -> bool:
        """Return whether status polls fail or hang."""
        return self.failed_polls >= STATUS_FAILURES or (
            self.polling and now - self.polled_at >= STATUS_TIMEOUT
        )

    def status_timeout(self, now: float) -> EdgegapError | None:
        """Return an error for a status poll that has no answer so far."""
        if not self.status_unavailable(now):
            return None
        text = (
            f"the status of {self.request_id} was not answered within "
            f"{now - self.polled_at:.3g} s"
        )
        return DeadlineExceeded(text, request_sent=True)

    def claims(self, what: str | None, now: float, seconds: float) -> bool:
        """Record what an answer says that one answer does not prove.

        Args:
            what: None: the answer says nothing of that kind.
            seconds: for which all answers must have said the same.

        Returns:
            Whether they have.
        """
        if what is None:
            self._claim = None
            return False
        if self._claim is None or self._claim[0] != what:
            self._claim = what, now
        return now - self._claim[1] >= seconds

    def answered_otherwise(self) -> None:
        """Something else than an error that no retry would mend was answered."""
        if self._claim and self._claim[0].startswith(_ERROR):
            self._claim = None

    def believes(self, error: EdgegapError, now: float) -> bool:
        """Whether an error that no retry would mend ends the wait. A firewall's page may
        be one of many answers.
        """
        if not isinstance(error, ApiError) or error.from_api:
            return True
        return self.claims(f"{_ERROR} {error.status}", now, GATEWAY_ERRORS)


class WaitHandle(NamedTuple, Generic[R]):
    """The wait of one caller.

    Attributes:
        waiter: the deployment that the caller waits for.
        future: the result of the wait.
        timeout: seconds, as the caller passed them. None: no limit.
        deadline: the same as a time on the loop's clock.
    """

    waiter: Waiter[R]
    future: asyncio.Future[R | None]
    timeout: float | None
    deadline: float | None


async def ask_status(transport: Transport, waiter: Waiter[R]) -> DeploymentStatus:
    """Ask for the status of a waiter, until the deadline of its last caller."""
    return await transport.call(
        STATUS,
        {"request_id": waiter.request_id},
        timeout=Deadline(waiter.deadline, None).left(),
        priority="background",
        progress=waiter.poll,
    )


def join(
    transport: Transport, waiter: Waiter[R], timeout: float | None
) -> WaitHandle[R]:
    """Add a caller to a waiter.

    Args:
        timeout: seconds. None: no limit.
    """
    loop = transport.enter()
    deadline = None if timeout is None else loop.time() + timeout
    future: asyncio.Future[R | None] = loop.create_future()
    waiter.callers[future] = deadline
    return WaitHandle(waiter, future, timeout, deadline)
