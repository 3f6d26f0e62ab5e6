"""Versions of an application: the bodies that create and change one, and the answers."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias, cast, get_args

from msgspec import UNSET, UnsetType
from msgspec.structs import force_setattr

from ._check import (
    Checks,
    check_fields,
    encodable,
    fail,
    flag,
    is_mapping,
    is_sequence,
    label,
    one_of,
    sequence,
    shown,
    sized_label,
    whole_number,
)
from ._plain import HidesSecrets, PlainData
from ._wire import Answer, Integer, Maybe, Real, Several, Time
from .deploy import EnvironmentVariable, EnvironmentVariables, variables
from .paging import Page

RestartPolicy: TypeAlias = Literal["always", "never", "on_failure"]
CREDENTIALS: frozenset[str] = frozenset({"private_username", "private_token"})
# Characters of the name of a version.
LONGEST_NAME = 64
# The API has no other ports.
LARGEST_PORT = 59_999
# The protocols whose ports can have TLS.
WITH_TLS = ("HTTP", "WS")
# CPU units, and MB of memory.
LEAST_UNITS = 100
# Seconds. The documented least is 15, and the documented default is 10.
LEAST_TIME_TO_DEPLOY = 10
# Minutes. -1 means that there is no end.
NO_END, LONGEST_DURATION = -1, 1440
# Seconds.
LEAST_GRACE, LONGEST_GRACE = 5, 3600


class AppVersionPort(Answer, frozen=True, kw_only=True):
    """A port of a version.

    Attributes:
        to_check: a deployment is READY only when this port answers.
        tls_upgrade: players connect by TLS.
    """

    port: Integer = None
    protocol: str | None = None
    to_check: Maybe[bool] = None
    tls_upgrade: Maybe[bool] = None
    name: str | None = None


class AppVersionVariable(HidesSecrets, Answer, frozen=True, kw_only=True):
    """An environment variable of a version. Its repr does not show a hidden value."""

    key: str | None = None
    value: str | None = None
    is_hidden: Maybe[bool] = None

    def __rich_repr__(self) -> list[tuple[str, object]]:
        value = "***" if self.is_hidden else self.value
        return [("key", self.key), ("value", value), ("is_hidden", self.is_hidden)]


class AppVersion(HidesSecrets, Answer, frozen=True, kw_only=True):
    """A version of an application. Its repr and `to_dict` leave out the credentials of
    the registry.

    Attributes:
        is_active: whether it can be deployed.
        req_cpu: CPU units; 1024 are one core.
        req_memory: MB.
        req_video: GPU units.
        force_cache: the image is kept in all locations, which makes deploys faster.
        caching_percent: the share of the locations that have the image, from 0 to 1.
        time_to_deploy: seconds that the download of the image may take.
        max_duration: minutes until a deployment ends; -1: it does not.
        restart_policy: what follows when the server process exits: always, never or
            on_failure.
        termination_grace_period_seconds: the time between SIGTERM and the end.
        endpoint_storage: where the logs are kept.
    """

    secret_fields: ClassVar[frozenset[str]] = CREDENTIALS

    name: str
    is_active: Maybe[bool] = None
    req_cpu: Integer = None
    req_memory: Integer = None
    req_video: Integer = None
    docker_repository: str | None = None
    docker_image: str | None = None
    docker_tag: str | None = None
    private_username: str | None = None
    private_token: str | None = None
    verify_image: Maybe[bool] = None
    force_cache: Maybe[bool] = None
    caching_percent: Real = None
    time_to_deploy: Integer = None
    max_duration: Integer = None
    restart_policy: str | None = None
    termination_grace_period_seconds: Integer = None
    will_deploy_in_mainland_china: Maybe[bool] = None
    dns_config: str | None = None
    ports: Several[AppVersionPort] = ()
    envs: Several[AppVersionVariable] = ()
    endpoint_storage: str | None = None
    create_time: Time = None
    last_updated: Time = None


class AppVersions(Page, frozen=True, kw_only=True):
    """A page of the versions of an application."""

    versions: Several[AppVersion] = ()


class AppVersionResult(Answer, frozen=True, kw_only=True):
    """The answer when a version was created or changed."""

    success: Maybe[bool] = None
    version: Maybe[AppVersion] = None


class AppVersionDeleted(Answer, frozen=True, kw_only=True):
    """The answer when a version was deleted."""

    success: Maybe[bool] = None
    message: str | None = None


class PortSpec(PlainData, frozen=True, omit_defaults=True):
    """A port that a version is to have.

    Args:
        port: the number on which the game listens, from 1 to 59999.
        protocol: such as UDP, TCP, HTTP or WS.
        to_check: a deployment is READY only when this port answers.
        tls_upgrade: players connect by TLS; for HTTP and WS.
        name: by which `address` finds the port.
    """

    port: int
    protocol: str
    to_check: bool = True
    tls_upgrade: bool = False
    name: str | None = None

    def __post_init__(self) -> None:
        port = whole_number("ports: port", self.port, 1, LARGEST_PORT)
        protocol = label("ports: protocol", self.protocol)
        tls = flag("ports: tls_upgrade", self.tls_upgrade)
        if tls and protocol.upper() not in WITH_TLS:
            fail(
                "ports: tls_upgrade",
                f"needs the protocol {' or '.join(WITH_TLS)}, not {shown(protocol)}",
            )
        force_setattr(self, "port", port)
        force_setattr(self, "protocol", protocol)
        force_setattr(self, "to_check", flag("ports: to_check", self.to_check))
        force_setattr(self, "tls_upgrade", tls)
        if self.name is not None:
            force_setattr(self, "name", label("ports: name", self.name))


def _port(value: object) -> PortSpec:
    if isinstance(value, AppVersionPort):
        # Of another version.
        return PortSpec(
            cast("int", value.port),
            cast("str", value.protocol),
            value.to_check is not False,
            value.tls_upgrade is True,
            value.name or None,
        )
    if not isinstance(value, PortSpec):
        fail("ports", f"must hold instances of PortSpec, not {type(value).__name__}")
    return value


def _ports(value: object) -> tuple[PortSpec, ...]:
    return tuple(map(_port, sequence("ports", value)))


def _envs(value: object) -> tuple[EnvironmentVariable, ...]:
    if not (is_mapping(value) or is_sequence(value)):
        fail("envs", f"must be a mapping or a sequence, not {type(value).__name__}")
    try:
        return variables(cast("EnvironmentVariables", value))
    except ValueError as error:
        # A deploy has another name for them.
        problem = str(error).removeprefix("environment_variables")
    raise ValueError(f"envs{problem}")


def credential(argument: str, value: object) -> str:
    """Check a name or a token of the registry. No error repeats it."""
    if not isinstance(value, str):
        fail(argument, f"must be a string, not {type(value).__name__}")
    bare = encodable(argument, value).strip()
    if not bare or not bare.isprintable():
        fail(argument, "must be printable, and not empty")
    return bare


def _optional_label(argument: str, value: object) -> str | None:
    return None if value is None else label(argument, value)


def _optional_credential(argument: str, value: object) -> str | None:
    return None if value is None else credential(argument, value)


_FLAGS = ("is_active", "verify_image", "force_cache", "will_deploy_in_mainland_china")
_CHECKS: Checks = {
    "name": lambda value: sized_label("name", value, 1, LONGEST_NAME),
    "req_cpu": lambda value: whole_number("req_cpu", value, LEAST_UNITS),
    "req_memory": lambda value: whole_number("req_memory", value, LEAST_UNITS),
    "req_video": lambda value: whole_number("req_video", value, 0),
    "time_to_deploy": lambda value: whole_number(
        "time_to_deploy", value, LEAST_TIME_TO_DEPLOY
    ),
    "max_duration": lambda value: whole_number(
        "max_duration", value, NO_END, LONGEST_DURATION
    ),
    "termination_grace_period_seconds": lambda value: whole_number(
        "termination_grace_period_seconds", value, LEAST_GRACE, LONGEST_GRACE
    ),
    "restart_policy": lambda value: one_of(
        "restart_policy", value, get_args(RestartPolicy)
    ),
    "ports": _ports,
    "envs": _envs,
    **{name: partial(flag, name) for name in _FLAGS},
    **{
        name: partial(label, name)
        for name in ("docker_repository", "docker_image", "docker_tag")
    },
    **{
        name: partial(_optional_label, name)
        for name in ("dns_config", "endpoint_storage")
    },
    **{name: partial(_optional_credential, name) for name in CREDENTIALS},
}
# The fields that an update removes with None.
_REMOVABLE = (*CREDENTIALS, "dns_config", "endpoint_storage")

if TYPE_CHECKING:
    # The types that a caller may pass. The body converts them to the types below.
    _Ports: TypeAlias = Sequence[PortSpec | AppVersionPort] | UnsetType
    _Envs: TypeAlias = EnvironmentVariables | UnsetType
else:
    _Ports = tuple[PortSpec, ...] | UnsetType
    _Envs = tuple[EnvironmentVariable, ...] | UnsetType


class _Settings(HidesSecrets, PlainData, frozen=True, kw_only=True):
    """The fields of both bodies. Those that are not given are not sent."""

    secret_fields: ClassVar[frozenset[str]] = CREDENTIALS

    is_active: bool | UnsetType = UNSET
    private_username: str | UnsetType | None = UNSET
    private_token: str | UnsetType | None = UNSET
    verify_image: bool | UnsetType = UNSET
    force_cache: bool | UnsetType = UNSET
    time_to_deploy: int | UnsetType = UNSET
    max_duration: int | UnsetType = UNSET
    restart_policy: RestartPolicy | UnsetType = UNSET
    termination_grace_period_seconds: int | UnsetType = UNSET
    will_deploy_in_mainland_china: bool | UnsetType = UNSET
    dns_config: str | UnsetType | None = UNSET
    ports: _Ports = UNSET
    envs: _Envs = UNSET
    endpoint_storage: str | UnsetType | None = UNSET


class AppVersionRequest(_Settings, frozen=True, kw_only=True):
    """The body that creates a version. It checks the arguments of `versions.create`."""

    name: str
    req_cpu: int
    req_memory: int
    docker_repository: str
    docker_image: str
    docker_tag: str
    req_video: int | UnsetType = UNSET

    def __post_init__(self) -> None:
        for name in _REMOVABLE:
            if getattr(self, name) is None:
                force_setattr(self, name, UNSET)
        check_fields(self, _CHECKS)
        whole_number("req_memory", self.req_memory, LEAST_UNITS, 2 * self.req_cpu)


class AppVersionUpdate(_Settings, frozen=True, kw_only=True):
    """The body that changes a version. It checks the arguments of `versions.update`.
    Fields that are not given stay as they are, and None removes a setting.
    """

    name: str | UnsetType = UNSET
    docker_repository: str | UnsetType = UNSET
    docker_image: str | UnsetType = UNSET
    docker_tag: str | UnsetType = UNSET

    def __post_init__(self) -> None:
        check_fields(self, _CHECKS)


def ports_of(body: AppVersionRequest) -> tuple[PortSpec, ...]:
    """The ports of a body, as they are sent."""
    return () if isinstance(body.ports, UnsetType) else tuple(map(_port, body.ports))
