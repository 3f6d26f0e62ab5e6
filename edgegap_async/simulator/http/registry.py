"""The operations on the container registry."""

from ... import endpoints
from ...models.registry import ImageTagsRequest
from ..world.errors import ApiError
from ..world.registry import Artifact
from .calls import Call, Entry, with_body, without_body
from .responses import Json, JsonResponse
from .rows import page_of

_DELETED = 204


def _artifact(artifact: Artifact) -> Json:
    return {
        "artifact_deleted": not artifact.tags,
        "remaining_tags": [*artifact.tags],
        "image_hash": artifact.image_hash,
        "size_mb": artifact.size_mb,
    }


def _list(call: Call) -> JsonResponse:
    world = call.world
    rows = [
        {
            "tag": name,
            "last_push_at": world.clock.text(each.pushed),
            "artifact": _artifact(each.artifact),
        }
        for name, each in world.registry.tags(call.path_params["image_name"]).items()
    ]
    # Neither a total nor the position of the page: the files have none.
    return JsonResponse(200, {"data": page_of(call.query, world.options, rows).rows})


def _delete(call: Call) -> JsonResponse:
    image, tag = call.path_params["image_name"], call.path_params["tag_name"]
    artifact = call.world.registry.delete(image, tag)
    shown = {"artifact": _artifact(artifact), "deleted_tag": tag}
    return JsonResponse(200, shown)


def _delete_several(call: Call, body: ImageTagsRequest) -> JsonResponse:
    image = call.path_params["image_name"]
    # Without the image, there is no result for each tag.
    call.world.registry.tags(image)
    results = [_result(call, image, tag) for tag in body.tags]
    deleted = sum(each["status"] == _DELETED for each in results)
    summary = {
        "total": len(results),
        "success": deleted,
        "failed": len(results) - deleted,
    }
    return JsonResponse(207, {"results": results, "summary": summary})


def _result(call: Call, image: str, tag: str) -> Json:
    try:
        call.world.registry.delete(image, tag)
    except ApiError as error:
        return {"tag": tag, "status": error.status, "message": error.message}
    return {"tag": tag, "status": _DELETED, "message": "Tag deleted"}


REGISTRY_HANDLERS: tuple[Entry, ...] = (
    without_body(endpoints.IMAGE_TAGS, _list),
    without_body(endpoints.DELETE_IMAGE_TAG, _delete),
    with_body(endpoints.DELETE_IMAGE_TAGS, _delete_several),
)
