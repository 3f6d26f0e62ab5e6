"""THE TABLE: the limits, then one row per operation. No path and no rate is written
anywhere else.

Client (URL, decoder, bucket), simulator (routes, body decoder, the same limit
enforced), README and tests read it. A new operation is a row here, its struct in
`models/`, its method in `resources/` and its handler in `simulator/`.
"""

from types import NoneType

from ._endpoint import Endpoint, Limit
from .models.deploy import DeploymentAccepted, DeployRequest, FleetDeployRequest
from .models.deployment import (
    BulkStopRequest,
    BulkStopResult,
    ContainerLogs,
    DeploymentPage,
    DeploymentStatus,
    StopResult,
)
from .models.fleet import FleetHosts
from .models.location import Locations
from .models.metrics import DeploymentMetrics
from .models.tag import DeploymentTag, DeploymentTags, TagRequest

DEPLOY_LIMIT = Limit("deploy", 40)
STATUS_LIMIT = Limit("status", 20)
LIST_LIMIT = Limit("list", 10)
# the API states none for these rows; 40/s is ours
OTHER_LIMIT = Limit("other", 40)

# fmt: off
DEPLOY = Endpoint("POST", "/v2/deployments", DeployRequest, DeploymentAccepted, DEPLOY_LIMIT, "deployments.deploy", starts_server=True)
STATUS = Endpoint("GET", "/v1/status/{request_id}", NoneType, DeploymentStatus, STATUS_LIMIT, "deployments.status")
STOP = Endpoint("DELETE", "/v1/stop/{request_id}", NoneType, StopResult, OTHER_LIMIT, "deployments.stop")
SELF_STOP = Endpoint("DELETE", "/v1/self/stop/{request_id}/{access_point_id}", NoneType, StopResult, OTHER_LIMIT, "deployments.self_stop")
BULK_STOP = Endpoint("POST", "/v1/deployments/bulk-stop", BulkStopRequest, BulkStopResult, OTHER_LIMIT, "deployments.bulk_stop")
LIST = Endpoint("GET", "/v1/deployments", NoneType, DeploymentPage, LIST_LIMIT, "deployments.list")
LOCATIONS = Endpoint("GET", "/v1/locations", NoneType, Locations, OTHER_LIMIT, "locations.list")
CONTAINER_LOGS = Endpoint("GET", "/v1/deployment/{request_id}/container-logs", NoneType, ContainerLogs, OTHER_LIMIT, "deployments.container_logs", lossy_text=True)
METRICS = Endpoint("GET", "/v1/metrics/deployment/{request_id}", NoneType, DeploymentMetrics, OTHER_LIMIT, "deployments.metrics")
# The same operation under the path that the official file has had since 2026-02-20.
FLEET_DEPLOY_RENAMED = Endpoint("POST", "/v2/private-fleets/deployments", FleetDeployRequest, DeploymentAccepted, DEPLOY_LIMIT, "private_fleets.deploy", starts_server=True)
FLEET_DEPLOY = Endpoint("POST", "/v2/private-fleets:deploy", FleetDeployRequest, DeploymentAccepted, DEPLOY_LIMIT, "private_fleets.deploy", starts_server=True, renamed=FLEET_DEPLOY_RENAMED)
FLEET_HOSTS = Endpoint("GET", "/v2/private-fleets/{fleet_name}/hosts", NoneType, FleetHosts, LIST_LIMIT, "private_fleets.hosts")
TAGS = Endpoint("GET", "/v1/deployments/{request_id}/tags", NoneType, DeploymentTags, OTHER_LIMIT, "tags.list")
TAG = Endpoint("GET", "/v1/deployments/{request_id}/tags/{tag_name}", NoneType, DeploymentTag, OTHER_LIMIT, "tags.get")
CREATE_TAG = Endpoint("POST", "/v1/deployments/{request_id}/tags", TagRequest, DeploymentTag, OTHER_LIMIT, "tags.create")
UPDATE_TAG = Endpoint("PATCH", "/v1/deployments/{request_id}/tags/{tag_name}", TagRequest, DeploymentTag, OTHER_LIMIT, "tags.update")
DELETE_TAG = Endpoint("DELETE", "/v1/deployments/{request_id}/tags/{tag_name}", NoneType, NoneType, OTHER_LIMIT, "tags.delete")
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
    CONTAINER_LOGS,
    METRICS,
    FLEET_DEPLOY,
    FLEET_DEPLOY_RENAMED,
    FLEET_HOSTS,
    TAGS,
    TAG,
    CREATE_TAG,
    UPDATE_TAG,
    DELETE_TAG,
)
