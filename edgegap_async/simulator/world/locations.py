"""Where things run: locations, and the hosts of private fleets. All made up, none of it
random from run to run.
"""

from dataclasses import dataclass
from math import cos, hypot, radians
from random import Random


@dataclass(frozen=True, slots=True)
class Place:
    """A location. Coordinates in degrees."""

    city: str
    country: str
    continent: str
    administrative_division: str
    timezone: str
    latitude: float
    longitude: float
    type: str = "standard"

    def distance(self, latitude: float, longitude: float) -> float:
        """How far it is, in degrees, good enough to compare."""
        east = (self.longitude - longitude + 180) % 360 - 180
        return hypot(self.latitude - latitude, east * cos(radians(latitude)))


PLACES = (
    Place(
        "Montreal",
        "Canada",
        "North America",
        "Quebec",
        "Eastern Time",
        45.3324097,
        -73.2693626,
    ),
    Place(
        "Toronto",
        "Canada",
        "North America",
        "Ontario",
        "Eastern Time",
        43.6173,
        -79.3186,
    ),
    Place(
        "Ashburn",
        "United States",
        "North America",
        "Virginia",
        "Eastern Time",
        39.0438,
        -77.4874,
    ),
    Place(
        "Dallas",
        "United States",
        "North America",
        "Texas",
        "Central Time",
        32.7767,
        -96.797,
    ),
    Place(
        "Los Angeles",
        "United States",
        "North America",
        "California",
        "Pacific Time",
        34.0522,
        -118.2437,
    ),
    Place(
        "Sao Paulo",
        "Brazil",
        "South America",
        "Sao Paulo",
        "Brasilia Time",
        -23.5558,
        -46.6396,
    ),
    Place(
        "London",
        "United Kingdom",
        "Europe",
        "England",
        "Greenwich Mean Time",
        51.5072,
        -0.1276,
    ),
    Place(
        "Paris",
        "France",
        "Europe",
        "Ile-de-France",
        "Central European Time",
        48.8566,
        2.3522,
    ),
    Place(
        "Frankfurt",
        "Germany",
        "Europe",
        "Hesse",
        "Central European Time",
        50.1109,
        8.6821,
    ),
    Place(
        "Stockholm",
        "Sweden",
        "Europe",
        "Stockholm",
        "Central European Time",
        59.3293,
        18.0686,
    ),
    Place(
        "Johannesburg",
        "South Africa",
        "Africa",
        "Gauteng",
        "South Africa Standard Time",
        -26.2041,
        28.0473,
    ),
    Place(
        "Dubai",
        "United Arab Emirates",
        "Asia",
        "Dubai",
        "Gulf Standard Time",
        25.2048,
        55.2708,
    ),
    Place(
        "Mumbai", "India", "Asia", "Maharashtra", "India Standard Time", 19.076, 72.8777
    ),
    Place(
        "Singapore",
        "Singapore",
        "Asia",
        "Singapore",
        "Singapore Time",
        1.3521,
        103.8198,
    ),
    Place(
        "Tokyo",
        "Japan",
        "Asia",
        "Tokyo",
        "Japan Standard Time",
        35.6762,
        139.6503,
        type="regional",
    ),
    Place(
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


def nearest(latitude: float, longitude: float) -> Place:
    """The location next to a point."""
    return min(PLACES, key=lambda place: place.distance(latitude, longitude))


@dataclass(frozen=True, slots=True)
class Host:
    """A host of a private fleet. `number` among all hosts that were made up."""

    host_id: str
    fleet: str
    label: str
    place: Place
    number: int


_LABELS = ("Alpha", "Bravo", "Charlie")


def hosts_of(fleet: str, first_number: int) -> tuple[Host, ...]:
    """The hosts that a fleet of this name has: the same ones whenever it is asked."""
    chance = Random(fleet)
    hosts: list[Host] = []
    for offset, label in enumerate(_LABELS):
        place = chance.choice(PLACES)
        words = (label, *place.continent.split(), f"{chance.getrandbits(32):08x}")
        hosts.append(
            Host("-".join(words).lower(), fleet, label, place, first_number + offset)
        )
    return tuple(hosts)
