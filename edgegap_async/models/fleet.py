"""Hosts of a private fleet.

The reference page documents `pin` and `delete_schedules`, the newer specification the
other fields.
"""

from ._wire import Answer, Integer, Maybe, Real, Time
from .paging import Page


class Beacon(Answer, frozen=True, kw_only=True):
    """The address at which a host answers pings."""

    tcp_port: Integer = None
    udp_port: Integer = None
    ip_address: str | None = None


class Pin(Answer, frozen=True, kw_only=True):
    """The location and the size that were ordered for a host."""

    label: str | None = None
    latitude: Real = None
    longitude: Real = None
    radius_km: Real = None
    radius_strategy: Integer = None
    cpu_cores: Integer = None
    memory_gb: Real = None
    clock_speed_ghz: Real = None
    desired_host_count: Integer = None


class DeleteSchedule(Answer, frozen=True, kw_only=True):
    """The time at which a host will be deleted."""

    uuid: str | None = None
    scheduled_at: Time = None


class Centroid(Answer, frozen=True, kw_only=True):
    """The place that was ordered for a host."""

    label: str | None = None
    latitude: Real = None
    longitude: Real = None
    radius_km: Real = None
    desired_host_count: Integer = None


class HostSpecifications(Answer, frozen=True, kw_only=True):
    """The size that was ordered for a host."""

    cpu_units: Integer = None
    memory_mb: Integer = None
    base_clock_speed_mhz: Integer = None


class FleetHost(Answer, frozen=True, kw_only=True):
    """A host of a private fleet."""

    host_id: str
    status: str | None = None
    ip_address: str | None = None
    latitude: Real = None
    longitude: Real = None
    city: str | None = None
    country: str | None = None
    continent: str | None = None
    allocated_cpu_units: Integer = None
    allocated_memory_mb: Integer = None
    allocatable_cpu_units: Integer = None
    allocatable_memory_mb: Integer = None
    beacon: Maybe[Beacon] = None
    created_at: Time = None
    updated_at: Time = None
    pin: Maybe[Pin] = None
    delete_schedules: Maybe[tuple[DeleteSchedule, ...]] = None
    centroid: Maybe[Centroid] = None
    delete_schedule: Maybe[DeleteSchedule] = None
    fleet_host_specifications: Maybe[HostSpecifications] = None


class FleetHosts(Page, frozen=True, kw_only=True):
    """The hosts of a fleet.

    The API sends all hosts at once according to the reference page, and pages of them
    according to the newer specification.
    """

    data: tuple[FleetHost, ...]
