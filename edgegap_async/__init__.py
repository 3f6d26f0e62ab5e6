"""An asyncio SDK for Edgegap's dedicated-server API, for programs that start thousands of
game servers.

    async with EdgegapSession() as edgegap:
        accepted = await edgegap.deployments.deploy(
            "my-game", "1.0", users=["203.0.113.7"]
        )
        server = await edgegap.deployments.wait_until_ready(accepted.request_id)
        host, port = server.address("gameport")

Each name is imported when it is first used, so a program that needs only one of them
(the pytest fixture, a container's `stop_self`) does not load the others.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import container as container
    from . import errors as errors
    from . import events as events
    from . import probes as probes
    from . import simulator as simulator
    from . import webhooks as webhooks
    from ._deploys.batch import DeployOutcome, DeployStream
    from ._deploys.leases import OwnedDeployment
    from ._deploys.manager import Leftover
    from ._deploys.pending import OnIntent
    from ._limits.config import Limits, LimitUsage
    from ._limits.queue import Priority
    from ._transport.client import Timeout
    from ._transport.retry import Retry
    from ._version import __version__
    from ._waiters.stream import ReadyStream
    from .endpoints import LimitName
    from .errors import (
        AllocationFailed,
        ApiError,
        BadRequest,
        Conflict,
        DeadlineExceeded,
        DeploymentFailed,
        DeploymentTerminated,
        DeployOutcomeUnknown,
        EdgegapError,
        Forbidden,
        Gone,
        NotFound,
        QueueTooLong,
        RateLimited,
        ReadyTimeout,
        ResponseTooLarge,
        ServerError,
        SessionClosed,
        TransportError,
        Unauthorized,
        UnexpectedAnswer,
        WrongLoop,
    )
    from .events import Event, OnEvent
    from .models.deploy import (
        DeploymentAccepted,
        DeployRequest,
        EnvironmentVariable,
        GeoCoordinatesUser,
        IPAddressUser,
        Resources,
        Webhook,
    )
    from .models.deployment import (
        BulkStopFilter,
        DeploymentState,
        DeploymentStatus,
        DeploymentSummary,
        ReadyDeployment,
    )
    from .models.paging import ListFilter, ListQuery, OrderBy
    from .probes import Probe
    from .resources._options import DeployOptions
    from .session import EdgegapSession
    from .webhooks import WebhookEvent, WebhookReceiver

# Names whose module is imported without a search: the session, which imports most others,
# and webhooks, which most sessions don't have.
_DIRECT = {
    "EdgegapSession": "session",
    "WebhookEvent": "webhooks",
    "WebhookReceiver": "webhooks",
}
# Where the other names are looked up, the light modules first: none of them imports the
# HTTP client before `_limits`. A name is imported when it is first used.
_MODULES = (
    "_version",
    "errors",
    "endpoints",
    "events",
    "models.deploy",
    "models.deployment",
    "models.paging",
    "_limits.config",
    "_limits.queue",
    "_transport.retry",
    "_transport.client",
    "_waiters.stream",
    "_deploys.batch",
    "_deploys.leases",
    "_deploys.manager",
    "_deploys.pending",
    "resources._options",
    "probes",
)

# Public modules, as attributes. `import *` does not import them.
_SUBMODULES = ("container", "errors", "events", "probes", "simulator", "webhooks")

__all__ = [
    "AllocationFailed",
    "ApiError",
    "BadRequest",
    "BulkStopFilter",
    "Conflict",
    "DeadlineExceeded",
    "DeployOptions",
    "DeployOutcome",
    "DeployOutcomeUnknown",
    "DeployRequest",
    "DeployStream",
    "DeploymentAccepted",
    "DeploymentFailed",
    "DeploymentState",
    "DeploymentStatus",
    "DeploymentSummary",
    "DeploymentTerminated",
    "EdgegapError",
    "EdgegapSession",
    "EnvironmentVariable",
    "Event",
    "Forbidden",
    "GeoCoordinatesUser",
    "Gone",
    "IPAddressUser",
    "Leftover",
    "LimitName",
    "LimitUsage",
    "Limits",
    "ListFilter",
    "ListQuery",
    "NotFound",
    "OnEvent",
    "OnIntent",
    "OrderBy",
    "OwnedDeployment",
    "Priority",
    "Probe",
    "QueueTooLong",
    "RateLimited",
    "ReadyDeployment",
    "ReadyStream",
    "ReadyTimeout",
    "Resources",
    "ResponseTooLarge",
    "Retry",
    "ServerError",
    "SessionClosed",
    "Timeout",
    "TransportError",
    "Unauthorized",
    "UnexpectedAnswer",
    "Webhook",
    "WebhookEvent",
    "WebhookReceiver",
    "WrongLoop",
    "__version__",
]


def __getattr__(name: str) -> object:
    if name in _SUBMODULES:
        return import_module(f".{name}", __name__)
    if name in __all__:
        direct = _DIRECT.get(name)
        for module in (direct,) if direct else _MODULES:
            found = import_module(f".{module}", __name__)
            if name in vars(found):
                value: object = getattr(found, name)
                globals()[name] = value
                return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, *_SUBMODULES]
