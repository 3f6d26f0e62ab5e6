"""Finds out the tags of the rows of a list.

A row may leave them out, or tell others than the deployment has: another spelling, only
some of them, none. That is noticed by a row whose tags are known, as this session has
deployed it. Then the status of each deployment that may be ours is asked for them.
"""

from collections import OrderedDict
from collections.abc import Collection, Sequence
from math import inf

from msgspec import Struct

from .._records.records import Records
from .._transport.client import Transport
from .._transport.deadlines import loop_time
from .._waiters.filter_health import DISTRUST
from ..endpoints import STATUS
from ..errors import EdgegapError
from ..models.deployment import DeploymentState, DeploymentSummary

# Seconds for one status.
STATUS_TIMEOUT = 5.0
# Seconds after which one search asks for no further status: if none is answered, fifty
# would take minutes. Answers are remembered, so the next search asks for the others.
ASK_FOR = 10.0
# Rows whose tags are asked for by status in one search: while a tag is SEARCHED, and
# else. And rows whose tags are remembered.
MOST_STATUSES, BACKGROUND_STATUSES, MOST_REMEMBERED = 50, 5, 5000


class ToldTags(Struct, frozen=True):
    """The tags of rows.

    Attributes:
        tags: by request_id.
        unclear: the tags of a row that may be ours could not be found out.
    """

    tags: dict[str, Collection[str]]
    unclear: bool


class RowTags:
    """The tags of the rows of lists.

    Args:
        records: knows the tags of the deployments of this session.
    """

    def __init__(self, transport: Transport, records: Records) -> None:
        self._transport, self._records = transport, records
        # Until then, rows are not believed to tell their tags.
        self._distrusted_until = -inf
        # The tags that a status has told.
        self._by_status: OrderedDict[str, tuple[str, ...]] = OrderedDict()

    async def tell(
        self,
        rows: Sequence[DeploymentSummary],
        since: float,
        asked: float,
        *,
        waited_for: bool,
        wanted: Collection[str] = (),
    ) -> ToldTags:
        """The tags of these rows.

        Args:
            since: when the first of the deploys was sent, on the loop's clock.
            asked: when the list was asked for, on the loop's clock.
            waited_for: somebody waits, so more statuses may be asked for.
            wanted: the tags that the list was filtered by. A row with none of them shows
                that the filter is ignored, or that its tags are others than the row
                tells, which its status decides.
        """
        if any(self._contradicts(row) for row in rows):
            self._distrusted_until = asked + DISTRUST
        # A list in which no row has a tag may not tell them.
        telling = asked >= self._distrusted_until and any(row.tags for row in rows)
        others = [row for row in rows if not {*wanted}.intersection(row.tags)]
        # A tag has one server, or two. More others than tags are shown as the filter is
        # ignored, so their statuses would tell nothing.
        doubted = (
            {row.request_id for row in others} if len(others) <= len(wanted) else ()
        )
        oldest = self._ready_before(rows, since)
        left = MOST_STATUSES if waited_for else BACKGROUND_STATUSES
        ask_until = loop_time() + ASK_FOR
        told: dict[str, Collection[str]] = {}
        unclear = False
        for row in rows:
            request_id = row.request_id
            believed = telling and not row.tags_unknown
            if believed and request_id not in doubted:
                told[request_id] = row.tags
                continue
            record = self._records.get(request_id)
            if record and record.claimed:
                told[request_id] = (record.tag,) if record.tag else row.tags
                continue
            if self._records.seen_before(request_id, since) or _is_older(row, oldest):
                continue
            tags = self._by_status.get(request_id)
            if tags is None and left and loop_time() < ask_until:
                left -= 1
                tags = await self.by_status(request_id)
            if tags is not None:
                told[request_id] = tags
            elif believed:
                told[request_id] = row.tags
            else:
                unclear = True
                told |= _shown_in_part(row, wanted)
        return ToldTags(told, unclear)

    def _contradicts(self, row: DeploymentSummary) -> bool:
        """Whether a row does not tell a tag that its deployment has."""
        record = self._records.get(row.request_id)
        tag = record.tag if record else None
        return not row.tags_unknown and tag is not None and tag not in row.tags

    def _ready_before(
        self, rows: Sequence[DeploymentSummary], since: float
    ) -> DeploymentSummary | None:
        """The latest of these deployments that was READY before a deploy was sent, as far
        as this session knows.
        """
        latest = None
        for row in rows:
            record = self._records.get(row.request_id)
            if not record or record.accepted_at is None or record.ready_after is None:
                continue
            if record.accepted_at + record.ready_after < since and _is_older(
                latest, row
            ):
                latest = row
        return latest

    async def by_status(self, request_id: str) -> tuple[str, ...] | None:
        """The tags of a deployment. None: its status does not tell them so far."""
        try:
            status = await self._transport.call(
                STATUS,
                {"request_id": request_id},
                timeout=STATUS_TIMEOUT,
                priority="background",
            )
        except EdgegapError:
            return None
        # Before it is placed, a status may show no tags yet.
        placed = status.state is DeploymentState.READY
        if status.tags_unknown or not (status.tags or placed):
            return None
        self._by_status[request_id] = status.tags
        if len(self._by_status) > MOST_REMEMBERED:
            self._by_status.popitem(last=False)
        return status.tags


def _shown_in_part(
    row: DeploymentSummary, wanted: Collection[str]
) -> dict[str, Collection[str]]:
    """The tags that can be read of a row with others that can't: it has at least these."""
    if row.tags_unknown and (not wanted or {*wanted}.intersection(row.tags)):
        return {row.request_id: row.tags}
    return {}


def _is_older(row: DeploymentSummary | None, than: DeploymentSummary | None) -> bool:
    """Whether a deployment was READY before another one. Both times are the API's: those
    of this process, and its time zone, may be others. A row that is missing is older.
    """
    if row is None or than is None:
        return row is None
    if row.start_time is None or than.start_time is None:
        return False
    return row.start_time < than.start_time
