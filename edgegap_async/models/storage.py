"""Endpoint storages: buckets for the logs of containers."""

from functools import partial
from typing import ClassVar, Literal, TypeAlias, get_args

from msgspec import UNSET, UnsetType

from ._check import Checks, check_fields, encodable, fail, label, one_of
from ._plain import HidesSecrets, PlainData
from ._urls import http_url
from ._wire import Answer, Several, Time
from .paging import Page

OutputFormat: TypeAlias = Literal["TEXT", "NDJSON"]
SECRET: frozenset[str] = frozenset({"secret_access_key"})


def secret_key(value: object) -> str:
    """Check the key. No error repeats it."""
    if not isinstance(value, str):
        fail("secret_access_key", f"must be a string, not {type(value).__name__}")
    bare = encodable("secret_access_key", value).strip()
    if not bare or not bare.isprintable():
        fail("secret_access_key", "must be printable, and not empty")
    return bare


def _endpoint(value: object) -> str:
    given = label("endpoint", value)
    http_url("endpoint", given)
    return given


_CHECKS: Checks = {
    **{name: partial(label, name) for name in ("name", "access_key_id", "bucket")},
    "secret_access_key": secret_key,
    "endpoint": _endpoint,
    "output_format": lambda it: one_of("output_format", it, get_args(OutputFormat)),
}


class StorageRequest(HidesSecrets, PlainData, frozen=True, kw_only=True):
    """The body that creates a storage. It checks the arguments of `storage.create`. Its
    repr does not show the key.
    """

    secret_fields: ClassVar[frozenset[str]] = SECRET

    name: str
    access_key_id: str
    secret_access_key: str
    endpoint: str
    bucket: str
    output_format: OutputFormat | UnsetType = UNSET

    def __post_init__(self) -> None:
        check_fields(self, _CHECKS)


class StorageUpdate(HidesSecrets, PlainData, frozen=True, kw_only=True):
    """The body that changes a storage. It checks the arguments of `storage.update`. Fields
    that are not given stay as they are.
    """

    secret_fields: ClassVar[frozenset[str]] = SECRET

    name: str | UnsetType = UNSET
    access_key_id: str | UnsetType = UNSET
    secret_access_key: str | UnsetType = UNSET
    endpoint: str | UnsetType = UNSET
    bucket: str | UnsetType = UNSET
    output_format: OutputFormat | UnsetType = UNSET

    def __post_init__(self) -> None:
        check_fields(self, _CHECKS)


class EndpointStorage(Answer, frozen=True, kw_only=True):
    """A storage: a bucket that has the interface of S3. The API never tells its key.

    Attributes:
        endpoint: the URL of the provider.
        output_format: of the logs, TEXT or NDJSON.
    """

    name: str
    access_key_id: str | None = None
    endpoint: str | None = None
    bucket: str | None = None
    output_format: str | None = None
    create_time: Time = None
    last_updated: Time = None


class EndpointStorages(Page, frozen=True, kw_only=True):
    """A page of the storages of the organization."""

    endpoints: Several[EndpointStorage] = ()
