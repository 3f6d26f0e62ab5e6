"""The container registry: tags of images, and what deleting them has done."""

from msgspec.structs import force_setattr

from ._check import fail, label, sequence
from ._plain import PlainData
from ._wire import Answer, Integer, Maybe, Real, Rows, Several, Texts, Time
from .paging import Page


class ImageTagsRequest(PlainData, frozen=True):
    """The body that deletes tags. It checks the argument of `registry.delete_tags`."""

    tags: tuple[str, ...]

    def __post_init__(self) -> None:
        tags = tuple(label("tags: each", each) for each in sequence("tags", self.tags))
        if not tags:
            fail("tags", "must hold at least one tag")
        force_setattr(self, "tags", tags)


class ImageArtifact(Answer, frozen=True, kw_only=True):
    """A build that one or more tags of an image name.

    Attributes:
        image_hash: its digest, such as `sha256:...`.
        size_mb: its size in MB.
        remaining_tags: all tags that name it.
        artifact_deleted: whether it was deleted.
    """

    image_hash: str | None = None
    size_mb: Real = None
    remaining_tags: Texts = ()
    artifact_deleted: Maybe[bool] = None


class ImageTag(Answer, frozen=True, kw_only=True):
    """A tag of an image.

    Attributes:
        last_push_at: when it was last pushed.
        artifact: the build that it names.
    """

    tag: str
    last_push_at: Time = None
    artifact: Maybe[ImageArtifact] = None


class ImageTags(Page, frozen=True, kw_only=True):
    """A page of the tags of an image."""

    data: Several[ImageTag] = ()


class ImageTagDeleted(Answer, frozen=True, kw_only=True):
    """The answer when a tag was deleted. All fields are None if an earlier attempt, whose
    answer was lost, has deleted it.

    Attributes:
        artifact: the build that the tag named, whether it was deleted, too, and the tags
            that still name it.
    """

    deleted_tag: str | None = None
    artifact: Maybe[ImageArtifact] = None


class ImageTagResult(Answer, frozen=True, kw_only=True):
    """What became of one of several tags.

    Attributes:
        status: 204: it was deleted; 404: there is no such tag; 500: it failed.
        message: details.
    """

    tag: str | None = None
    status: Integer = None
    message: str | None = None


class DeletionSummary(Answer, frozen=True, kw_only=True):
    """How many tags were processed, deleted, and not deleted."""

    total: Integer = None
    success: Integer = None
    failed: Integer = None


class ImageTagsDeleted(Rows, frozen=True, kw_only=True):
    """The answer when several tags were to be deleted. Some or all may still exist.

    Attributes:
        results: one for each tag.
    """

    results: Several[ImageTagResult] = ()
    summary: Maybe[DeletionSummary] = None
