"""Endpoint storages. No logs are written to them."""

from dataclasses import dataclass

from msgspec import UNSET, structs

from ...models.storage import StorageRequest, StorageUpdate
from .errors import ApiError


@dataclass(slots=True)
class Storage:
    """A storage."""

    settings: StorageRequest
    created: float
    updated: float


class Storages:
    """All storages, in the order of their creation."""

    def __init__(self) -> None:
        self._storages: dict[str, Storage] = {}

    def all(self) -> tuple[Storage, ...]:
        """Return all storages."""
        return tuple(self._storages.values())

    def get(self, name: str) -> Storage:
        """Return a storage.

        Raises:
            ApiError: There is none with this name.
        """
        if name not in self._storages:
            raise ApiError(404, f"Endpoint storage {name} not found")
        return self._storages[name]

    def create(self, body: StorageRequest, now: float) -> Storage:
        """Create a storage."""
        self._check_new(body.name)
        self._storages[body.name] = Storage(body, now, now)
        return self._storages[body.name]

    def update(self, name: str, body: StorageUpdate, now: float) -> Storage:
        """Change a storage; what the body does not have stays."""
        storage = self.get(name)
        fields = {each: getattr(body, each) for each in body.__struct_fields__}
        changes = {each: value for each, value in fields.items() if value is not UNSET}
        new = changes.get("name", name)
        if new != name:
            self._check_new(new)
            self._storages = {
                new if each == name else each: it for each, it in self._storages.items()
            }
        storage.settings = structs.replace(storage.settings, **changes)
        storage.updated = now
        return storage

    def delete(self, name: str) -> None:
        """Delete a storage."""
        self.get(name)
        del self._storages[name]

    def _check_new(self, name: str) -> None:
        if name in self._storages:
            raise ApiError(400, f"Endpoint storage {name} already exists")
