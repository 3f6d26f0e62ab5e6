"""Answers about deployments: status, rows of lists, logs and stops."""

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, Literal

from msgspec import field
from msgspec.structs import force_setattr

from ._check import (
    check_id,
    check_ids,
    fail,
    instances,
    one_of,
    plain_object,
    sequence,
    text,
)
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
from .paging import CHECKS, Page, known


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
        found = next((each for each in ports_of(self, port) if each.external), None)
        if found is None or found.external is None:
            raise UnknownPort(
                f"deployment {self.request_id} has no port {str(port)!r}; it has: {known_ports(self)}"
            )
        host = self.fqdn or self.public_ip
        if not host:
            raise LookupError(
                f"deployment {self.request_id} has neither an fqdn nor a public_ip yet"
            )
        return host, found.external


class UnknownPort(LookupError):
    """A deployment has no such port, or none that can be used so. As the version decides
    which ports there are, no other deployment of it has it either.
    """


def ports_of(server: ReadyDeployment, port: str | int) -> Iterator[Port]:
    """The ports with this key, this name, or this internal number, in that order."""
    wanted, ports = str(port), server.ports
    yield from (each for key, each in ports.items() if key == wanted)
    yield from (each for each in ports.values() if each.name == wanted)
    yield from (
        each
        for each in ports.values()
        if each.internal is not None and str(each.internal) == wanted
    )


def known_ports(server: ReadyDeployment) -> str:
    """The ports of a deployment, for the text of an error."""
    return (
        ", ".join(
            f"{key} ({each.internal}/{each.protocol})"
            for key, each in server.ports.items()
        )
        or "none yet"
    )


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


# The fields of a bulk stop, each under itself.
BULK_STOP_FIELDS = {name: name for name in ("request_id", "deployment_tags")}


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
        argument = "filter: field"
        field = known(argument, self.field, BULK_STOP_FIELDS)
        force_setattr(self, "field", field)
        kind = one_of("filter: filter_type", self.filter_type, ("any", "all", "not"))
        force_setattr(self, "filter_type", kind)
        values = tuple(
            CHECKS.get(field, text)("filter: values", value)
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


# Characters of the reason of a report.
LONGEST_REASON = 255


class ReportRequest(PlainData, frozen=True, omit_defaults=True):
    """The body of a report. It checks the arguments of `deployments.report`."""

    reason: str
    metadata: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        reason = text("reason", self.reason)
        if len(reason) > LONGEST_REASON:
            fail(
                "reason",
                f"must have at most {LONGEST_REASON} characters, not {len(reason):,}",
            )
        force_setattr(self, "reason", reason)
        if self.metadata is not None:
            force_setattr(self, "metadata", plain_object("metadata", self.metadata))


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
