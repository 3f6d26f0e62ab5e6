"""What webhooks have told last of each deployment: for who waits only then, and so that
nobody is told what is over.

They come out of order. One that tells of an earlier stage than is known changes
nothing; it leads to a look.
"""

from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

from ..errors import DeploymentFailed, DeploymentTerminated
from ..models.deployment import ReadyDeployment
from .poller import outcome_of
from .schedule import Goal, Outcome

# most sessions have no webhooks
if TYPE_CHECKING:
    from ..webhooks import WebhookEvent

# seconds for which READY and ERROR still are told to who waits only then
FRESH = 30.0
# deployments of which something is known: two minutes of deploys at the full rate
MOST_REMEMBERED = 5000


class _Stage(IntEnum):
    """How far a deployment is known to have come. There is no way back."""

    READY = 0
    ERROR = 1
    # not by a webhook: its stop was accepted, or a look has shown that it is gone
    ENDING = 2
    TERMINATED = 3


class _Last(NamedTuple):
    """What is known; `outcome`: what a webhook has told of it, if it can be believed as
    it stands.
    """

    stage: _Stage
    since: float
    outcome: Outcome | None = None


class RecentEvents:
    """The last word on each deployment. Pure: who asks gives the time."""

    def __init__(self) -> None:
        self._last: dict[str, _Last] = {}

    def receive(self, event: "WebhookEvent", now: float) -> None:
        """A webhook tells of a deployment of this session."""
        self._put(
            event.request_id,
            _Last(_Stage[event.event.upper()], now, _outcome_of_event(event)),
        )

    def ends(self, request_id: str, now: float) -> None:
        """Its stop was accepted, or it is gone: nothing but its end is believed from
        now on.
        """
        self._put(request_id, _Last(_Stage.ENDING, now))

    def _put(self, request_id: str, news: _Last) -> None:
        last = self._last.pop(request_id, None)
        self._last[request_id] = last if last and last.stage > news.stage else news
        if len(self._last) > MOST_REMEMBERED:
            del self._last[next(iter(self._last))]

    def outcome(self, request_id: str, goal: Goal, now: float) -> Outcome | None:
        """What who waits can be told without a look."""
        last = self._last.get(request_id)
        if last is None or (
            last.stage is not _Stage.TERMINATED
            and (goal == "stopped" or now - last.since >= FRESH)
        ):
            return None
        return last.outcome


def _outcome_of_event(event: "WebhookEvent") -> Outcome | None:
    """What a webhook says, where its name, which is signed, and its body agree, and it
    says where players connect to.

    What comes with the end was never published: there the name is enough.
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
