"""What a deployment has from its version."""

from typing import TypedDict

from msgspec import UNSET, UnsetType

from ...models.deploy import DeployRequest, EnvironmentVariable
from ...models.version import AppVersionRequest, PortSpec, ports_of


class OfVersion(TypedDict, total=False):
    """What a deployment has from its version."""

    ports: tuple[PortSpec, ...]
    max_duration: int


def of_version(settings: AppVersionRequest | None) -> OfVersion:
    """Return what a deployment has from its version. None: any version is deployed."""
    if settings is None:
        return {}
    found: OfVersion = {"ports": ports_of(settings)}
    if not isinstance(settings.max_duration, UnsetType):
        found["max_duration"] = settings.max_duration
    return found


def variables(
    settings: AppVersionRequest | None, body: DeployRequest
) -> list[EnvironmentVariable]:
    """Return the variables of the version, and those of the deploy, which replace them."""
    given = settings.envs if settings and settings.envs is not UNSET else ()
    every = (*given, *(body.environment_variables or ()))
    last = {each.key: each for each in every if isinstance(each, EnvironmentVariable)}
    return list(last.values())
