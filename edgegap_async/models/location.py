"""Locations of deployments, and those that can be deployed to."""

from ._wire import Answer, Integer, Maybe, Real, Several, Texts
from .paging import Page


class Location(Answer, frozen=True, kw_only=True):
    """A location. Its coordinates are in degrees."""

    city: str | None = None
    country: str | None = None
    continent: str | None = None
    administrative_division: str | None = None
    timezone: str | None = None
    latitude: Real = None
    longitude: Real = None


class LocationTag(Answer, frozen=True, kw_only=True):
    """A tag that Edgegap has put on a location."""

    key: str | None = None
    value: str | None = None


class AvailableLocation(Location, frozen=True, kw_only=True):
    """A location that can be deployed to."""

    type: str | None = None
    tags: Maybe[tuple[LocationTag, ...]] = None


class Locations(Page, frozen=True, kw_only=True):
    """All locations that match the query (GET /v1/locations)."""

    locations: tuple[AvailableLocation, ...]
    messages: Texts = ()


class PingBeacon(Answer, frozen=True, kw_only=True):
    """A server that answers the pings of players.

    Attributes:
        host: its IP address.
        fqdn: its name in the DNS.
        udp_port, tcp_port: the ports that answer.
    """

    host: str
    fqdn: str | None = None
    udp_port: Integer = None
    tcp_port: Integer = None
    location: Maybe[Location] = None


class PingBeacons(Page, frozen=True, kw_only=True):
    """The ping beacons that are active (GET /v1/locations/beacons).

    Attributes:
        count: the number of beacons in this answer.
    """

    locations: Several[PingBeacon] = ()
    count: Integer = None
