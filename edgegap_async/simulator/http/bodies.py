"""What stands in an answer: exactly the keys of the reference page's samples, as plain
dicts.
"""

from collections.abc import Mapping
from typing import TypeAlias

from ..world.clock import Clock
from ..world.deployment import Deployment, Phase, Tag
from ..world.listing import Page
from ..world.locations import PLACES, Host, Place

Json: TypeAlias = Mapping[str, object]

NO_SERVER = "No server could be allocated"

# What a host has, and what a deployment takes of it.
_HOST_CPU, _HOST_MEMORY = 16 * 1024, 32 * 1024
_DEPLOYMENT_CPU, _DEPLOYMENT_MEMORY = 1024, 2048
# the range of the samples
_FIRST_PORT, _LAST_PORT = 30000, 32767


def error_detail(it: Deployment) -> str:
    """Why a deployment failed: some never got a server or their image, some crashed."""
    if not it.allocated:
        return NO_SERVER
    return "Container crashed" if it.number % 2 else "Pull image timeout exceeded"


def fqdn(it: Deployment) -> str:
    """The name of a deployment; it resolves nowhere."""
    return f"{it.request_id}.simulator.edgegap.invalid"


def public_ip(it: Deployment) -> str:
    """The address of a deployment, out of the range for benchmarks: nobody is reached
    by mistake.
    """
    high, low = divmod(it.number % 2**16, 2**8)
    return f"198.18.{high}.{low}"


def ports(it: Deployment) -> dict[str, Json]:
    """The ports of a deployment, as in the samples: a game port by its number, a web
    port by its name.
    """
    external = _FIRST_PORT + 2 * it.number % (_LAST_PORT - _FIRST_PORT)
    game = {
        "external": external,
        "internal": 7777,
        "protocol": "UDP",
        "name": "7777",
        "tls_upgrade": False,
    }
    web = {
        "external": external + 1,
        "internal": 8080,
        "protocol": "http",
        "name": "web",
        "tls_upgrade": True,
    }
    return {
        "7777": {**game, "link": f"{fqdn(it)}:{external}", "proxy": 65002},
        "web": {**web, "link": f"https://{fqdn(it)}:{external + 1}", "proxy": 65001},
    }


def location(place: Place) -> Json:
    """The place of a deployment."""
    return {
        "city": place.city,
        "country": place.country,
        "continent": place.continent,
        "administrative_division": place.administrative_division,
        "timezone": place.timezone,
        "latitude": place.latitude,
        "longitude": place.longitude,
    }


def status(it: Deployment, now: float, clock: Clock) -> Json:
    """All of one deployment."""
    state, last = it.states(now)
    placed, ready, failed = (
        now >= it.placed,
        it.became_ready(now),
        it.fails and now >= it.settles,
    )
    return {
        "request_id": it.request_id,
        "fqdn": fqdn(it) if placed else None,
        "app_name": it.application,
        "app_version": it.version,
        "current_status": f"Status.{state}",
        "running": state == "READY",
        "whitelisting_active": False,
        "start_time": clock.text(it.settles) if ready else None,
        "removal_time": clock.text(it.leaves) if now >= it.leaves else None,
        "elapsed_time": int(min(now, it.leaves) - it.settles) if ready else 0,
        "last_status": f"Status.{last}" if last else None,
        "error": failed,
        "error_detail": error_detail(it) if failed else "",
        "ports": ports(it) if placed else None,
        "public_ip": public_ip(it) if placed else None,
        "sessions": [],
        "location": location(it.place) if placed else None,
        "tags": list(it.tags),
        "sockets": "5",
        "sockets_usage": "0",
        "command": "",
        "arguments": "",
        "max_duration": it.max_duration,
    }


def row(it: Deployment, now: float, clock: Clock) -> Json:
    """One deployment in a list."""
    placed = now >= it.placed
    return {
        "request_id": it.request_id,
        "fqdn": fqdn(it) if placed else None,
        "start_time": clock.text(it.settles) if it.became_ready(now) else None,
        "ready": it.phase_at(now) is Phase.READY,
        "public_ip": public_ip(it) if placed else None,
        "ports": ports(it) if placed else None,
        "tags": list(it.tags),
        "sockets": "5",
        "sockets_usage": "0",
        "is_joinable_by_session": False,
    }


def page(found: Page, now: float, clock: Clock) -> Json:
    """One page of a list."""
    has_next, has_previous = found.number < found.pages, found.number > 1
    return {
        "data": [row(it, now, clock) for it in found.items],
        "total_count": found.total,
        "pagination": {
            "number": found.number,
            "next_page_number": found.number + 1 if has_next else None,
            "previous_page_number": found.number - 1 if has_previous else None,
            "paginator": {"num_pages": found.pages},
            "has_next": has_next,
            "has_previous": has_previous,
        },
        "message": [],
    }


def tag(name: str, it: Tag, clock: Clock) -> Json:
    """One tag."""
    return {
        "name": name,
        "create_time": clock.text(it.created),
        "last_updated": clock.text(it.updated),
    }


def locations(kind: str | None, with_tags: bool) -> Json:
    """All locations, or those of a type."""
    return {
        "locations": [
            {
                "city": place.city,
                "continent": place.continent,
                "country": place.country,
                "timezone": place.timezone,
                "administrative_division": place.administrative_division,
                "latitude": str(place.latitude),
                "longitude": str(place.longitude),
                "type": place.type,
                "tags": [{"key": "continent", "value": place.continent}]
                if with_tags
                else [],
            }
            for place in PLACES
            if kind in (None, place.type)
        ],
        "messages": [],
    }


def host(it: Host, deployments: int, clock: Clock) -> Json:
    """One host of a fleet, that holds so many deployments."""
    address = f"198.19.{it.number // 256 % 256}.{it.number % 256}"
    place, since = it.place, clock.iso(0.0)
    return {
        "host_id": it.host_id,
        "status": "ACTIVE",
        "ip_address": address,
        "latitude": place.latitude,
        "longitude": place.longitude,
        "city": place.city,
        "country": place.country,
        "continent": place.continent,
        "allocated_cpu_units": deployments * _DEPLOYMENT_CPU,
        "allocated_memory_mb": deployments * _DEPLOYMENT_MEMORY,
        "allocatable_cpu_units": max(0, _HOST_CPU - deployments * _DEPLOYMENT_CPU),
        "allocatable_memory_mb": max(
            0, _HOST_MEMORY - deployments * _DEPLOYMENT_MEMORY
        ),
        "beacon": {
            "tcp_port": _FIRST_PORT + 974,
            "udp_port": _FIRST_PORT + 1843,
            "ip_address": address,
        },
        "created_at": since,
        "updated_at": since,
        "pin": _pin(it),
        "delete_schedules": [],
    }


def _pin(it: Host) -> Json:
    return {
        "label": it.label,
        "latitude": it.place.latitude,
        "longitude": it.place.longitude,
        "radius_km": 700,
        "radius_strategy": 1,
        "cpu_cores": _HOST_CPU // 1024,
        "memory_gb": _HOST_MEMORY // 1024,
        "clock_speed_ghz": 2,
        "desired_host_count": 1,
    }
