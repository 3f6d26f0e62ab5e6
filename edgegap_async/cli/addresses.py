"""Texts about where a server is."""

from ..models.deployment import ReadyDeployment
from ..models.location import Location


def address(server: ReadyDeployment) -> str:
    """The host of a server and its ports: `host:31001,31002`. Empty: it has none yet."""
    host = server.fqdn or server.public_ip or ""
    ports = ",".join(str(it.external) for it in server.ports.values() if it.external)
    return f"{host}:{ports}" if host and ports else host


def location_text(location: Location | None) -> str:
    """The city and the country of a location."""
    return city_text(location.city, location.country) if location else ""


def city_text(city: str | None, country: str | None) -> str:
    """The city and the country, as far as they are known."""
    return ", ".join(filter(None, (city, country)))
