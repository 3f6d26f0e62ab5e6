"""An asyncio SDK for Edgegap's dedicated-server API, for those who start thousands of
game servers.

    async with EdgegapSession() as edgegap:
        accepted = await edgegap.deployments.deploy("my-game", "1.0",
        users=["203.0.113.7"]) server = await
        edgegap.deployments.wait_until_ready(accepted.request_id) host, port =
        server.address("gameport")

Each name is imported when it is first used, so that what needs only one of them (the
pytest fixture, a container's `stop_self`) does not pay for all.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._deploys.batch import DeployOutcome
    from ._deploys.leases import OwnedDeployment
    from ._limits.config import Limits, LimitUsage
    from ._transport.retry import Retry
    from ._version import __version__
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
        ServerError,
        SessionClosed,
        TransportError,
        Unauthorized,
        UnexpectedAnswer,
        WrongLoop,
    )
    from .events import Event
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
    from .session import EdgegapSession
    from .webhooks import WebhookReceiver

_HOMES = {
    "_deploys.batch": ("DeployOutcome",),
    "_deploys.leases": ("OwnedDeployment",),
    "_limits.config": ("LimitUsage", "Limits"),
    "_transport.retry": ("Retry",),
    "_version": ("__version__",),
    "errors": (
        "AllocationFailed",
        "ApiError",
        "BadRequest",
        "Conflict",
        "DeadlineExceeded",
        "DeployOutcomeUnknown",
        "DeploymentFailed",
        "DeploymentTerminated",
        "EdgegapError",
        "Forbidden",
        "Gone",
        "NotFound",
        "QueueTooLong",
        "RateLimited",
        "ReadyTimeout",
        "ServerError",
        "SessionClosed",
        "TransportError",
        "Unauthorized",
        "UnexpectedAnswer",
        "WrongLoop",
    ),
    "events": ("Event",),
    "models.deploy": (
        "DeployRequest",
        "DeploymentAccepted",
        "EnvironmentVariable",
        "GeoCoordinatesUser",
        "IPAddressUser",
        "Resources",
        "Webhook",
    ),
    "models.deployment": (
        "BulkStopFilter",
        "DeploymentState",
        "DeploymentStatus",
        "DeploymentSummary",
        "ReadyDeployment",
    ),
    "models.paging": ("ListFilter", "ListQuery", "OrderBy"),
    "session": ("EdgegapSession",),
    "webhooks": ("WebhookReceiver",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "AllocationFailed",
    "ApiError",
    "BadRequest",
    "BulkStopFilter",
    "Conflict",
    "DeadlineExceeded",
    "DeployOutcome",
    "DeployOutcomeUnknown",
    "DeployRequest",
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
    "LimitUsage",
    "Limits",
    "ListFilter",
    "ListQuery",
    "NotFound",
    "OrderBy",
    "OwnedDeployment",
    "QueueTooLong",
    "RateLimited",
    "ReadyDeployment",
    "ReadyTimeout",
    "Resources",
    "Retry",
    "ServerError",
    "SessionClosed",
    "TransportError",
    "Unauthorized",
    "UnexpectedAnswer",
    "Webhook",
    "WebhookReceiver",
    "WrongLoop",
    "__version__",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
