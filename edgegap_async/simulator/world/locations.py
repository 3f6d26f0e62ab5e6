"""Locations, and the hosts of private fleets.

All of them are made up. They are the same in every run.
"""

from dataclasses import dataclass
from math import cos, hypot, radians
from random import Random


@dataclass(frozen=True, slots=True)
class Location:
    """A location. Its coordinates are in degrees."""

    city: str
    country: str
    continent: str
    administrative_division: str
    timezone: str
    latitude: float
    longitude: float
    type: str = "standard"

    def distance(self, latitude: float, longitude: float) -> float:
        """Return the distance in degrees, precise enough to compare locations."""
        east = (self.longitude - longitude + 180) % 360 - 180
        return hypot(self.latitude - latitude, east * cos(radians(latitude)))


LOCATIONS = (
    Location(
        "Montreal",
        "Canada",
        "North America",
        "Quebec",
        "Eastern Time",
        45.3324097,
        -73.2693626,
    ),
    Location(
        "Toronto",
        "Canada",
        "North America",
        "Ontario",
        "Eastern Time",
        43.6173,
        -79.3186,
    ),
    Location(
        "Ashburn",
        "United States",
        "North America",
        "Virginia",
        "Eastern Time",
        39.0438,
        -77.4874,
    ),
    Location(
        "Dallas",
        "United States",
        "North America",
        "Texas",
        "Central Time",
        32.7767,
        -96.797,
    ),
    Location(
        "Los Angeles",
        "United States",
        "North America",
        "California",
        "Pacific Time",
        34.0522,
        -118.2437,
    ),
    Location(
        "Sao Paulo",
        "Brazil",
        "South America",
        "Sao Paulo",
        "Brasilia Time",
        -23.5558,
        -46.6396,
    ),
    Location(
        "London",
        "United Kingdom",
        "Europe",
        "England",
        "Greenwich Mean Time",
        51.5072,
        -0.1276,
    ),
    Location(
        "Paris",
        "France",
        "Europe",
        "Ile-de-France",
        "Central European Time",
        48.8566,
        2.3522,
    ),
    Location(
        "Frankfurt",
        "Germany",
        "Europe",
        "Hesse",
        "Central European Time",
        50.1109,
        8.6821,
    ),
    Location(
        "Stockholm",
        "Sweden",
        "Europe",
        "Stockholm",
        "Central European Time",
        59.3293,
        18.0686,
    ),
    Location(
        "Johannesburg",
        "South Africa",
        "Africa",
        "Gauteng",
        "South Africa Standard Time",
        -26.2041,
        28.0473,
    ),
    Location(
        "Dubai",
        "United Arab Emirates",
        "Asia",
        "Dubai",
        "Gulf Standard Time",
        25.2048,
        55.2708,
    ),
    Location(
        "Mumbai", "India", "Asia", "Maharashtra", "India Standard Time", 19.076, 72.8777
    ),
    Location(
        "Singapore",
        "Singapore",
        "Asia",
        "Singapore",
        "Singapore Time",
        1.3521,
        103.8198,
    ),
    Location(
        "Tokyo",
        "Japan",
        "Asia",
        "Tokyo",
        "Japan Standard Time",
        35.6762,
        139.6503,
        type="regional",
    ),
    Location(
        "Sydney",
        "Australia",
        "Oceania",
        "New South Wales",
        "Eastern Time",
        -33.8688,
        151.2093,
        type="regional",
    ),
)


def nearest(latitude: float, longitude: float) -> Location:
    """Return the location that is nearest to a point."""
    return min(LOCATIONS, key=lambda each: each.distance(latitude, longitude))


@dataclass(frozen=True, slots=True)
class Host:
    """A host of a private fleet. `number` is its position among all hosts."""

    host_id: str
    fleet: str
    label: str
    location: Location
    number: int


_LABELS = ("Alpha", "Bravo", "Charlie")


def hosts_of(fleet: str, first_number: int) -> tuple[Host, ...]:
    """Make the hosts of a fleet. They are the same in every run."""
    random = Random(fleet)
    hosts: list[Host] = []
    for offset, label in enumerate(_LABELS):
        location = random.choice(LOCATIONS)
        words = (label, *location.continent.split(), f"{random.getrandbits(32):08x}")
        hosts.append(
            Host("-".join(words).lower(), fleet, label, location, first_number + offset)
        )
    return tuple(hosts)
