"""Applications: the bodies that create and change one, and the answers."""

from base64 import b64decode
from functools import partial

from msgspec import UNSET, UnsetType

from ._check import Checks, check_fields, fail, flag, plain, sized_label
from ._plain import PlainData
from ._wire import Answer, Maybe, Several, Time
from .paging import Page

# Characters of the name of an application.
SHORTEST_NAME, LONGEST_NAME = 3, 64


def _name(value: object) -> str:
    return sized_label("name", value, SHORTEST_NAME, LONGEST_NAME)


def _image(value: object) -> str:
    if not isinstance(value, str):
        fail("image", f"must be base64 text, not {type(value).__name__}")
    image = plain(value)
    if not _is_base64(image):
        # The error does not repeat it: it may have megabytes.
        fail("image", "must be base64 text: base64.b64encode(picture).decode()")
    return image


def _is_base64(text: str) -> bool:
    try:
        b64decode(text, validate=True)
    except ValueError:
        return False
    return True


# The check of each field of a body.
_CHECKS: Checks = {
    "name": _name,
    "image": _image,
    "is_active": partial(flag, "is_active"),
}


class AppRequest(PlainData, frozen=True):
    """The body that creates an application. It checks the arguments of `apps.create`."""

    name: str
    image: str
    is_active: bool

    def __post_init__(self) -> None:
        check_fields(self, _CHECKS)


class AppUpdate(PlainData, frozen=True):
    """The body that changes an application. It checks the arguments of `apps.update`.
    Fields that are not given stay as they are.
    """

    name: str | UnsetType = UNSET
    image: str | UnsetType = UNSET
    is_active: bool | UnsetType = UNSET

    def __post_init__(self) -> None:
        check_fields(self, _CHECKS)


class Application(Answer, frozen=True, kw_only=True):
    """An application: a group of versions.

    Attributes:
        is_active: whether its versions can be deployed.
        image: a picture as base64 text.
    """

    name: str
    is_active: Maybe[bool] = None
    image: str | None = None
    create_time: Time = None
    last_updated: Time = None


class Applications(Page, frozen=True, kw_only=True):
    """A page of the applications of the organization."""

    applications: Several[Application] = ()
