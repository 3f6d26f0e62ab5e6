"""Calls of the reference page's samples against a simulator."""

import asyncio
import json
from typing import Any

from edgegap_async.simulator import Simulator
from support.plain_client import Plain
from support.reference import BY_KEY, Operation

# With all that a version can have.
STORAGE = BY_KEY["POST /v1/storage/endpoint"].body | {"name": "old-logs"}
PULL_PROFILE = BY_KEY["POST /v1/storage/endpoint/{endpoint_name}/pull-profile"].body
VERSION_LINK = "/pull-profile/{pull_profile_name}/app/{app_name}/version/{version_name}"
RELAY = BY_KEY["POST /v1/relays/sessions"].body
VERSION = BY_KEY["POST /v1/app/{app_name}/version"].body | {"name": "v1"}


async def call_sample(
    sim: Simulator,
    api: Plain,
    operation: Operation,
    request_id: str,
    *,
    path: str | None = None,
) -> tuple[int, Any]:
    """Send the sample of an operation for a deployment with the tag `old`, and return
    status and body of the answer. What else it needs is created first.

    Args:
        path: Another path of the operation than the page has.
    """
    environment = sim.environment(request_id)
    if "/self/" in operation.path:
        api.http.headers["Authorization"] = environment["ARBITRIUM_DELETE_TOKEN"]
    if "/app" in operation.path:
        app = {"name": "my-app", "image": "", "is_active": True}
        await api("POST", "/v1/app", app)
    if "/version" in operation.path:
        await api("POST", "/v1/app/my-app/version", VERSION)
    if "/storage" in operation.path:
        await api("POST", "/v1/storage/endpoint", STORAGE)
    if "/pull-profile" in operation.path:
        profiles = "/v1/storage/endpoint/old-logs/pull-profile"
        await api("POST", profiles, PULL_PROFILE | {"name": "old-configs"})
    if operation.method == "DELETE" and operation.path.endswith(VERSION_LINK):
        await api("PUT", f"{profiles}/old-configs/app/my-app/version/v1")
    if "/container-registry" in operation.path:
        sim.push_image("studio/arena", "old", "1.0.0")
    session_id = ""
    if "/relays" in operation.path:
        _, made = await api("POST", "/v1/relays/sessions", RELAY)
        session_id = made["session_id"]
        await asyncio.sleep(2)
    filled = operation.path_with(
        request_id=request_id,
        tag_name="old",
        fleet_name="f",
        app_name="my-app",
        version_name="v1",
        session_id=session_id,
        endpoint_name="old-logs",
        pull_profile_name="old-configs",
        image_name="studio%2Farena",
        access_point_id=environment["ARBITRIUM_DELETE_URL"].rpartition("/")[2],
    )
    # The body on the page, except for the ID in it.
    text = json.dumps(operation.body).replace("c0653765de3b", request_id)
    body = json.loads(text.replace("7349356945f1-S", session_id))
    if operation.path.endswith(":revoke-user"):
        body["authorization_token"] = made["session_users"][0]["authorization_token"]
    return await api(operation.method, path or filled, body, tags="true")
