"""The last webhook of each deployment: for waiters that join afterwards, and so that no
waiter gets an outcome that is over.

Webhooks arrive out of order. One of an earlier stage than is known changes nothing but
leads to a poll.
"""

from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

from .._deploys.records import Records
from ..errors import DeploymentFailed, DeploymentTerminated
from ..models.deployment import ReadyDeployment
from .poller import outcome_of
from .schedule import Goal, Outcome

# Most sessions have no webhooks.
if TYPE_CHECKING:
    from ..webhooks import WebhookEvent

# Seconds for which READY and ERROR are still given to waiters that join afterwards.
FRESH = 30.0


class _Stage(IntEnum):
    """The stage of a deployment. It never goes back."""

    READY = 0
    ERROR = 1
    # Not by a webhook: a stop was accepted, or a poll has shown that it is gone.
    ENDING = 2
    TERMINATED = 3


class _Last(NamedTuple):
    """What is known of a deployment.

    Attributes:
        outcome: from a webhook, if it can be believed as it stands.
    """

    stage: _Stage
    since: float
    outcome: Outcome | None = None


class RecentEvents:
    """The last event of each deployment. Pure: the caller gives the time.

    Args:
        records: where it is kept.
    """

    def __init__(self, records: Records) -> None:
        self._records = records

    def receive(self, event: "WebhookEvent", now: float) -> None:
        """A webhook of a deployment of this session has arrived."""
        outcome = _outcome_of_event(event)
        record = self._records.of(event.request_id)
        if isinstance(outcome, ReadyDeployment) and record.ready_after is not None:
            # Late, or sent again: the server may be gone by now, so a poll decides.
            outcome = None
        self._put(event.request_id, _Last(_Stage[event.event.upper()], now, outcome))

    def _last(self, request_id: str) -> _Last | None:
        record = self._records.get(request_id)
        last = record.last_event if record else None
        return last if isinstance(last, _Last) else None

    def ends(self, request_id: str, now: float) -> None:
        """A stop was accepted, or it is gone: from now on only its end is believed."""
        self._put(request_id, _Last(_Stage.ENDING, now))

    def _put(self, request_id: str, news: _Last) -> None:
        last = self._last(request_id)
        again = last and last.stage is news.stage and last.outcome
        if not again and (last is None or last.stage <= news.stage):
            self._records.of(request_id).last_event = news

    def outcome(self, request_id: str, goal: Goal, now: float) -> Outcome | None:
        """The outcome that a waiter can have without a poll."""
        last = self._last(request_id)
        if last is None or (
            last.stage is not _Stage.TERMINATED
            and (goal == "stopped" or now - last.since >= FRESH)
        ):
            return None
        return last.outcome


def _outcome_of_event(event: "WebhookEvent") -> Outcome | None:
    """The outcome that a webhook shows, if its name, which is signed, and its body agree,
    and it says where players connect to.

    The body of a webhook at the end was never published, so the name is enough there.
    """
    if event.event == "terminated":
        return DeploymentTerminated(event.request_id)
    outcome = outcome_of(event.status, "ready")
    if event.event == "error":
        return outcome if isinstance(outcome, DeploymentFailed) else None
    whole = (
        isinstance(outcome, ReadyDeployment)
        and outcome.ports
        and (outcome.fqdn or outcome.public_ip)
    )
    return outcome if whole else None
