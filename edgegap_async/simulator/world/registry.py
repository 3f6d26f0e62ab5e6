"""The images of the container registry. They hold nothing but their tags."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from ...models._check import fail, label, number, sequence
from .errors import ApiError

LARGEST_SIZE_MB = 1e9
# Of a build, unless it is given.
USUAL_SIZE_MB = 512.0


@dataclass(slots=True)
class Artifact:
    """A build, and the tags that name it. Without any, it is deleted."""

    image_hash: str
    size_mb: float
    tags: list[str]


@dataclass(frozen=True, slots=True)
class PushedTag:
    """A tag: what it names, and since when."""

    artifact: Artifact
    pushed: float


class Registry:
    """All images, and their tags in the order of their last push."""

    def __init__(self, seed: int) -> None:
        self._images: dict[str, dict[str, PushedTag]] = {}
        self._seed, self._pushes = seed, 0

    def push(
        self, image: str, tags: Sequence[str], size_mb: float, now: float
    ) -> Artifact:
        """Push a new build under some tags, and return it. Tags that exist name it from
        now on.

        Raises:
            ValueError: An argument is wrong.
        """
        image = label("image", image)
        names = [label("tags: each", each) for each in sequence("tags", tags)]
        if not names:
            fail("tags", "must hold at least one tag")
        size = number("size_mb", size_mb, 0, LARGEST_SIZE_MB)
        self._pushes += 1
        digest = sha256(f"push {self._pushes} of {self._seed}".encode()).hexdigest()
        artifact = Artifact(f"sha256:{digest}", size, [])
        pushed = self._images.setdefault(image, {})
        for each in names:
            if each in pushed:
                self.delete(image, each)
            pushed[each] = PushedTag(artifact, now)
            artifact.tags.append(each)
        return artifact

    def tags(self, image: str) -> Mapping[str, PushedTag]:
        """Return the tags of an image.

        Raises:
            ApiError: There is no such image.
        """
        return self._tags_of(image)

    def delete(self, image: str, tag: str) -> Artifact:
        """Delete a tag, and return the build that it named.

        Raises:
            ApiError: There is no such image or tag.
        """
        tags = self._tags_of(image)
        if tag not in tags:
            raise ApiError(404, f"Tag {tag} of image {image} not found")
        artifact = tags.pop(tag).artifact
        artifact.tags.remove(tag)
        return artifact

    def _tags_of(self, image: str) -> dict[str, PushedTag]:
        if image not in self._images:
            raise ApiError(404, f"Image {image} not found")
        return self._images[image]
