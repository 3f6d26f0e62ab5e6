"""What an answer says to those who wait: pure functions of a status or a list row.

status                             for READY             for an end
READY with a host and ports        READY                 -
READY with a host, without ports   READY if all answers of 2 s say so
READY without a host               not READY so far      -
ERROR                              failed                FAILED; it still exists
TERMINATING                        gone                  STOPPED; it still exists
TERMINATED                         gone                  STOPPED
STOPPED and the like, unknown to   gone, STOPPED if all answers of 2 s say so
this version of the SDK
any other unknown state            decided by `running` and `error`
"""

from typing import TypeAlias

from ..errors import DeploymentFailed, DeploymentTerminated, EdgegapError
from ..models.deployment import (
    DeploymentState,
    DeploymentStatus,
    DeploymentSummary,
    EndReason,
    ReadyDeployment,
)

Outcome: TypeAlias = ReadyDeployment | EdgegapError
# Seconds for which all answers must say what one of them does not prove.
CONFIRM_AFTER = 2.0
# Words for an end that the API is not known to use.
END_WORDS = frozenset(
    {
        "CANCELED",
        "CANCELLED",
        "COMPLETED",
        "DELETED",
        "DESTROYED",
        "ENDED",
        "EXITED",
        "EXPIRED",
        "FINISHED",
        "KILLED",
        "REMOVED",
        "SHUTDOWN",
        "STOPPED",
    }
)


def ready_by(shown: DeploymentStatus | DeploymentSummary) -> ReadyDeployment:
    """Return the part of a status or a list row that players need to connect."""
    return ReadyDeployment(
        request_id=shown.request_id,
        fqdn=shown.fqdn,
        public_ip=shown.public_ip,
        ports=shown.ports,
        tags=shown.tags,
        start_time=shown.start_time,
    )


def has_address(shown: ReadyDeployment | DeploymentSummary) -> bool:
    """Return whether players can connect to what a status or a list row shows."""
    reachable = any(port.external for port in shown.ports.values())
    return reachable and bool(shown.fqdn or shown.public_ip)


def outcome_of(status: DeploymentStatus) -> Outcome | None:
    """Return the outcome that a status proves to those who wait for READY, or None."""
    state = status.state
    unknown = state is DeploymentState.UNKNOWN
    if _is_ready(status):
        return ready_by(status) if has_address(status) else None
    if state is DeploymentState.ERROR or (unknown and status.error):
        return DeploymentFailed(status.request_id, status.error_detail, status)
    if state in (DeploymentState.TERMINATING, DeploymentState.TERMINATED):
        return DeploymentTerminated(status.request_id)
    return None


def claim_of(status: DeploymentStatus) -> tuple[str, Outcome] | None:
    """Return what a status says without proving it: a word, and the outcome if all
    answers of `CONFIRM_AFTER` seconds say the same.
    """
    if _is_ready(status) and (status.fqdn or status.public_ip):
        return "ready without ports", ready_by(status)
    if _has_end_word(status):
        return "ended", DeploymentTerminated(status.request_id)
    return None


def _is_ready(status: DeploymentStatus) -> bool:
    return status.state is DeploymentState.READY or (
        status.state is DeploymentState.UNKNOWN and status.running is True
    )


def _has_end_word(status: DeploymentStatus) -> bool:
    word = (status.current_status or "").rpartition(".")[2].upper()
    return word in END_WORDS and not status.running


def reason_of(status: DeploymentStatus) -> EndReason | None:
    """Return why a server that was READY is not any more, as a status proves it."""
    if status.state in (DeploymentState.TERMINATING, DeploymentState.TERMINATED):
        return EndReason.STOPPED
    if status.state is DeploymentState.ERROR:
        return EndReason.FAILED
    return None
