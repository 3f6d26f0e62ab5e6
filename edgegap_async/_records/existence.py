"""Whether a deployment is really gone when an answer says that it is not found.

TERMINATED, or a 410 whose
  message names the ID or a
  deployment                    gone, at any age: the API knows that it has existed
less than 30 s old when the
  request was sent              never gone: replicas lag, so "not found" may mean "not
                                visible yet"
the API's 400, or a 404 whose
  message names the ID or a
  deployment                    gone; while callers wait for it to be READY, a list must
                                confirm a 404
any other 404 or 410            perhaps a gateway's: gone if a list confirms it. Where no
                                list can be proven, three such answers in the API's form
                                over 10 s; pages of HTML and empty bodies never count
"""

import asyncio
import logging
from collections.abc import Collection
from enum import Enum

from msgspec import UNSET

from .._transport.client import Transport
from .._transport.deadlines import Deadline, loop_time
from .._transport.options import Timeout
from .._transport.presence import existing, nothing_exists
from ..endpoints import STATUS
from ..errors import ApiError, EdgegapError, is_gone
from ..models.deployment import DeploymentState
from .records import Records
from .state import DeployState

log: logging.Logger = logging.getLogger("edgegap_async")
# Seconds after which "not found" no longer means "not visible yet".
YOUNG = 30.0
# Answers in the API's form that count where no list can be proven, and the seconds
# between the first and the last of them.
ENOUGH_ANSWERS, LEAST_SPAN = 3, 10.0
# Seconds for the lists of one confirmation.
CONFIRM_TIMEOUT = 10.0
# Seconds for a status that `has_ended` asks for: two attempts, or one in a busy queue.
STATUS_TIMEOUT = 20.0
# Seconds until the list is asked for: many may be in doubt at the same time.
GATHER = 0.5
# IDs per confirmation: as many as fit into a URL.
MOST_IDS = 200


class _Listed(Enum):
    """What lists say about a deployment.

    NOTHING: a list without filters shows no deployment at all, which confirms nothing
    but the API's own answer that this one is gone.
    """

    SHOWN = "shown"
    ABSENT = "absent"
    NOTHING = "nothing"
    UNPROVEN = "unproven"


class Existence:
    """Judges answers that say "not found".

    Args:
        records: knows how old each deployment is.
    """

    def __init__(self, records: Records) -> None:
        self._records = records
        # The IDs that wait for a confirmation. One list answers for all of them.
        self._unconfirmed: dict[str, asyncio.Future[_Listed]] = {}
        self._asking = asyncio.Lock()

    async def has_ended(self, transport: Transport, request_id: str) -> bool:
        """Whether the status of a deployment shows that it is gone. False if the status
        could not be had.
        """
        asked = loop_time()
        try:
            return await is_terminated(transport, request_id, STATUS_TIMEOUT)
        except ApiError as error:
            return await self.is_gone(transport, request_id, error, asked, None)
        except EdgegapError:
            return False

    async def is_gone(
        self,
        transport: Transport,
        request_id: str,
        error: ApiError,
        asked: float,
        deadline: float | None,
        *,
        doubt: bool = False,
    ) -> bool:
        """Whether an error response means that the deployment is gone.

        Args:
            transport: for the list that confirms it.
            asked: when the request was sent, on the loop's clock. The process may have
                been suspended between its answer and now.
            deadline: when the caller can't wait for a confirmation any longer, on the
                loop's clock.
            doubt: a 404 must be confirmed even if it is the API's own: among other
                answers, a replica that lags may say so for seconds.
        """
        if not is_gone(error):
            self.heard(request_id)
            return False
        named = names_deployment(error, request_id)
        if named and error.status == 410:
            return True
        if self._records.age(request_id, asked) < YOUNG:
            return False
        doubt = doubt and error.status != 400 and not self._has_ended(request_id)
        if named and not doubt:
            return True
        listed = _Listed.UNPROVEN
        try:
            async with asyncio.timeout_at(deadline):
                listed = await self._look(transport, request_id)
        except TimeoutError:
            pass
        if listed is _Listed.ABSENT or (listed is _Listed.NOTHING and named):
            return True
        if listed is _Listed.SHOWN:
            return False
        return error.from_api and self._answered_often(request_id, asked)

    def seen(self, request_id: str) -> None:
        """An answer shows that the deployment exists."""
        self._records.seen((request_id,))
        self.heard(request_id)

    def age(self, request_id: str) -> float:
        """Seconds since this session first saw the deployment. Infinity: long ago."""
        return self._records.age(request_id, loop_time())

    def _has_ended(self, request_id: str) -> bool:
        record = self._records.get(request_id)
        return record is not None and record.state is DeployState.ENDED

    def heard(self, request_id: str) -> None:
        """Something else than "not found" was answered."""
        record = self._records.get(request_id)
        if record:
            record.not_found = (0, 0.0)

    def _answered_often(self, request_id: str, asked: float) -> bool:
        record = self._records.of(request_id)
        count, since = record.not_found
        since = since if count else asked
        record.not_found = (count + 1, since)
        return count + 1 >= ENOUGH_ANSWERS and asked - since >= LEAST_SPAN

    async def _look(self, transport: Transport, request_id: str) -> _Listed:
        """What a list says."""
        future = self._unconfirmed.get(request_id)
        if future is None:
            future = asyncio.get_running_loop().create_future()
            self._unconfirmed[request_id] = future
        async with self._asking:
            if not future.done():
                await self._ask(transport)
        return future.result() if future.done() else _Listed.UNPROVEN

    async def _ask(self, transport: Transport) -> None:
        """Ask one list for all that wait, and for those that come in a moment."""
        await asyncio.sleep(GATHER)
        asked = list(self._unconfirmed)[:MOST_IDS]
        shown: Collection[str] = ()
        others = _Listed.UNPROVEN
        try:
            proven = await existing(transport, asked, Deadline.after(CONFIRM_TIMEOUT))
            if proven is not None:
                shown, others = proven, _Listed.ABSENT
            elif await nothing_exists(transport, Deadline.after(CONFIRM_TIMEOUT)):
                others = _Listed.NOTHING
        except EdgegapError as failed:
            log.info("list failed, retrying with the next answer: %s", failed)
        for request_id in asked:
            future = self._unconfirmed.pop(request_id)
            if not future.done():
                future.set_result(_Listed.SHOWN if request_id in shown else others)
            if request_id in shown:
                self._records.of(request_id).not_found = (0, 0.0)


async def is_terminated(
    transport: Transport, request_id: str, timeout: Timeout = UNSET
) -> bool:
    """Whether the status says TERMINATED. A 404, 410 or the API's own 400, which may mean
    the same, are raised as errors.
    """
    status = await transport.call(
        STATUS, {"request_id": request_id}, timeout=timeout, priority="background"
    )
    return status.state is DeploymentState.TERMINATED


def names_deployment(error: ApiError, request_id: str) -> bool:
    """Whether "not found" is the API's own answer about this deployment: the 400 of the
    API, or a JSON message with its ID or the word deployment.
    """
    if not error.from_api:
        return False
    text = error.message.lower()
    return error.status == 400 or request_id.lower() in text or "deployment" in text
