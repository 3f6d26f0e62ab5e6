"""The map of the page of a report: where the servers ran."""

from functools import cache
from html import escape
from importlib.resources import files
from math import sqrt

import msgspec

from .report import LocationCount

# Rows of the table below the map.
MOST_ROWS = 15
# The radius of the largest circle and of the smallest one, of a map of 1000.
LARGEST, SMALLEST = 22.0, 4.0


class _World(msgspec.Struct, frozen=True):
    """The coastline as an SVG path, and how its points are projected. The page of the
    simulator has the same map.
    """

    width: int
    top: int
    height: int
    west: float
    north: float
    squeeze: float
    land: str

    def point(self, location: LocationCount) -> tuple[float, float]:
        per_degree = self.width / 360
        x = (location.longitude - self.west) % 360 * per_degree
        y = (self.north - location.latitude) * per_degree / self.squeeze
        return x, min(max(y, self.top), self.top + self.height)


@cache
def _world() -> _World:
    path = files(__name__.partition(".")[0]) / "simulator" / "page" / "world.json"
    return msgspec.json.decode(path.read_bytes(), type=_World)


def map_of(locations: list[LocationCount]) -> str:
    """Return a map with a circle for each location, as SVG. Its area is the number of
    servers.
    """
    world = _world()
    most = max(1, *(location.servers for location in locations))
    circles = "".join(_circle(world, location, most) for location in locations)
    return (
        f'<svg class="map" viewBox="0 {world.top} {world.width} {world.height}" role="img" '
        f'aria-label="Map of {len(locations)} locations"><path class="land" d="{world.land}"/>'
        f"{circles}</svg>"
    )


def _circle(world: _World, location: LocationCount, most: int) -> str:
    x, y = world.point(location)
    radius = max(LARGEST * sqrt(location.servers / most), SMALLEST)
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}">'
        f"<title>{escape(name_of(location))}: {location.servers:,}</title></circle>"
    )


def name_of(location: LocationCount) -> str:
    """The names of a location, or its coordinates."""
    names = [name for name in (location.city, location.country) if name]
    return ", ".join(names) or f"{location.latitude:.1f}, {location.longitude:.1f}"


def rows_of(locations: list[LocationCount]) -> str:
    """Return rows of a table: the locations with most servers."""
    total = max(1, sum(location.servers for location in locations))
    return "".join(
        f"<tr><td>{escape(name_of(location))}</td><td>{location.servers:,}</td>"
        f"<td>{100 * location.servers / total:.1f} %</td></tr>"
        for location in locations[:MOST_ROWS]
    )
