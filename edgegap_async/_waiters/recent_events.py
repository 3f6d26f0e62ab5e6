"""The last event of each deployment.

Waiters that start after a webhook get its outcome. No waiter gets an outcome that is
out of date, such as READY after a stop.

Webhooks may arrive out of order. A webhook of an earlier stage than the known one only
causes a poll.
"""

from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

from .._records.records import Records
from ..errors import DeploymentFailed, DeploymentTerminated
from ..models.deployment import EndReason, ReadyDeployment
from .outcomes import Outcome, has_address, outcome_of

# Most sessions use no webhooks, so they need not import that module.
if TYPE_CHECKING:
    from ..webhooks import WebhookEvent

# Seconds for which READY and ERROR are reported to waiters that start later.
FRESH = 30.0
# The same for a status that was answered when its callers had left.
FRESH_STATUS = 5.0


class _Stage(IntEnum):
    """The stage of a deployment. It never decreases."""

    READY = 0
    ERROR = 1
    # No webhook reports this stage. The API has accepted a stop, or a poll has shown
    # that the deployment is gone.
    ENDING = 2
    TERMINATED = 3


class _Last(NamedTuple):
    """The last event of a deployment.

    Attributes:
        stage: the stage that it reports.
        until: until when it is reported to waiters, on the loop's clock.
        outcome: the outcome that a webhook shows. None: it needs a poll.
        reason: why it has ended.
    """

    stage: _Stage
    until: float
    outcome: Outcome | None = None
    reason: EndReason = EndReason.STOPPED


class RecentEvents:
    """The last event of each deployment. The caller passes the time.

    Args:
        records: the records in which the events are kept.
    """

    def __init__(self, records: Records) -> None:
        self._records = records

    def receive(self, event: "WebhookEvent", now: float) -> None:
        """Record a webhook of a deployment of this session."""
        outcome = _outcome_of_event(event)
        record = self._records.of(event.request_id)
        if isinstance(outcome, ReadyDeployment) and record.ready_after is not None:
            # The event is late or sent again. The server may be gone by now, so a poll
            # decides.
            outcome = None
        stage = _Stage[event.event.upper()]
        self._put(event.request_id, _Last(stage, now + FRESH, outcome))

    def seen(self, ready: ReadyDeployment, now: float) -> None:
        """Record a status that says READY, and that nobody waited for any more."""
        last = self._last(ready.request_id)
        if last is None or last.stage is _Stage.READY:
            news = _Last(_Stage.READY, now + FRESH_STATUS, ready)
            self._records.of(ready.request_id).last_event = news

    def _last(self, request_id: str) -> _Last | None:
        record = self._records.get(request_id)
        last = record.last_event if record else None
        return last if isinstance(last, _Last) else None

    def ends(self, request_id: str, now: float) -> None:
        """Record a stop or an end. From now on, only the end is an outcome."""
        self._put(request_id, _Last(_Stage.ENDING, now))

    def terminated(self, request_id: str, reason: EndReason, now: float) -> None:
        """Record that a deployment does not exist any more."""
        gone = DeploymentTerminated(request_id)
        self._put(request_id, _Last(_Stage.TERMINATED, now, gone, reason))

    def _put(self, request_id: str, news: _Last) -> None:
        last = self._last(request_id)
        again = last and last.stage is news.stage and last.outcome
        if not again and (last is None or last.stage <= news.stage):
            self._records.of(request_id).last_event = news

    def outcome(self, request_id: str, now: float) -> Outcome | None:
        """Return the outcome for a waiter for READY, if it is known without a poll."""
        last = self._last(request_id)
        if last is None or (last.stage is not _Stage.TERMINATED and now >= last.until):
            return None
        return last.outcome

    def end(self, request_id: str, *, gone: bool) -> EndReason | None:
        """Return why a server has ended, if it is known without a poll.

        Args:
            gone: only if it does not exist any more.
        """
        last = self._last(request_id)
        if last is None:
            return None
        if last.stage is _Stage.TERMINATED or (
            last.stage is _Stage.ENDING and not gone
        ):
            return last.reason
        failed = last.stage is _Stage.ERROR and last.outcome and not gone
        return EndReason.FAILED if failed else None


def _outcome_of_event(event: "WebhookEvent") -> Outcome | None:
    """Return the outcome that a webhook shows, or None.

    The name of the event is signed, its body is not. So both must agree, and READY must
    come with an address. For `terminated`, the name is enough: Edgegap does not
    document the body of that webhook.
    """
    if event.event == "terminated":
        return DeploymentTerminated(event.request_id)
    outcome = outcome_of(event.status)
    if event.event == "error":
        return outcome if isinstance(outcome, DeploymentFailed) else None
    if isinstance(outcome, ReadyDeployment) and has_address(outcome):
        return outcome
    return None
