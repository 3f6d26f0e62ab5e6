"""Where servers can run: GET /v1/locations, and the place of a deployment."""

from ._wire import Answer, Maybe, Real, Texts


class Location(Answer, frozen=True, kw_only=True):
    """A place: of a deployment, or one that can be deployed to. Coordinates in degrees."""

    city: str | None = None
    country: str | None = None
    continent: str | None = None
    administrative_division: str | None = None
    timezone: str | None = None
    latitude: Real = None
    longitude: Real = None


class LocationTag(Answer, frozen=True, kw_only=True):
    """A key and a value that Edgegap put on a location."""

    key: str | None = None
    value: str | None = None


class AvailableLocation(Location, frozen=True, kw_only=True):
    """A location that can be deployed to."""

    type: str | None = None
    tags: Maybe[tuple[LocationTag, ...]] = None


class Locations(Answer, frozen=True, kw_only=True):
    """All locations that fit the question."""

    locations: tuple[AvailableLocation, ...]
    messages: Texts = ()
