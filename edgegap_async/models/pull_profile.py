"""Pull profiles: what a container gets from an endpoint storage when it starts."""

from functools import partial
from typing import Literal, TypeAlias, get_args

from msgspec import UNSET, UnsetType

from ._check import Checks, check_fields, label, one_of
from ._plain import PlainData
from ._wire import Answer, Several, Time
from .paging import Page

SourceType: TypeAlias = Literal["File", "Folder"]

_CHECKS: Checks = {
    **{name: partial(label, name) for name in ("name", "source", "destination")},
    "source_type": lambda it: one_of("source_type", it, get_args(SourceType)),
}


class PullProfileRequest(PlainData, frozen=True, kw_only=True):
    """The body that creates a pull profile. It checks the arguments of
    `pull_profiles.create`.
    """

    name: str
    source: str
    source_type: SourceType
    destination: str

    def __post_init__(self) -> None:
        check_fields(self, _CHECKS)


class PullProfileUpdate(PlainData, frozen=True, kw_only=True):
    """The body that changes a pull profile. It checks the arguments of
    `pull_profiles.update`. Fields that are not given stay as they are.
    """

    name: str | UnsetType = UNSET
    source: str | UnsetType = UNSET
    source_type: SourceType | UnsetType = UNSET
    destination: str | UnsetType = UNSET

    def __post_init__(self) -> None:
        check_fields(self, _CHECKS)


class PullProfile(Answer, frozen=True, kw_only=True):
    """A pull profile of an endpoint storage.

    Attributes:
        source: the path in the bucket.
        source_type: of the source, File or Folder.
        destination: the path in the container.
    """

    name: str
    source: str | None = None
    source_type: str | None = None
    destination: str | None = None
    create_time: Time = None
    last_updated: Time = None


class PullProfileLink(Answer, frozen=True, kw_only=True):
    """The answer when a pull profile was linked to a version of an application.

    Attributes:
        app, app_version: the names of the application and of its version.
        endpoint, pull_profile: the names of the storage and of its pull profile.
    """

    app: str | None = None
    app_version: str | None = None
    endpoint: str | None = None
    pull_profile: str | None = None
    create_time: Time = None
    last_updated: Time = None


class PullProfilePage(Page, frozen=True, kw_only=True):
    """A page of the pull profiles of an endpoint storage."""

    pull_profiles: Several[PullProfile] = ()
