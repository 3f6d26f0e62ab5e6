"""The map of the page of a report: where the servers ran."""

from functools import cache
from html import escape
from importlib.resources import files
from math import sqrt

import msgspec

from .report import Place

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

    def point(self, place: Place) -> tuple[float, float]:
        per_degree = self.width / 360
        x = (place.longitude - self.west) % 360 * per_degree
        y = (self.north - place.latitude) * per_degree / self.squeeze
        return x, min(max(y, self.top), self.top + self.height)


@cache
def _world() -> _World:
    path = files(__name__.partition(".")[0]) / "simulator" / "page" / "world.json"
    return msgspec.json.decode(path.read_bytes(), type=_World)


def map_of(places: list[Place]) -> str:
    """Return a map with a circle for each place, as SVG. Its area is the number of
    servers.
    """
    world = _world()
    most = max(1, *(place.servers for place in places))
    circles = "".join(_circle(world, place, most) for place in places)
    return (
        f'<svg class="map" viewBox="0 {world.top} {world.width} {world.height}" role="img" '
        f'aria-label="Map of {len(places)} places"><path class="land" d="{world.land}"/>'
        f"{circles}</svg>"
    )


def _circle(world: _World, place: Place, most: int) -> str:
    x, y = world.point(place)
    radius = max(LARGEST * sqrt(place.servers / most), SMALLEST)
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}">'
        f"<title>{escape(name_of(place))}: {place.servers:,}</title></circle>"
    )


def name_of(place: Place) -> str:
    """The names of a place, or its coordinates."""
    names = [name for name in (place.city, place.country) if name]
    return ", ".join(names) or f"{place.latitude:.1f}, {place.longitude:.1f}"


def rows_of(places: list[Place]) -> str:
    """Return rows of a table: the places with most servers."""
    total = max(1, sum(place.servers for place in places))
    return "".join(
        f"<tr><td>{escape(name_of(place))}</td><td>{place.servers:,}</td>"
        f"<td>{100 * place.servers / total:.1f} %</td></tr>"
        for place in places[:MOST_ROWS]
    )
