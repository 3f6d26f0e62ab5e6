"""The applications of the organization, and their versions."""

from dataclasses import dataclass, field
from typing import TypeVar

from msgspec import UNSET, structs

from ...models.app import AppRequest, AppUpdate
from ...models.version import AppVersionRequest, AppVersionUpdate
from .errors import ApiError

R = TypeVar("R")


@dataclass(slots=True)
class Version:
    """A version of an application."""

    settings: AppVersionRequest
    created: float
    updated: float


@dataclass(slots=True)
class App:
    """An application, and its versions in the order of their creation."""

    name: str
    image: str
    is_active: bool
    created: float
    updated: float
    versions: dict[str, Version] = field(default_factory=dict[str, Version])


class Catalog:
    """All applications, in the order of their creation.

    Until one was created, every application and version can be deployed.
    """

    def __init__(self) -> None:
        self._apps: dict[str, App] = {}
        self._used = False

    def apps(self) -> tuple[App, ...]:
        """Return all applications."""
        return tuple(self._apps.values())

    def app(self, name: str) -> App:
        """Return an application.

        Raises:
            ApiError: There is none with this name.
        """
        return _found(self._apps, name, "Application")

    def create_app(self, body: AppRequest, now: float) -> App:
        """Create an application."""
        _check_new(self._apps, body.name, "Application")
        app = App(body.name, body.image, body.is_active, now, now)
        self._apps[app.name] = app
        self._used = True
        return app

    def update_app(self, name: str, body: AppUpdate, now: float) -> App:
        """Change an application; what the body does not have stays."""
        app = self.app(name)
        if body.name is not UNSET and body.name != name:
            _check_new(self._apps, body.name, "Application")
            self._apps = _renamed(self._apps, name, body.name)
            app.name = body.name
        app.image = app.image if body.image is UNSET else body.image
        app.is_active = app.is_active if body.is_active is UNSET else body.is_active
        app.updated = now
        return app

    def delete_app(self, name: str) -> None:
        """Delete an application and its versions."""
        del self._apps[self.app(name).name]

    def version(self, app_name: str, version_name: str) -> Version:
        """Return a version of an application.

        Raises:
            ApiError: There is no such application or version.
        """
        return _found(self.app(app_name).versions, version_name, "Version")

    def create_version(
        self, app_name: str, body: AppVersionRequest, now: float
    ) -> Version:
        """Create a version of an application."""
        versions = self.app(app_name).versions
        _check_new(versions, body.name, "Version")
        versions[body.name] = Version(body, now, now)
        return versions[body.name]

    def update_version(
        self, app_name: str, version_name: str, body: AppVersionUpdate, now: float
    ) -> Version:
        """Change a version; what the body does not have stays."""
        app, version = self.app(app_name), self.version(app_name, version_name)
        if body.name is not UNSET and body.name != version_name:
            _check_new(app.versions, body.name, "Version")
            app.versions = _renamed(app.versions, version_name, body.name)
        fields = {each: getattr(body, each) for each in body.__struct_fields__}
        changes = {each: value for each, value in fields.items() if value is not UNSET}
        version.settings = structs.replace(version.settings, **changes)
        version.updated = now
        return version

    def delete_version(self, app_name: str, version_name: str) -> None:
        """Delete a version of an application."""
        self.version(app_name, version_name)
        del self.app(app_name).versions[version_name]

    def deployable(self, app_name: str, version_name: str) -> AppVersionRequest | None:
        """Return the settings of a version that is to be deployed. None: no application
        was ever created.

        Raises:
            ApiError: There is no such application or version, or it is not active.
        """
        if not self._used:
            return None
        app = self._apps.get(app_name)
        version = app.versions.get(version_name) if app else None
        if app is None or version is None:
            raise ApiError(
                400, f"Invalid application or version: {app_name} {version_name}"
            )
        if not app.is_active or version.settings.is_active is False:
            raise ApiError(
                400, f"Application version is not active: {app_name} {version_name}"
            )
        return version.settings


def _found(rows: dict[str, R], name: str, kind: str) -> R:
    if name not in rows:
        raise ApiError(404, f"{kind} {name} not found")
    return rows[name]


def _check_new(rows: dict[str, R], name: str, kind: str) -> None:
    if name in rows:
        raise ApiError(409, f"{kind} {name} already exists")


def _renamed(rows: dict[str, R], old: str, new: str) -> dict[str, R]:
    """Return the rows with a new name for one, which keeps its place."""
    return {new if name == old else name: row for name, row in rows.items()}
