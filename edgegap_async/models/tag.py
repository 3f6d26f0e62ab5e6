"""Tags of a deployment."""

from msgspec.structs import force_setattr

from ._check import tag_name
from ._plain import PlainData
from ._wire import Answer, Integer, Time
from .paging import Page


class TagRequest(PlainData, frozen=True):
    """The body that creates or renames a tag."""

    name: str

    def __post_init__(self) -> None:
        force_setattr(self, "name", tag_name("name", self.name))


class DeploymentTag(Answer, frozen=True, kw_only=True):
    """A tag of a deployment."""

    name: str
    create_time: Time = None
    last_updated: Time = None


class DeploymentTags(Page, frozen=True, kw_only=True):
    """The tags of a deployment.

    Their number is `count` on the reference page, and `total_count` in the newer
    specification.
    """

    tags: tuple[DeploymentTag, ...]
    count: Integer = None
