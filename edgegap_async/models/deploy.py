"""Bodies of a deploy, and its answer.

A body checks its arguments when it is made, and converts them to what is sent.
"""

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, TypeAlias

from msgspec.structs import force_setattr

from ._check import (
    check_id,
    encodable,
    fail,
    flag,
    http_url,
    identifier,
    instances,
    label,
    number,
    sequence,
    tag_name,
    text,
    whole_number,
)
from ._plain import PlainData
from ._wire import Answer, RequestId


class IPAddressUser(PlainData, frozen=True):
    """A player, given by an IPv4 or IPv6 address."""

    ip_address: str

    def __post_init__(self) -> None:
        try:
            ip_address(text("users: ip_address", self.ip_address))
        except ValueError:
            fail("users:", f"{self.ip_address!r} is not an IP address")


class GeoCoordinatesUser(PlainData, frozen=True):
    """A player, given by coordinates in degrees."""

    latitude: float
    longitude: float

    def __post_init__(self) -> None:
        number("users: latitude", self.latitude, -90, 90)
        number("users: longitude", self.longitude, -180, 180)


class ByAddress(PlainData, frozen=True, tag_field="user_type", tag="ip_address"):
    """The wire form of an `IPAddressUser`."""

    user_data: IPAddressUser


class ByCoordinates(
    PlainData, frozen=True, tag_field="user_type", tag="geo_coordinates"
):
    """The wire form of a `GeoCoordinatesUser`."""

    user_data: GeoCoordinatesUser


class EnvironmentVariable(PlainData, frozen=True):
    """An environment variable of the container.

    Args:
        key: its name.
        value: up to 4 KB; may be empty.
        is_hidden: keep the value out of Edgegap's dashboard, and out of this repr.
    """

    key: str
    value: str
    is_hidden: bool = False

    def __post_init__(self) -> None:
        text("environment_variables: key", self.key)
        if not isinstance(self.value, str):
            fail(f"environment_variables: the value of {self.key}", "must be a string")
        encodable(f"environment_variables: the value of {self.key}", self.value)
        flag("environment_variables: is_hidden", self.is_hidden)

    def __repr__(self) -> str:
        return f"EnvironmentVariable({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        # rich calls this method. The one of msgspec would show the hidden value.
        value = "***" if self.is_hidden else self.value
        return [("key", self.key), ("value", value), ("is_hidden", self.is_hidden)]


class Webhook(PlainData, frozen=True):
    """A URL that Edgegap calls once, without a signature and without a retry.

    Its repr shows only the scheme and the host: the rest may hold a secret.
    """

    url: str

    def __post_init__(self) -> None:
        http_url("webhook", self.url)

    def __repr__(self) -> str:
        ((name, shown),) = self.__rich_repr__()
        return f"Webhook({name}={shown!r})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        # rich calls this method. The one of msgspec would show the whole URL.
        parts = http_url("webhook", self.url)
        return [("url", f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/***")]


class Resources(PlainData, frozen=True):
    """Resources that replace those of the application version.

    Args:
        cpu_units: at least 100; 1024 units are one core.
        memory_mib: MiB, at least 100 and at most twice `cpu_units`.
    """

    cpu_units: int
    memory_mib: int

    def __post_init__(self) -> None:
        least = 100
        whole_number("resources: cpu_units", self.cpu_units, least)
        whole_number(
            "resources: memory_mib", self.memory_mib, least, 2 * self.cpu_units
        )


User: TypeAlias = (
    str
    | IPv4Address
    | IPv6Address
    | tuple[float, float]
    | IPAddressUser
    | GeoCoordinatesUser
)
EnvironmentVariables: TypeAlias = Mapping[str, str] | Sequence[EnvironmentVariable]

if TYPE_CHECKING:
    # The types that a caller may pass. The body converts them to the types below.
    _Users: TypeAlias = Sequence[User]
    _Variables: TypeAlias = EnvironmentVariables | None
    _Webhook: TypeAlias = Webhook | str | None
else:
    _Users = tuple[ByAddress | ByCoordinates, ...]
    _Variables = tuple[EnvironmentVariable, ...] | None
    _Webhook = Webhook | None


# The fields of a deploy that hold the URL of a webhook.
WEBHOOK_FIELDS = ("webhook_on_ready", "webhook_on_error", "webhook_on_terminated")


def _user(value: object) -> ByAddress | ByCoordinates:
    match value:
        case str() | IPv4Address() | IPv6Address():
            user: ByAddress | ByCoordinates = ByAddress(IPAddressUser(str(value)))
        case (float() | int() as latitude, float() | int() as longitude):
            user = ByCoordinates(GeoCoordinatesUser(latitude, longitude))
        case IPAddressUser():
            user = ByAddress(value)
        case GeoCoordinatesUser():
            user = ByCoordinates(value)
        case ByAddress() | ByCoordinates():
            # The body was decoded, so its users have their wire form.
            user = value
        case _:
            fail(
                "users:",
                f"{value!r} is neither an IP address nor a pair (latitude, longitude)",
            )
    return user


def _variables(given: EnvironmentVariables) -> tuple[EnvironmentVariable, ...]:
    if isinstance(given, Mapping):
        variables = tuple(
            EnvironmentVariable(key, value) for key, value in given.items()
        )
    else:
        variables = instances("environment_variables", given, EnvironmentVariable)
    keys = [variable.key for variable in variables]
    if twice := sorted({key for key in keys if keys.count(key) > 1}):
        fail("environment_variables", f"names {', '.join(twice)} more than once")
    return variables


def _webhook(argument: str, given: object) -> Webhook | None:
    if given is None or isinstance(given, Webhook):
        return given
    http_url(argument, given)
    return Webhook(text(argument, given))


class DeployRequest(PlainData, frozen=True, omit_defaults=True):
    """The body of a deploy. It checks and converts the arguments of `deployments.deploy`.

    Raises:
        ValueError: an argument is wrong; the text names it.
    """

    application: str
    version: str
    users: _Users
    environment_variables: _Variables = None
    tags: Sequence[str] | None = None
    require_cached_locations: bool | None = None
    resources: Resources | None = None
    webhook_on_ready: _Webhook = None
    webhook_on_error: _Webhook = None
    webhook_on_terminated: _Webhook = None

    def __post_init__(self) -> None:
        force_setattr(self, "application", label("application", self.application))
        force_setattr(self, "version", label("version", self.version))
        users = tuple(_user(user) for user in sequence("users", self.users))
        if not users:
            fail("users", "must hold at least one player")
        force_setattr(self, "users", users)
        if self.environment_variables is not None:
            force_setattr(
                self, "environment_variables", _variables(self.environment_variables)
            )
        if self.tags is not None:
            force_setattr(
                self,
                "tags",
                tuple(tag_name("tags", tag) for tag in sequence("tags", self.tags)),
            )
        if self.require_cached_locations is not None:
            flag("require_cached_locations", self.require_cached_locations)
        if self.resources is not None and not isinstance(self.resources, Resources):
            fail("resources", "must be a Resources")
        for name in WEBHOOK_FIELDS:
            force_setattr(self, name, _webhook(name, getattr(self, name)))


class FleetDeployRequest(DeployRequest, frozen=True, omit_defaults=True, kw_only=True):
    """The body of a deploy to a private fleet.

    Args:
        private_host_ids: the hosts to deploy to, in order of preference. If they are
            full, the deployment goes to the cloud.
    """

    private_host_ids: Sequence[str]

    def __post_init__(self) -> None:
        super().__post_init__()
        given = sequence("private_host_ids", self.private_host_ids)
        hosts = tuple(identifier("private_host_ids", host) for host in given)
        if not hosts:
            fail("private_host_ids", "must hold at least one host ID")
        force_setattr(self, "private_host_ids", hosts)


class DeploymentAccepted(Answer, frozen=True, kw_only=True):
    """A deployment that exists, but is not ready yet.

    Attributes:
        request_id: its ID.
        once_tag: the unique tag that the SDK sent with the deploy, if it sent one.
    """

    request_id: RequestId
    once_tag: str | None = None

    def __post_init__(self) -> None:
        check_id(self.request_id)
