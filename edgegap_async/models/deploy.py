"""Bodies of a deploy, and its answer.

A body checks its arguments when it is made, and converts them to what is sent.
"""

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, TypeAlias, TypeGuard, cast

from msgspec.structs import force_setattr

from ._check import (
    check_id,
    encodable,
    fail,
    flag,
    identifier,
    instances,
    label,
    number,
    optional_instance,
    plain,
    plain_number,
    sequence,
    shown,
    tag_name,
    text,
    whole_number,
)
from ._plain import PlainData
from ._urls import http_parts, http_url
from ._wire import Answer, RequestId

# Bytes of the value of an environment variable, according to the reference page.
LONGEST_VALUE = 4096
# No game server takes so many players. A request with more is a mistake, and would block
# the event loop while it is encoded.
MOST_USERS = 10_000


class IPAddressUser(PlainData, frozen=True):
    """A player, given by an IPv4 or IPv6 address."""

    ip_address: str

    def __post_init__(self) -> None:
        given = text("users: ip_address", self.ip_address)
        try:
            ip_address(given)
        except ValueError:
            fail("users:", f"{shown(given)} is not an IP address")
        force_setattr(self, "ip_address", given)


class GeoCoordinatesUser(PlainData, frozen=True):
    """A player, given by coordinates in degrees."""

    latitude: float
    longitude: float

    def __post_init__(self) -> None:
        latitude, longitude = map(plain_number, (self.latitude, self.longitude))
        if latitude and longitude and abs(longitude) <= 90 < abs(latitude) <= 180:
            fail(
                "users: latitude",
                f"must be a number from -90 to 90, not {latitude}: a pair is (latitude, longitude), and these seem "
                "to be swapped",
            )
        for name, most in (("latitude", 90), ("longitude", 180)):
            checked = number(f"users: {name}", getattr(self, name), -most, most)
            force_setattr(self, name, checked)


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
        key = text("environment_variables: key", self.key)
        argument = f"environment_variables: the value of {shown(key)}"
        # It may be secret, so no error shows it.
        if not isinstance(self.value, str):
            fail(argument, f"must be a string, not {type(self.value).__name__}")
        # No process can have such variables: the container would not start.
        if "=" in key or "\0" in key:
            fail(
                f"environment_variables: key {shown(key)}", "must not hold '=' or '\\0'"
            )
        if "\0" in self.value:
            fail(argument, "must not hold '\\0'")
        force_setattr(self, "key", key)
        force_setattr(self, "value", encodable(argument, self.value))
        if (size := len(self.value.encode())) > LONGEST_VALUE:
            fail(argument, f"must have at most {LONGEST_VALUE:,} bytes, not {size:,}")
        hidden = flag("environment_variables: is_hidden", self.is_hidden)
        force_setattr(self, "is_hidden", hidden)

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
        force_setattr(self, "url", plain(self.url))

    def __repr__(self) -> str:
        ((name, shown),) = self.__rich_repr__()
        return f"Webhook({name}={shown!r})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        # rich calls this method. The one of msgspec would show the whole URL.
        parts = http_parts(self.url)
        if isinstance(parts, str):
            # An error tracker shows it while it is checked.
            return [("url", "***")]
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
        units = whole_number("resources: cpu_units", self.cpu_units, least)
        memory = whole_number(
            "resources: memory_mib", self.memory_mib, least, 2 * units
        )
        force_setattr(self, "cpu_units", units)
        force_setattr(self, "memory_mib", memory)


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


def _is_pair(value: object) -> TypeGuard[tuple[float, float]]:
    """Whether a value is meant as coordinates. Two texts are two addresses."""
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        return False
    items = cast("tuple[object, ...]", value)
    return len(items) == 2 and not isinstance(items[0], str)


def _user(value: object) -> ByAddress | ByCoordinates:
    match value:
        case str():
            user: ByAddress | ByCoordinates = ByAddress(IPAddressUser(value))
        case IPv4Address() | IPv6Address():
            user = ByAddress(IPAddressUser(str(value)))
        case _ if _is_pair(value):
            user = ByCoordinates(GeoCoordinatesUser(*value))
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
                f"{shown(value)} is neither an IP address nor a pair (latitude, longitude)",
            )
    return user


def variables(given: EnvironmentVariables) -> tuple[EnvironmentVariable, ...]:
    """Check the environment variables that a caller gives."""
    if isinstance(given, Mapping):
        found = tuple(EnvironmentVariable(key, value) for key, value in given.items())
    else:
        found = instances("environment_variables", given, EnvironmentVariable)
    keys = [variable.key for variable in found]
    if twice := sorted({key for key in keys if keys.count(key) > 1}):
        fail("environment_variables", f"names {', '.join(twice)} more than once")
    return found


def _take_webhook(request: "DeployRequest", name: str) -> None:
    """Check the webhook in a field. Meanwhile, the field is empty: error trackers show the
    request of each frame.
    """
    given: object = getattr(request, name)
    if given is None or isinstance(given, Webhook):
        return
    force_setattr(request, name, None)
    found = http_parts(given)
    if isinstance(found, str):
        del given
        fail(name, found)
    force_setattr(request, name, Webhook(cast("str", given)))


class DeployRequest(PlainData, frozen=True, omit_defaults=True):
    """The body of a deploy. It checks and converts the arguments of `deployments.deploy`;
    `DeployOptions` describes those after `users`.

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
        for name in WEBHOOK_FIELDS:
            _take_webhook(self, name)
        force_setattr(self, "application", label("application", self.application))
        force_setattr(self, "version", label("version", self.version))
        given = sequence("users", self.users, most=MOST_USERS)
        users = tuple(map(_user, given))
        if not users:
            fail("users", "must hold at least one player")
        force_setattr(self, "users", users)
        if self.environment_variables is not None:
            force_setattr(
                self, "environment_variables", variables(self.environment_variables)
            )
        if self.tags is not None:
            force_setattr(
                self,
                "tags",
                tuple(
                    tag_name("tags: each", tag) for tag in sequence("tags", self.tags)
                ),
            )
        if self.require_cached_locations is not None:
            cached = flag("require_cached_locations", self.require_cached_locations)
            force_setattr(self, "require_cached_locations", cached)
        optional_instance("resources", self.resources, Resources)


# Networks of homes, companies, carriers and single machines.
_LOCAL = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "::/127",
            "fc00::/7",
            "fe80::/10",
        ),
    )
)


def local_player(request: DeployRequest) -> str | None:
    """Return an address of a player by which no server can be placed: it is private, or
    of this machine. None: there is no such address.
    """
    for user in request.users:
        if isinstance(user, ByAddress):
            address = ip_address(user.user_data.ip_address)
            public = getattr(address, "ipv4_mapped", None) or address
            if any(public in network for network in _LOCAL):
                return user.user_data.ip_address
    return None


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
