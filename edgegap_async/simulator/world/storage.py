"""Endpoint storages and their pull profiles. Nothing is written to a bucket, or read from
one.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from msgspec import UNSET, Struct, structs

from ...models.pull_profile import PullProfileRequest
from ...models.storage import StorageRequest
from .errors import ApiError

B = TypeVar("B", StorageRequest, PullProfileRequest)
R = TypeVar("R", bound="Row[Any]")


@dataclass(slots=True)
class Row(Generic[B]):
    """What a body has created."""

    settings: B
    created: float
    updated: float


class Rows(Generic[B, R]):
    """All rows of a kind, in the order of their creation."""

    def __init__(self, kind: str, make: Callable[[B, float, float], R]) -> None:
        self._kind = kind
        self._make: Callable[[B, float, float], R] = make
        self._rows: dict[str, R] = {}

    def all(self) -> tuple[R, ...]:
        """Return all rows."""
        return tuple(self._rows.values())

    def get(self, name: str) -> R:
        """Return a row.

        Raises:
            ApiError: There is none with this name.
        """
        if name not in self._rows:
            raise ApiError(404, f"{self._kind} {name} not found")
        return self._rows[name]

    def create(self, body: B, now: float) -> R:
        """Create a row."""
        self._check_new(body.name)
        self._rows[body.name] = self._make(body, now, now)
        return self._rows[body.name]

    def update(self, name: str, body: Struct, now: float) -> R:
        """Change a row; what the body does not have stays."""
        row = self.get(name)
        fields = {each: getattr(body, each) for each in body.__struct_fields__}
        changes = {each: value for each, value in fields.items() if value is not UNSET}
        new = changes.get("name", name)
        if new != name:
            self._check_new(new)
            self._rows = {
                new if each == name else each: it for each, it in self._rows.items()
            }
        row.settings = structs.replace(row.settings, **changes)
        row.updated = now
        return row

    def delete(self, name: str) -> None:
        """Delete a row."""
        self.get(name)
        del self._rows[name]

    def _check_new(self, name: str) -> None:
        if name in self._rows:
            raise ApiError(400, f"{self._kind} {name} already exists")


@dataclass(slots=True)
class Link:
    """A link of a pull profile to a version of an application."""

    created: float
    updated: float


@dataclass(slots=True)
class PullProfile(Row[PullProfileRequest]):
    """A pull profile of a storage, and its links by application and version."""

    links: dict[tuple[str, str], Link] = field(
        default_factory=dict[tuple[str, str], Link]
    )

    def link(self, app_name: str, version_name: str, now: float) -> Link:
        """Link a version. A link that exists is only touched."""
        link = self.links.setdefault((app_name, version_name), Link(now, now))
        link.updated = now
        return link

    def unlink(self, app_name: str, version_name: str) -> None:
        """Unlink a version.

        Raises:
            ApiError: It is not linked.
        """
        if self.links.pop((app_name, version_name), None) is None:
            raise ApiError(
                404, f"Version {version_name} of {app_name} is not linked to it"
            )


def _no_profiles() -> Rows[PullProfileRequest, PullProfile]:
    return Rows("Pull profile", PullProfile)


@dataclass(slots=True)
class Storage(Row[StorageRequest]):
    """A storage, and its pull profiles."""

    profiles: Rows[PullProfileRequest, PullProfile] = field(
        default_factory=_no_profiles
    )


class Storages(Rows[StorageRequest, Storage]):
    """All storages."""

    def __init__(self) -> None:
        super().__init__("Endpoint storage", Storage)

    def profiles(self, name: str) -> Rows[PullProfileRequest, PullProfile]:
        """Return the pull profiles of a storage.

        Raises:
            ApiError: There is no such storage.
        """
        return self.get(name).profiles
