"""Answers about deployments: status, rows of lists, logs and stops."""

from collections.abc import Sequence
from enum import Enum
from typing import Literal

from msgspec import field
from msgspec.structs import force_setattr

from ._check import check_id, check_ids, fail, instances, sequence, text
from ._plain import PlainData
from ._wire import (
    NOTHING,
    Answer,
    ByName,
    Integer,
    Maybe,
    RequestId,
    Rows,
    Several,
    Texts,
    Time,
    Unlisted,
)
from .location import Location
from .paging import CHECKS, Page


class DeploymentState(Enum):
    """The state of a deployment.

    UNKNOWN: this version of the SDK does not know the state. `current_status` holds its
    text.
    """

    INITIALIZING = "INITIALIZING"
    SEEKING = "SEEKING"
    SEEKED = "SEEKED"
    SCANNING = "SCANNING"
    DEPLOYING = "DEPLOYING"
    READY = "READY"
    TERMINATING = "TERMINATING"
    TERMINATED = "TERMINATED"
    ERROR = "ERROR"
    UNKNOWN = "UNKNOWN"

    @classmethod
    def of(cls, raw: str | None) -> "DeploymentState":
        """Return the state for `Status.READY`, `READY` or `ready`.

        Any other text is UNKNOWN.
        """
        return _STATES.get((raw or "").rpartition(".")[2].upper(), cls.UNKNOWN)


class EndReason(Enum):
    """Why a server that was READY is not any more.

    STOPPED: somebody has stopped it. FAILED: it is in ERROR, and exists until it is
    stopped. GONE: the API does not know it any more.
    """

    STOPPED = "stopped"
    FAILED = "failed"
    GONE = "gone"


_STATES = {state.value: state for state in DeploymentState}


class Port(Answer, frozen=True, kw_only=True):
    """A port of a deployment.

    Players connect to `external`. The game listens on `internal`.
    """

    external: Integer = None
    internal: Integer = None
    protocol: str | None = None
    name: str | None = None
    tls_upgrade: Maybe[bool] = None
    link: str | None = None
    proxy: Integer = None


class DeploymentSession(Answer, frozen=True, kw_only=True):
    """A session that runs on a deployment."""

    session_id: str | None = None
    status: str | None = None
    ready: Maybe[bool] = None
    linked: Maybe[bool] = None
    kind: str | None = None
    user_count: Integer = None


class ReadyDeployment(Answer, frozen=True, kw_only=True):
    """What players need to connect to a deployment. Statuses and list rows both hold it.

    `start_time` is the time when the deployment became ready.
    """

    request_id: RequestId
    fqdn: str | None = None
    public_ip: str | None = None
    ports: ByName[Port] = field(default_factory=dict[str, Port])
    tags: Texts = NOTHING
    start_time: Time = None

    @property
    def tags_unknown(self) -> bool:
        """The answer does not tell the tags in a form that can be relied on."""
        return isinstance(self.tags, Unlisted)

    def address(self, port: str | int) -> tuple[str, int]:
        """Return the (host, port) that players connect to.

        Args:
            port: the key of a port, its name, or its internal number.

        Raises:
            LookupError: there is no such port; the text lists the known ports. Or the
                deployment has no host yet.
        """
        wanted = str(port)
        ports = self.ports.values()
        found = (
            self.ports.get(wanted)
            or next((item for item in ports if item.name == wanted), None)
            or next(
                (
                    item
                    for item in ports
                    if item.internal is not None and str(item.internal) == wanted
                ),
                None,
            )
        )
        if found is None or found.external is None:
            known = ", ".join(
                f"{key} ({item.internal}/{item.protocol})"
                for key, item in self.ports.items()
            )
            raise LookupError(
                f"deployment {self.request_id} has no port {wanted!r}; it has: {known or 'none yet'}"
            )
        host = self.fqdn or self.public_ip
        if not host:
            raise LookupError(
                f"deployment {self.request_id} has neither an fqdn nor a public_ip yet"
            )
        return host, found.external


class DeploymentStatus(ReadyDeployment, frozen=True, kw_only=True):
    """The full status of a deployment.

    `elapsed_time` is in seconds, `max_duration` in minutes.
    """

    app_name: str | None = None
    app_version: str | None = None
    current_status: str | None = None
    running: Maybe[bool] = None
    whitelisting_active: Maybe[bool] = None
    removal_time: Time = None
    elapsed_time: Integer = None
    last_status: str | None = None
    error: Maybe[bool] = None
    error_detail: str | None = None
    sessions: Maybe[tuple[DeploymentSession, ...]] = None
    location: Maybe[Location] = None
    sockets: Integer = None
    sockets_usage: Integer = None
    command: str | None = None
    arguments: str | None = None
    max_duration: Integer = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_id(self.request_id)

    @property
    def state(self) -> DeploymentState:
        """`current_status` as an enum."""
        return DeploymentState.of(self.current_status)


class DeploymentSummary(ReadyDeployment, frozen=True, kw_only=True):
    """A row in a list of deployments.

    A row does not distinguish pending from failed deployments: both are not `ready`.
    """

    ready: Maybe[bool] = None
    sockets: Integer = None
    sockets_usage: Integer = None
    is_joinable_by_session: Maybe[bool] = None
    # Not documented, but official code of Edgegap reads it.
    status: str | None = None


class DeploymentPage(Page, frozen=True, kw_only=True):
    """A page of deployments."""

    data: tuple[DeploymentSummary, ...]
    message: Texts = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ids([row.request_id for row in self.data])


class StopResult(Answer, frozen=True, kw_only=True):
    """The API has accepted a stop.

    A deployment that is not READY or in ERROR yet is stopped once it is.
    """

    message: str | None = None
    deployment_summary: Maybe[DeploymentStatus] = None


class BulkStopFilter(PlainData, frozen=True):
    """A condition on the deployments that a bulk stop stops.

    Args:
        field: `request_id` or `deployment_tags`.
        values: the IDs or tags to compare with.
        filter_type: a deployment must match any, all or none (`not`) of the values.
    """

    field: str
    values: Sequence[str]
    filter_type: Literal["any", "all", "not"] = "any"

    def __post_init__(self) -> None:
        text("filter: field", self.field)
        if self.filter_type not in ("any", "all", "not"):
            fail(
                "filter: filter_type",
                f"must be any, all or not, not {self.filter_type!r}",
            )
        values = tuple(
            CHECKS.get(self.field, text)("filter: values", value)
            for value in sequence("filter: values", self.values)
        )
        force_setattr(self, "values", values)


class BulkStopRequest(PlainData, frozen=True):
    """The body of a bulk stop."""

    filters: Sequence[BulkStopFilter]

    def __post_init__(self) -> None:
        force_setattr(
            self, "filters", instances("filter", self.filters, BulkStopFilter)
        )


class Processable(Answer, frozen=True, kw_only=True):
    """A deployment that a bulk stop will stop."""

    request_id: RequestId

    def __post_init__(self) -> None:
        check_id(self.request_id)


class BulkStopResult(Rows, frozen=True, kw_only=True):
    """The deployments that will be stopped. The API does not list the others."""

    processable: Several[Processable] = ()


class CrashData(Answer, frozen=True, kw_only=True):
    """How the container crashed."""

    exit_code: Integer = None
    message: str | None = None
    restart_count: Integer = None


class ContainerLogs(Answer, frozen=True, kw_only=True):
    """The output of a container.

    It is lost when the deployment stops, unless an endpoint storage keeps it.
    """

    logs: str | None = None
    encoding: str | None = None
    crash_logs: str | None = None
    crash_data: Maybe[CrashData] = None
    logs_link: str | None = None
