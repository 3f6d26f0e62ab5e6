"""The table: the limits, then one row per operation. No path and no rate is written
anywhere else.

The client (URL, decoder, limiter), the simulator (routes, body decoder, the enforced
limit), the README and the tests read it. CONTRIBUTING.md lists all places that a new
operation needs.
"""

from types import NoneType
from typing import Generic, Literal, TypeAlias, TypeVar

from msgspec import Struct

from .models.app import Application, Applications, AppRequest, AppUpdate
from .models.deploy import DeploymentAccepted, DeployRequest, FleetDeployRequest
from .models.deployment import (
    BulkStopRequest,
    BulkStopResult,
    ContainerLogs,
    DeploymentPage,
    DeploymentStatus,
    ReportRequest,
    StopResult,
)
from .models.fleet import FleetHosts
from .models.location import Locations, PingBeacons
from .models.metrics import DeploymentMetrics
from .models.pull_profile import (
    PullProfile,
    PullProfileLink,
    PullProfilePage,
    PullProfileRequest,
    PullProfileUpdate,
)
from .models.registry import (
    ImageTagDeleted,
    ImageTags,
    ImageTagsDeleted,
    ImageTagsRequest,
)
from .models.relay import (
    AuthorizedUser,
    RelayAuthorization,
    RelayRevocation,
    RelaySession,
    RelaySessionRequest,
    RelaySessions,
)
from .models.storage import (
    EndpointStorage,
    EndpointStorages,
    StorageRequest,
    StorageUpdate,
)
from .models.tag import DeploymentTag, DeploymentTags, TagRequest
from .models.version import (
    AppVersion,
    AppVersionDeleted,
    AppVersionRequest,
    AppVersionResult,
    AppVersions,
    AppVersionUpdate,
)

LimitName: TypeAlias = Literal["deploy", "status", "list", "other"]
Method: TypeAlias = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]

# Both are invariant: with covariance, the type checkers would accept a wrong body.
B = TypeVar("B")
T = TypeVar("T")


MIB = 1024 * 1024
PROXY = "a proxy may have answered in the API's place"
FEWER_ROWS = "ask for fewer rows, with limit= or page_size="
LESS_TIME = "ask for a shorter time, or for longer steps="
STORED_LOGS = "keep the logs in an endpoint storage, and read them there"


class Limit(Struct, frozen=True):
    """A limit of the API.

    Attributes:
        rate: requests per second. None: no limit.
        burst: how many requests may be sent at once. None: the limiter decides.
    """

    name: LimitName
    rate: float | None
    burst: int | None = None


class Endpoint(Struct, Generic[B, T], frozen=True):
    """One operation of the API: a row of the table.

    Attributes:
        path: with parameters as `{name}`, the syntax of aiohttp's router.
        takes: the struct of the body. `NoneType`: there is no body.
        returns: the struct of the answer. `NoneType`: the answer has no body.
        call: the method of the session that calls the operation.
        starts_server: whether a request whose answer was lost may have started a server,
            which costs money.
        delete_token: whether its requests are authorized by the delete token of a
            deployment, in place of the API token.
        keeps_connections: whether a part of the connections is kept for its requests.
        max_bytes: the longest body that is read, decompressed.
        if_too_large: what to do if a body is longer.
        renamed: the same operation under another path, which the API may use instead.
    """

    method: Method
    path: str
    takes: type[B]
    returns: type[T]
    limit: Limit
    call: str
    starts_server: bool = False
    delete_token: bool = False
    keeps_connections: bool = False
    max_bytes: int = MIB
    if_too_large: str = PROXY
    renamed: "Endpoint[B, T] | None" = None

    @property
    def repeatable(self) -> bool:
        """Whether a request whose answer was lost may be sent again without running the
        operation twice.
        """
        return self.method in ("GET", "DELETE")

    def __str__(self) -> str:
        return f"{self.call} ({self.method} {self.path})"


DEPLOY_LIMIT = Limit("deploy", 40)
STATUS_LIMIT = Limit("status", 20)
LIST_LIMIT = Limit("list", 10)
# The API documents no limit for these operations. 40/s is our choice.
OTHER_LIMIT = Limit("other", 40)

# fmt: off
DEPLOY = Endpoint("POST", "/v2/deployments", DeployRequest, DeploymentAccepted, DEPLOY_LIMIT, "deployments.deploy", starts_server=True, keeps_connections=True)
STATUS = Endpoint("GET", "/v1/status/{request_id}", NoneType, DeploymentStatus, STATUS_LIMIT, "deployments.status")
STOP = Endpoint("DELETE", "/v1/stop/{request_id}", NoneType, StopResult, OTHER_LIMIT, "deployments.stop", keeps_connections=True)
SELF_STOP = Endpoint("DELETE", "/v1/self/stop/{request_id}/{access_point_id}", NoneType, StopResult, OTHER_LIMIT, "deployments.self_stop", delete_token=True, keeps_connections=True)
BULK_STOP = Endpoint("POST", "/v1/deployments/bulk-stop", BulkStopRequest, BulkStopResult, OTHER_LIMIT, "deployments.bulk_stop", keeps_connections=True)
LIST = Endpoint("GET", "/v1/deployments", NoneType, DeploymentPage, LIST_LIMIT, "deployments.list", max_bytes=2 * MIB, if_too_large=FEWER_ROWS)
LOCATIONS = Endpoint("GET", "/v1/locations", NoneType, Locations, OTHER_LIMIT, "locations.list", max_bytes=2 * MIB, if_too_large=FEWER_ROWS)
BEACONS = Endpoint("GET", "/v1/locations/beacons", NoneType, PingBeacons, OTHER_LIMIT, "locations.beacons", max_bytes=2 * MIB, if_too_large=FEWER_ROWS)
CONTAINER_LOGS = Endpoint("GET", "/v1/deployment/{request_id}/container-logs", NoneType, ContainerLogs, OTHER_LIMIT, "deployments.container_logs", max_bytes=64 * MIB, if_too_large=STORED_LOGS)
METRICS = Endpoint("GET", "/v1/metrics/deployment/{request_id}", NoneType, DeploymentMetrics, OTHER_LIMIT, "deployments.metrics", max_bytes=64 * MIB, if_too_large=LESS_TIME)
REPORT = Endpoint("POST", "/v1/deployments/{request_id}:report", ReportRequest, NoneType, OTHER_LIMIT, "deployments.report")
# The path of the fleet deploy in Edgegap's OpenAPI file since 2026-02-20.
FLEET_DEPLOY_RENAMED = Endpoint("POST", "/v2/private-fleets/deployments", FleetDeployRequest, DeploymentAccepted, DEPLOY_LIMIT, "private_fleets.deploy", starts_server=True, keeps_connections=True)
FLEET_DEPLOY = Endpoint("POST", "/v2/private-fleets:deploy", FleetDeployRequest, DeploymentAccepted, DEPLOY_LIMIT, "private_fleets.deploy", starts_server=True, keeps_connections=True, renamed=FLEET_DEPLOY_RENAMED)
FLEET_HOSTS = Endpoint("GET", "/v2/private-fleets/{fleet_name}/hosts", NoneType, FleetHosts, LIST_LIMIT, "private_fleets.hosts", max_bytes=2 * MIB, if_too_large=FEWER_ROWS)
TAGS = Endpoint("GET", "/v1/deployments/{request_id}/tags", NoneType, DeploymentTags, OTHER_LIMIT, "tags.list", max_bytes=2 * MIB, if_too_large=FEWER_ROWS)
TAG = Endpoint("GET", "/v1/deployments/{request_id}/tags/{tag_name}", NoneType, DeploymentTag, OTHER_LIMIT, "tags.get")
CREATE_TAG = Endpoint("POST", "/v1/deployments/{request_id}/tags", TagRequest, DeploymentTag, OTHER_LIMIT, "tags.create")
UPDATE_TAG = Endpoint("PATCH", "/v1/deployments/{request_id}/tags/{tag_name}", TagRequest, DeploymentTag, OTHER_LIMIT, "tags.update")
DELETE_TAG = Endpoint("DELETE", "/v1/deployments/{request_id}/tags/{tag_name}", NoneType, NoneType, OTHER_LIMIT, "tags.delete")
APPS = Endpoint("GET", "/v1/apps", NoneType, Applications, OTHER_LIMIT, "apps.list", max_bytes=64 * MIB, if_too_large=FEWER_ROWS)
APP = Endpoint("GET", "/v1/app/{app_name}", NoneType, Application, OTHER_LIMIT, "apps.get", max_bytes=8 * MIB)
CREATE_APP = Endpoint("POST", "/v1/app", AppRequest, Application, OTHER_LIMIT, "apps.create", max_bytes=8 * MIB)
UPDATE_APP = Endpoint("PATCH", "/v1/app/{app_name}", AppUpdate, Application, OTHER_LIMIT, "apps.update", max_bytes=8 * MIB)
DELETE_APP = Endpoint("DELETE", "/v1/app/{app_name}", NoneType, NoneType, OTHER_LIMIT, "apps.delete")
VERSIONS = Endpoint("GET", "/v1/app/{app_name}/versions", NoneType, AppVersions, OTHER_LIMIT, "versions.list", max_bytes=16 * MIB, if_too_large=FEWER_ROWS)
VERSION = Endpoint("GET", "/v1/app/{app_name}/version/{version_name}", NoneType, AppVersion, OTHER_LIMIT, "versions.get")
CREATE_VERSION = Endpoint("POST", "/v1/app/{app_name}/version", AppVersionRequest, AppVersionResult, OTHER_LIMIT, "versions.create")
UPDATE_VERSION = Endpoint("PATCH", "/v1/app/{app_name}/version/{version_name}", AppVersionUpdate, AppVersionResult, OTHER_LIMIT, "versions.update")
DELETE_VERSION = Endpoint("DELETE", "/v1/app/{app_name}/version/{version_name}", NoneType, AppVersionDeleted, OTHER_LIMIT, "versions.delete")
CREATE_RELAY = Endpoint("POST", "/v1/relays/sessions", RelaySessionRequest, RelaySession, OTHER_LIMIT, "relays.create")
RELAYS = Endpoint("GET", "/v1/relays/sessions", NoneType, RelaySessions, OTHER_LIMIT, "relays.list", max_bytes=2 * MIB, if_too_large=FEWER_ROWS)
RELAY = Endpoint("GET", "/v1/relays/sessions/{session_id}", NoneType, RelaySession, OTHER_LIMIT, "relays.get")
DELETE_RELAY = Endpoint("DELETE", "/v1/relays/sessions/{session_id}", NoneType, NoneType, OTHER_LIMIT, "relays.delete")
AUTHORIZE_RELAY_USER = Endpoint("POST", "/v1/relays/sessions:authorize-user", RelayAuthorization, AuthorizedUser, OTHER_LIMIT, "relays.authorize_user")
REVOKE_RELAY_USER = Endpoint("POST", "/v1/relays/sessions:revoke-user", RelayRevocation, NoneType, OTHER_LIMIT, "relays.revoke_user")
STORAGES = Endpoint("GET", "/v1/storage/endpoints", NoneType, EndpointStorages, OTHER_LIMIT, "storage.list", max_bytes=2 * MIB, if_too_large=FEWER_ROWS)
STORAGE = Endpoint("GET", "/v1/storage/endpoint/{endpoint_name}", NoneType, EndpointStorage, OTHER_LIMIT, "storage.get")
CREATE_STORAGE = Endpoint("POST", "/v1/storage/endpoint", StorageRequest, EndpointStorage, OTHER_LIMIT, "storage.create")
UPDATE_STORAGE = Endpoint("PATCH", "/v1/storage/endpoint/{endpoint_name}", StorageUpdate, EndpointStorage, OTHER_LIMIT, "storage.update")
DELETE_STORAGE = Endpoint("DELETE", "/v1/storage/endpoint/{endpoint_name}", NoneType, NoneType, OTHER_LIMIT, "storage.delete")
IMAGE_TAGS = Endpoint("GET", "/v1/container-registry/images/{image_name}/tags", NoneType, ImageTags, OTHER_LIMIT, "registry.tags", max_bytes=2 * MIB, if_too_large=FEWER_ROWS)
DELETE_IMAGE_TAG = Endpoint("DELETE", "/v1/container-registry/images/{image_name}/tags/{tag_name}", NoneType, ImageTagDeleted, OTHER_LIMIT, "registry.delete_tag")
DELETE_IMAGE_TAGS = Endpoint("POST", "/v1/container-registry/images/{image_name}/tags/bulk-delete", ImageTagsRequest, ImageTagsDeleted, OTHER_LIMIT, "registry.delete_tags")
PULL_PROFILES = Endpoint("GET", "/v1/storage/endpoint/{endpoint_name}/pull-profiles", NoneType, PullProfilePage, OTHER_LIMIT, "pull_profiles.list", max_bytes=2 * MIB, if_too_large=FEWER_ROWS)
PULL_PROFILE = Endpoint("GET", "/v1/storage/endpoint/{endpoint_name}/pull-profile/{pull_profile_name}", NoneType, PullProfile, OTHER_LIMIT, "pull_profiles.get")
CREATE_PULL_PROFILE = Endpoint("POST", "/v1/storage/endpoint/{endpoint_name}/pull-profile", PullProfileRequest, PullProfile, OTHER_LIMIT, "pull_profiles.create")
UPDATE_PULL_PROFILE = Endpoint("PATCH", "/v1/storage/endpoint/{endpoint_name}/pull-profile/{pull_profile_name}", PullProfileUpdate, PullProfile, OTHER_LIMIT, "pull_profiles.update")
DELETE_PULL_PROFILE = Endpoint("DELETE", "/v1/storage/endpoint/{endpoint_name}/pull-profile/{pull_profile_name}", NoneType, NoneType, OTHER_LIMIT, "pull_profiles.delete")
LINK_PULL_PROFILE = Endpoint("PUT", "/v1/storage/endpoint/{endpoint_name}/pull-profile/{pull_profile_name}/app/{app_name}/version/{version_name}", NoneType, PullProfileLink, OTHER_LIMIT, "pull_profiles.link")
UNLINK_PULL_PROFILE = Endpoint("DELETE", "/v1/storage/endpoint/{endpoint_name}/pull-profile/{pull_profile_name}/app/{app_name}/version/{version_name}", NoneType, NoneType, OTHER_LIMIT, "pull_profiles.unlink")
# fmt: on

LIMITS = (DEPLOY_LIMIT, STATUS_LIMIT, LIST_LIMIT, OTHER_LIMIT)
OPERATIONS = (
    DEPLOY,
    STATUS,
    STOP,
    SELF_STOP,
    BULK_STOP,
    LIST,
    LOCATIONS,
    BEACONS,
    CONTAINER_LOGS,
    METRICS,
    REPORT,
    FLEET_DEPLOY,
    FLEET_DEPLOY_RENAMED,
    FLEET_HOSTS,
    TAGS,
    TAG,
    CREATE_TAG,
    UPDATE_TAG,
    DELETE_TAG,
    APPS,
    APP,
    CREATE_APP,
    UPDATE_APP,
    DELETE_APP,
    VERSIONS,
    VERSION,
    CREATE_VERSION,
    UPDATE_VERSION,
    DELETE_VERSION,
    CREATE_RELAY,
    RELAYS,
    RELAY,
    DELETE_RELAY,
    AUTHORIZE_RELAY_USER,
    REVOKE_RELAY_USER,
    STORAGES,
    STORAGE,
    CREATE_STORAGE,
    UPDATE_STORAGE,
    DELETE_STORAGE,
    IMAGE_TAGS,
    DELETE_IMAGE_TAG,
    DELETE_IMAGE_TAGS,
    PULL_PROFILES,
    PULL_PROFILE,
    CREATE_PULL_PROFILE,
    UPDATE_PULL_PROFILE,
    DELETE_PULL_PROFILE,
    LINK_PULL_PROFILE,
    UNLINK_PULL_PROFILE,
)
