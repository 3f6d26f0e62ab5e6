"""JSON bodies as plain dicts, with exactly the keys of the samples in the reference."""

from collections.abc import Sequence

from msgspec import to_builtins

from ...models.version import PortSpec, ports_of
from ..world.catalog import App, Version
from ..world.clock import Clock
from ..world.deployment import Deployment, Phase, Tag
from ..world.listing import Page
from ..world.locations import LOCATIONS, Host, Location
from .responses import Json

NO_SERVER = "No server could be allocated"

# The capacity of a host, and the part of one deployment, in CPU units and MB.
_HOST_CPU, _HOST_MEMORY = 16 * 1024, 32 * 1024
_DEPLOYMENT_CPU, _DEPLOYMENT_MEMORY = 1024, 2048
# The range of external ports in the samples. After the last one, the first one follows.
_FIRST_PORT, _PORTS = 30000, 2768
# The proxy port of the first port.
_PROXY_PORT = 65002


def error_detail(it: Deployment) -> str:
    """Return why a deployment failed: no server, no image, or a crash."""
    if not it.allocated:
        return NO_SERVER
    return "Container crashed" if it.crashes else "Pull image timeout exceeded"


def fqdn(it: Deployment) -> str:
    """Return the host name of a deployment. No DNS server resolves it, unless its ports
    are open.
    """
    if it.external:
        return "localhost"
    return f"{it.request_id}.simulator.edgegap.invalid"


def public_ip(it: Deployment) -> str:
    """Return the IP address of a deployment.

    It is in the range that is reserved for benchmarks, so no real host has it, unless its
    ports are open.
    """
    if it.external:
        return "127.0.0.1"
    high, low = divmod(it.number % 2**16, 2**8)
    return f"198.18.{high}.{low}"


def ports(it: Deployment) -> dict[str, Json]:
    """Return the ports of a deployment, each under its name, or under its number if it
    has no name.
    """
    first = len(it.ports) * it.number
    return {
        port.name or str(port.port): _port(
            it,
            port,
            it.external[place]
            if it.external
            else _FIRST_PORT + (first + place) % _PORTS,
            _PROXY_PORT - place % _PORTS,
        )
        for place, port in enumerate(it.ports)
    }


def _port(it: Deployment, port: PortSpec, external: int, proxy: int) -> Json:
    address = f"{fqdn(it)}:{external}"
    return {
        "external": external,
        "internal": port.port,
        "protocol": port.protocol,
        "name": port.name or str(port.port),
        "tls_upgrade": port.tls_upgrade,
        "link": f"https://{address}" if port.tls_upgrade else address,
        "proxy": proxy,
    }


def location(it: Location) -> Json:
    """Return the location of a deployment."""
    return {
        "city": it.city,
        "country": it.country,
        "continent": it.continent,
        "administrative_division": it.administrative_division,
        "timezone": it.timezone,
        "latitude": it.latitude,
        "longitude": it.longitude,
    }


def status(it: Deployment, now: float, clock: Clock) -> Json:
    """Return the status of a deployment."""
    state, last = it.states(now)
    has_address, ready = now >= it.address_known_at, it.became_ready(now)
    failed = now >= it.failed_at
    ended = now >= it.terminating_at
    running_until = min(now, it.terminating_at)
    return {
        "request_id": it.request_id,
        "fqdn": fqdn(it) if has_address else None,
        "app_name": it.application,
        "app_version": it.version,
        "current_status": f"Status.{state}",
        "running": state == "READY",
        "whitelisting_active": False,
        "start_time": clock.text(it.ready_or_failed_at) if ready else None,
        "removal_time": clock.text(it.terminating_at) if ended else None,
        "elapsed_time": int(running_until - it.ready_or_failed_at) if ready else 0,
        "last_status": f"Status.{last}" if last else None,
        "error": failed,
        "error_detail": error_detail(it) if failed else "",
        "ports": ports(it) if has_address else None,
        "public_ip": public_ip(it) if has_address else None,
        "sessions": [],
        "location": location(it.location) if has_address else None,
        "tags": list(it.tags),
        "sockets": "5",
        "sockets_usage": "0",
        "command": "",
        "arguments": "",
        "max_duration": it.max_duration,
    }


def row(it: Deployment, now: float, clock: Clock) -> Json:
    """Return the row of a deployment in a list."""
    has_address, ready = now >= it.address_known_at, it.became_ready(now)
    return {
        "request_id": it.request_id,
        "fqdn": fqdn(it) if has_address else None,
        "start_time": clock.text(it.ready_or_failed_at) if ready else None,
        "ready": it.phase_at(now) is Phase.READY,
        "public_ip": public_ip(it) if has_address else None,
        "ports": ports(it) if has_address else None,
        "tags": list(it.tags),
        "sockets": "5",
        "sockets_usage": "0",
        "is_joinable_by_session": False,
    }


def page(found: Page, rows: Sequence[Json]) -> Json:
    """Return one page of a list, with the row of each of its deployments."""
    return {
        "data": rows,
        "total_count": found.total,
        "pagination": pagination(found.number, found.pages),
        "message": [],
    }


def pagination(number: int, pages: int) -> Json:
    """Return the position of a page among all pages."""
    has_next, has_previous = number < pages, number > 1
    return {
        "number": number,
        "next_page_number": number + 1 if has_next else None,
        "previous_page_number": number - 1 if has_previous else None,
        "paginator": {"num_pages": pages},
        "has_next": has_next,
        "has_previous": has_previous,
    }


def tag(name: str, it: Tag, clock: Clock) -> Json:
    """Return one tag."""
    return {
        "name": name,
        "create_time": clock.text(it.created),
        "last_updated": clock.text(it.updated),
    }


def app(it: App, clock: Clock) -> Json:
    """Return an application."""
    return {
        "name": it.name,
        "is_active": it.is_active,
        "image": it.image,
        "create_time": clock.text(it.created),
        "last_updated": clock.text(it.updated),
    }


# What a version has if its body did not say.
_VERSION: Json = {
    "is_active": True,
    "verify_image": False,
    "force_cache": False,
    "time_to_deploy": 120,
    "max_duration": 1440,
    "restart_policy": "always",
    "termination_grace_period_seconds": 5,
    "will_deploy_in_mainland_china": False,
    "req_video": 0,
    "ports": [],
    "envs": [],
}


def version(it: Version, clock: Clock) -> Json:
    """Return a version. The API shows the credentials of the registry, too."""
    given = to_builtins(it.settings)
    ports = [
        {
            "port": each.port,
            "protocol": each.protocol,
            "to_check": each.to_check,
            "tls_upgrade": each.tls_upgrade,
            "name": each.name or str(each.port),
        }
        for each in ports_of(it.settings)
    ]
    return {
        **_VERSION,
        **given,
        "ports": ports,
        "caching_percent": 1.0 if it.settings.force_cache is True else 0.0,
        "create_time": clock.text(it.created),
        "last_updated": clock.text(it.updated),
    }


def locations(type_: str | None, *, with_tags: bool) -> Sequence[Json]:
    """Return all locations, or those of one type."""
    return [
        {
            "city": it.city,
            "continent": it.continent,
            "country": it.country,
            "timezone": it.timezone,
            "administrative_division": it.administrative_division,
            "latitude": str(it.latitude),
            "longitude": str(it.longitude),
            "type": it.type,
            "tags": [{"key": "continent", "value": it.continent}] if with_tags else [],
        }
        for it in LOCATIONS
        if type_ in (None, it.type)
    ]


def beacons() -> Sequence[Json]:
    """Return all ping beacons: one in each location. Nothing answers there."""
    return [
        {
            "host": f"198.19.255.{number}",
            "fqdn": f"beacon-{number}.simulator.edgegap.invalid",
            "udp_port": _FIRST_PORT + 2 * number,
            "tcp_port": _FIRST_PORT + 2 * number + 1,
            "location": location(it),
        }
        for number, it in enumerate(LOCATIONS)
    ]


def host(it: Host, deployments: int, clock: Clock) -> Json:
    """Return one host of a fleet, with a number of deployments on it."""
    address = f"198.19.{it.number // 256 % 256}.{it.number % 256}"
    cpu, memory = deployments * _DEPLOYMENT_CPU, deployments * _DEPLOYMENT_MEMORY
    created = clock.iso(0.0)
    return {
        "host_id": it.host_id,
        "status": "ACTIVE",
        "ip_address": address,
        "latitude": it.location.latitude,
        "longitude": it.location.longitude,
        "city": it.location.city,
        "country": it.location.country,
        "continent": it.location.continent,
        "allocated_cpu_units": cpu,
        "allocated_memory_mb": memory,
        "allocatable_cpu_units": max(0, _HOST_CPU - cpu),
        "allocatable_memory_mb": max(0, _HOST_MEMORY - memory),
        "beacon": {
            "tcp_port": _FIRST_PORT + 974,
            "udp_port": _FIRST_PORT + 1843,
            "ip_address": address,
        },
        "created_at": created,
        "updated_at": created,
        "pin": _pin(it),
        "delete_schedules": [],
    }


def _pin(it: Host) -> Json:
    return {
        "label": it.label,
        "latitude": it.location.latitude,
        "longitude": it.location.longitude,
        "radius_km": 700,
        "radius_strategy": 1,
        "cpu_cores": _HOST_CPU // 1024,
        "memory_gb": _HOST_MEMORY // 1024,
        "clock_speed_ghz": 2,
        "desired_host_count": 1,
    }
