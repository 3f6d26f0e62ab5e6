"""A deployment in the API's answers: its status, its row in a list, its logs, and the
answers to stops.
"""

from collections.abc import Sequence
from enum import Enum
from typing import Literal

from msgspec import Struct, field
from msgspec.structs import force_setattr

from ._check import fail, instances, sequence, text
from ._wire import (
    NOTHING,
    Answer,
    ByName,
    Integer,
    Maybe,
    RequestId,
    Several,
    Texts,
    Time,
    Unlisted,
)
from .location import Location
from .paging import CHECKS, Pagination


class DeploymentState(Enum):
    """Where in its life a deployment is. UNKNOWN: a word this version does not know;
    the raw text is kept beside it.
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
        """The state that `Status.READY`, `READY` or `ready` means; UNKNOWN for any
        other text.
        """
        return _STATES.get((raw or "").rpartition(".")[2].upper(), cls.UNKNOWN)


_STATES = {state.value: state for state in DeploymentState}


class Port(Answer, frozen=True, kw_only=True):
    """A port of a deployment: `external` is what players connect to, `internal` what
    the game listens on.
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
    """What players need to connect: what a status and a list row both tell.
    `start_time` is when it became ready.
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
        """The (host, port) that players connect to, for a port by its key, its name or
        its internal number.

        Raises:
            LookupError: there is no such port; the text names those there are. Or
                nothing is placed yet.
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
    """All that the API tells of one deployment. `elapsed_time` in seconds,
    `max_duration` in minutes.
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

    @property
    def state(self) -> DeploymentState:
        """`current_status` as an enum."""
        return DeploymentState.of(self.current_status)


class DeploymentSummary(ReadyDeployment, frozen=True, kw_only=True):
    """A deployment's row in a list. Pending and failed look alike here: both are just
    not `ready`.
    """

    ready: Maybe[bool] = None
    sockets: Integer = None
    sockets_usage: Integer = None
    is_joinable_by_session: Maybe[bool] = None
    # not documented, but read by official code
    status: str | None = None


class DeploymentPage(Answer, frozen=True, kw_only=True):
    """One page of deployments; `total_count` counts all that match."""

    data: tuple[DeploymentSummary, ...]
    total_count: Integer = None
    pagination: Maybe[Pagination] = None
    message: Texts = ()


class StopResult(Answer, frozen=True, kw_only=True):
    """The stop is accepted; before READY or ERROR it is carried out once one of them is
    reached.
    """

    message: str | None = None
    deployment_summary: Maybe[DeploymentStatus] = None


class BulkStopFilter(Struct, frozen=True):
    """Which deployments a bulk stop means: `field` is `request_id` or
    `deployment_tags`.
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


class BulkStopRequest(Struct, frozen=True):
    """The body of a bulk stop."""

    filters: Sequence[BulkStopFilter]

    def __post_init__(self) -> None:
        force_setattr(
            self, "filters", instances("filter", self.filters, BulkStopFilter)
        )


class Processable(Answer, frozen=True, kw_only=True):
    """A deployment that a bulk stop takes."""

    request_id: RequestId


class BulkStopResult(Answer, frozen=True, kw_only=True):
    """What will be stopped. Which IDs could not be stopped, the API does not tell."""

    processable: Several[Processable] = ()


class CrashData(Answer, frozen=True, kw_only=True):
    """How the container crashed."""

    exit_code: Integer = None
    message: str | None = None
    restart_count: Integer = None


class ContainerLogs(Answer, frozen=True, kw_only=True):
    """What the container wrote. Gone when the deployment stops, unless an endpoint
    storage is set.
    """

    logs: str | None = None
    encoding: str | None = None
    crash_logs: str | None = None
    crash_data: Maybe[CrashData] = None
    logs_link: str | None = None
