"""Whether a deployment is really gone when an answer says that it is not found.

TERMINATED                      gone, at any age
less than 30 s old              never gone: replicas lag, so "not found" may mean "not
                                visible yet"
the API's 400, or a 404 or 410
  whose message names the ID
  or a deployment               gone
any other 404 or 410            perhaps a gateway's: gone if a list confirms it. Where no
                                list can be proven, three such answers in the API's form
                                over 10 s; pages of HTML and empty bodies never count
"""

import asyncio
import logging
from collections.abc import Collection

from msgspec import UNSET

from .._transport.client import Timeout, Transport
from .._transport.queries import existing
from ..endpoints import STATUS
from ..errors import ApiError, EdgegapError, is_gone
from ..models.deployment import DeploymentState
from .records import Records

log: logging.Logger = logging.getLogger("edgegap_async")
# Seconds after which "not found" no longer means "not visible yet".
YOUNG = 30.0
# Answers in the API's form that count where no list can be proven, and the seconds
# between the first and the last of them.
ENOUGH_ANSWERS, LEAST_SPAN = 3, 10.0
# Seconds for the lists of one confirmation.
CONFIRM_TIMEOUT = 10.0
# Seconds until the list is asked for: many may be in doubt at the same time.
GATHER = 0.5
# IDs per confirmation: as many as fit into a URL.
MOST_IDS = 200


class Existence:
    """Judges answers that say "not found".

    Args:
        records: knows how old each deployment is.
    """

    def __init__(self, records: Records) -> None:
        self._records = records
        # The IDs that wait for a confirmation. One list answers for all of them.
        self._unconfirmed: dict[str, asyncio.Future[bool | None]] = {}
        self._asking = asyncio.Lock()

    async def has_ended(self, transport: Transport, request_id: str) -> bool:
        """Whether the status of a deployment shows that it is gone. False if the status
        could not be had.
        """
        try:
            return await is_terminated(transport, request_id)
        except ApiError as error:
            return await self.is_gone(transport, request_id, error, None)
        except EdgegapError:
            return False

    async def is_gone(
        self,
        transport: Transport,
        request_id: str,
        error: ApiError,
        deadline: float | None,
    ) -> bool:
        """Whether an error response means that the deployment is gone.

        Args:
            transport: for the list that confirms it.
            deadline: when the caller can't wait for a confirmation any longer, on the
                loop's clock.
        """
        if not is_gone(error):
            self.heard(request_id)
            return False
        now = asyncio.get_running_loop().time()
        if self._records.age(request_id, now) < YOUNG:
            return False
        if names_deployment(error, request_id):
            return True
        exists: bool | None = None
        try:
            async with asyncio.timeout_at(deadline):
                exists = await self._exists(transport, request_id)
        except TimeoutError:
            pass
        if exists is not None:
            return not exists
        return error.from_api and self._answered_often(request_id, now)

    def heard(self, request_id: str) -> None:
        """Something else than "not found" was answered."""
        record = self._records.get(request_id)
        if record:
            record.not_found = (0, 0.0)

    def _answered_often(self, request_id: str, now: float) -> bool:
        record = self._records.of(request_id)
        count, since = record.not_found
        record.not_found = (count + 1, since if count else now)
        return count + 1 >= ENOUGH_ANSWERS and now - record.not_found[1] >= LEAST_SPAN

    async def _exists(self, transport: Transport, request_id: str) -> bool | None:
        """What a list says. None: no list could be proven."""
        future = self._unconfirmed.get(request_id)
        if future is None:
            future = asyncio.get_running_loop().create_future()
            self._unconfirmed[request_id] = future
        async with self._asking:
            if not future.done():
                await self._ask(transport)
        return future.result() if future.done() else None

    async def _ask(self, transport: Transport) -> None:
        """Ask one list for all that wait, and for those that come in a moment."""
        await asyncio.sleep(GATHER)
        asked = list(self._unconfirmed)[:MOST_IDS]
        shown: Collection[str] | None = None
        try:
            shown = await existing(transport, asked, CONFIRM_TIMEOUT)
        except EdgegapError as failed:
            log.info("list failed, retrying with the next answer: %s", failed)
        for request_id in asked:
            future = self._unconfirmed.pop(request_id)
            if not future.done():
                future.set_result(None if shown is None else request_id in shown)
            if shown and request_id in shown:
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
