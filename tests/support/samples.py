"""The samples of the reference page as structs, and a comparison of a struct with its
sample.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct

from edgegap_async import DeploymentAccepted, DeploymentStatus
from edgegap_async.models.app import Application, Applications
from edgegap_async.models.deployment import (
    BulkStopResult,
    ContainerLogs,
    DeploymentPage,
    StopResult,
)
from edgegap_async.models.fleet import FleetHosts
from edgegap_async.models.location import Locations, PingBeacons
from edgegap_async.models.metrics import DeploymentMetrics
from edgegap_async.models.pull_profile import (
    PullProfile,
    PullProfileLink,
    PullProfilePage,
)
from edgegap_async.models.registry import ImageTagDeleted, ImageTags, ImageTagsDeleted
from edgegap_async.models.relay import AuthorizedUser, RelaySession, RelaySessions
from edgegap_async.models.storage import EndpointStorage, EndpointStorages
from edgegap_async.models.tag import DeploymentTag, DeploymentTags
from edgegap_async.models.version import (
    AppVersion,
    AppVersionDeleted,
    AppVersionResult,
    AppVersions,
)
from support.reference import BY_KEY

STATUS = "GET /v1/status/{request_id}"
LIST = "GET /v1/deployments"
METRICS = "GET /v1/metrics/deployment/{request_id}"
LOCATIONS = "GET /v1/locations"
LOGS = "GET /v1/deployment/{request_id}/container-logs"
HOSTS = "GET /v2/private-fleets/{fleet-name}/hosts"
TAGS = "GET /v1/deployments/{request_id}/tags"
TAG = "GET /v1/deployments/{request_id}/tags/{tag_name}"
PROFILE = "/v1/storage/endpoint/{endpoint_name}/pull-profile/{pull_profile_name}"
STRUCTS: dict[str, Any] = {
    STATUS: DeploymentStatus,
    LIST: DeploymentPage,
    METRICS: DeploymentMetrics,
    LOCATIONS: Locations,
    LOGS: ContainerLogs,
    HOSTS: FleetHosts,
    TAGS: DeploymentTags,
    TAG: DeploymentTag,
    "POST /v1/deployments/{request_id}/tags": DeploymentTag,
    "PATCH /v1/deployments/{request_id}/tags/{tag_name}": DeploymentTag,
    "POST /v2/deployments": DeploymentAccepted,
    "POST /v2/private-fleets:deploy": DeploymentAccepted,
    "POST /v1/deployments/bulk-stop": BulkStopResult,
    "DELETE /v1/stop/{request_id}": StopResult,
    "GET /v1/locations/beacons": PingBeacons,
    "GET /v1/app/{app_name}/versions": AppVersions,
    "GET /v1/app/{app_name}/version/{version_name}": AppVersion,
    "POST /v1/app/{app_name}/version": AppVersionResult,
    "PATCH /v1/app/{app_name}/version/{version_name}": AppVersionResult,
    "DELETE /v1/app/{app_name}/version/{version_name}": AppVersionDeleted,
    "GET /v1/apps": Applications,
    "GET /v1/storage/endpoints": EndpointStorages,
    "GET /v1/storage/endpoint/{endpoint_name}": EndpointStorage,
    "POST /v1/storage/endpoint": EndpointStorage,
    "PATCH /v1/storage/endpoint/{endpoint_name}": EndpointStorage,
    "GET /v1/container-registry/images/{image_name}/tags": ImageTags,
    "DELETE /v1/container-registry/images/{image_name}/tags/{tag_name}": ImageTagDeleted,
    "POST /v1/container-registry/images/{image_name}/tags/bulk-delete": ImageTagsDeleted,
    "GET /v1/storage/endpoint/{endpoint_name}/pull-profiles": PullProfilePage,
    f"GET {PROFILE}": PullProfile,
    "POST /v1/storage/endpoint/{endpoint_name}/pull-profile": PullProfile,
    f"PATCH {PROFILE}": PullProfile,
    f"PUT {PROFILE}/app/{{app_name}}/version/{{version_name}}": PullProfileLink,
    "GET /v1/relays/sessions": RelaySessions,
    "GET /v1/relays/sessions/{session_id}": RelaySession,
    "POST /v1/relays/sessions": RelaySession,
    "POST /v1/relays/sessions:authorize-user": AuthorizedUser,
    "GET /v1/app/{app_name}": Application,
    "POST /v1/app": Application,
    "PATCH /v1/app/{app_name}": Application,
    "DELETE /v1/self/stop/{request_id}/{access_point_id}": StopResult,
}


def read(key: str, answer: Any) -> Any:
    """Decode an answer to the operation `key` as its struct."""
    return msgspec.json.decode(json.dumps(answer), type=STRUCTS[key])


def status(**changes: Any) -> DeploymentStatus:
    """Return the sample of a status with other values. `...` removes a key."""
    sample = BY_KEY[STATUS].answer | changes
    status: DeploymentStatus = read(
        STATUS, {key: value for key, value in sample.items() if value is not ...}
    )
    return status


def differences(sample: Any, value: Any, where: str = "$") -> Iterator[str]:
    """Yield the paths at which a struct differs from its sample.

    A missing attribute, another value, and a list of another length are differences.
    """
    if isinstance(sample, dict):
        if not isinstance(value, Struct | Mapping):
            yield where
            return
        for key, item in sample.items():
            found = (
                value.get(key)
                if isinstance(value, Mapping)
                else getattr(value, key, None)
            )
            yield from differences(item, found, f"{where}.{key}")
    elif isinstance(sample, list):
        if not isinstance(value, tuple | list) or len(value) != len(sample):
            yield where
            return
        for index, (item, found) in enumerate(zip(sample, value, strict=True)):
            yield from differences(item, found, f"{where}[{index}]")
    elif not equal(sample, value):
        yield where


def equal(sample: Any, value: Any) -> bool:
    """Return whether a value equals its JSON.

    "5" equals 5, and a time without a time zone is UTC.
    """
    if isinstance(value, datetime):
        return (
            isinstance(sample, str)
            and value.tzinfo is not None
            and value == _time(sample)
        )
    if (
        isinstance(sample, str)
        and isinstance(value, int | float)
        and not isinstance(value, bool)
    ):
        return float(sample) == value
    return isinstance(sample, bool) == isinstance(value, bool) and sample == value


def _time(text: str) -> datetime:
    for form in (
        "%Y-%m-%d %H:%M:%S.%f",
        "%Y-%m-%dT%H:%M:%S.%fZ",
        "%Y-%m-%dT%H:%M:%SZ",
        "%Y-%m-%d %H:%M:%S",
    ):
        try:
            return datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    raise ValueError(f"the reference page has no time in this form: {text!r}")
