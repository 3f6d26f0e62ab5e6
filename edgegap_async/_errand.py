"""What is owned: a deploy until somebody has its server, and a server until somebody else answers for it."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from ._request import Voyage
from ._transport import Transport
from .models.deploy import DeploymentAccepted
from .models.deployment import ReadyDeployment

Send: TypeAlias = Callable[[Transport, str, float | None], Awaitable[DeploymentAccepted]]


class Handover:
    """Whether a server was handed over to somebody else."""

    def __init__(self) -> None:
        self.kept: bool = False


class OwnedDeployment(ReadyDeployment, frozen=True, kw_only=True):
    """A server that is ready, and stopped at the end of the block that it was given to."""

    handover: Handover

    def keep(self) -> None:
        """Hand it over: it is not stopped at the end of the block, and somebody else answers for it from now on."""
        self.handover.kept = True


class Errand:
    """One deploy, until somebody has its server. `send` sends it under a tag, and tells the voyage."""

    def __init__(self, send: Send, voyage: Voyage, deadline: float | None) -> None:
        self.send, self.voyage, self.deadline = send, voyage, deadline
        self.tag: str | None = None
        self.settling = False
        self.lost = False  # it was cut off while it was on its way

    @property
    def orphan(self) -> bool:
        """Nobody waits for it any more."""
        return not self.voyage.wanted

    @property
    def may_have_started(self) -> bool:
        """Whether a server may exist that is not known yet."""
        return self.voyage.under_way or self.settling or self.lost
