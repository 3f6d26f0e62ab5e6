"""Reports what becomes of servers to `on_event`: ready, stopped, ended or left over, each
once.
"""

import asyncio
from collections.abc import Iterable
from typing import Literal

from .._transport.client import Transport
from .._transport.deadlines import loop_time
from ..events import Event
from ..models.deployment import EndReason
from .records import Records


class Lifecycle:
    """What the session learns of its servers.

    Args:
        records: know the call that each server belongs to.
    """

    def __init__(self, transport: Transport, records: Records) -> None:
        self._transport, self._records = transport, records
        self._reporter = transport.reporter

    def causes(self, request_ids: Iterable[str]) -> list[int]:
        """The numbers of the calls for which the session asks about deployments."""
        if self._reporter is None:
            return []
        records = map(self._records.get, request_ids)
        return [record.started_by for record in records if record]

    def ready(self, request_id: str) -> None:
        """A server is READY."""
        self._report("ready", request_id, "ready")

    def stopped(self, request_id: str) -> None:
        """The API has accepted a stop of this session."""
        self._report("stopped", request_id, "stopped")

    def ended(self, request_id: str, reason: EndReason) -> None:
        """A server has ended."""
        record = self._records.get(request_id)
        if record and "stopped" in record.reported:
            # "Not found" is what becomes of a server that was stopped.
            reason = EndReason.STOPPED
        self._report("ended", request_id, reason.value)

    def left_over(self, request_id: str | None) -> None:
        """The session is closed, and a server may still be running.

        Args:
            request_id: None: it is not known.
        """
        # A session whose loop has ended may be collected as garbage in any code, even in
        # that of `on_event`.
        if self._reporter is None or not _runs(self._transport.loop):
            return
        record = self._records.get(request_id) if request_id else None
        self._reporter.report(
            Event(
                kind="leftover",
                call_id=record.started_by if record else 0,
                host=self._reporter.host,
                outcome="leftover",
                request_id=request_id,
            )
        )

    def _report(
        self, kind: Literal["ready", "stopped", "ended"], request_id: str, outcome: str
    ) -> None:
        if self._reporter is None:
            return
        record = self._records.of(request_id)
        if kind in record.reported:
            return
        record.reported = (*record.reported, kind)
        seconds = None
        if kind == "ready" and record.accepted_at is not None:
            seconds = loop_time() - (record.sent_at or record.accepted_at)
        self._reporter.report(
            Event(
                kind=kind,
                call_id=record.started_by,
                host=self._reporter.host,
                outcome=outcome,
                seconds=seconds,
                request_id=request_id,
            )
        )


def _runs(loop: asyncio.AbstractEventLoop | None) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False
