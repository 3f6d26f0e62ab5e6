"""An asyncio SDK for Edgegap's dedicated-server API, for programs that start thousands of
game servers.

    async def main() -> None:
        async with EdgegapSession() as edgegap:
            accepted = await edgegap.deployments.deploy(
                "my-game", "1.0", users=["203.0.113.7"]
            )
            server = await edgegap.deployments.wait_until_ready(accepted.request_id)
            host, port = server.address("gameport")

    edgegap_async.run(main())

Each name is imported when it is first used, so a program that needs only one of them
(the pytest fixture, a container's `stop_self`) does not load the others.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import container as container
    from . import doctor as doctor
    from . import errors as errors
    from . import events as events
    from . import load as load
    from . import probes as probes
    from . import simulator as simulator
    from . import webhooks as webhooks
    from ._deploys.batch import DeployOutcome, DeployStream
    from ._deploys.leases import OwnedDeployment
    from ._deploys.leftovers import Leftover
    from ._deploys.pending import OnIntent
    from ._deploys.pool import Pool
    from ._limits.config import Limits, LimitUsage
    from ._limits.queue import Priority
    from ._run import run
    from ._shared.config import SharedState
    from ._transport.options import CallOptions, Timeout
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
        Incomplete,
        InvalidRequest,
        JournalUnavailable,
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
    from .models.app import Application
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
        EndReason,
        ReadyDeployment,
    )
    from .models.paging import ListFilter, ListQuery, OrderBy
    from .models.pull_profile import PullProfile, PullProfileLink
    from .models.registry import ImageTag, ImageTagDeleted, ImageTagsDeleted
    from .models.relay import AuthorizedUser, RelaySession, RelayUser
    from .models.storage import EndpointStorage
    from .models.version import AppVersion, PortSpec
    from .probes import Probe
    from .resources._options import DeployOptions
    from .session import EdgegapSession
    from .webhooks import WebhookEvent, WebhookReceiver

# The module of each name, which is imported when the name is first used. A name that is
# its own module is a public module, which `import *` does not import.
_MODULES = {
    "AllocationFailed": "errors",
    "ApiError": "errors",
    "AppVersion": "models.version",
    "Application": "models.app",
    "AuthorizedUser": "models.relay",
    "RelaySession": "models.relay",
    "RelayUser": "models.relay",
    "BadRequest": "errors",
    "BulkStopFilter": "models.deployment",
    "Conflict": "errors",
    "DeadlineExceeded": "errors",
    "CallOptions": "_transport.options",
    "DeployOptions": "resources._options",
    "DeployOutcome": "_deploys.batch",
    "DeployOutcomeUnknown": "errors",
    "DeployRequest": "models.deploy",
    "DeployStream": "_deploys.batch",
    "DeploymentAccepted": "models.deploy",
    "DeploymentFailed": "errors",
    "DeploymentState": "models.deployment",
    "DeploymentStatus": "models.deployment",
    "DeploymentSummary": "models.deployment",
    "DeploymentTerminated": "errors",
    "EndpointStorage": "models.storage",
    "EndReason": "models.deployment",
    "EdgegapError": "errors",
    "EdgegapSession": "session",
    "EnvironmentVariable": "models.deploy",
    "Event": "events",
    "Forbidden": "errors",
    "GeoCoordinatesUser": "models.deploy",
    "Gone": "errors",
    "Incomplete": "errors",
    "InvalidRequest": "errors",
    "IPAddressUser": "models.deploy",
    "ImageTag": "models.registry",
    "ImageTagDeleted": "models.registry",
    "ImageTagsDeleted": "models.registry",
    "Leftover": "_deploys.leftovers",
    "JournalUnavailable": "errors",
    "LimitName": "endpoints",
    "LimitUsage": "_limits.config",
    "Limits": "_limits.config",
    "ListFilter": "models.paging",
    "ListQuery": "models.paging",
    "NotFound": "errors",
    "OnEvent": "events",
    "OnIntent": "_deploys.pending",
    "OrderBy": "models.paging",
    "OwnedDeployment": "_deploys.leases",
    "Pool": "_deploys.pool",
    "PortSpec": "models.version",
    "Priority": "_limits.queue",
    "Probe": "probes",
    "PullProfile": "models.pull_profile",
    "PullProfileLink": "models.pull_profile",
    "QueueTooLong": "errors",
    "RateLimited": "errors",
    "ReadyDeployment": "models.deployment",
    "ReadyStream": "_waiters.stream",
    "ReadyTimeout": "errors",
    "Resources": "models.deploy",
    "ResponseTooLarge": "errors",
    "Retry": "_transport.retry",
    "ServerError": "errors",
    "SessionClosed": "errors",
    "SharedState": "_shared.config",
    "Timeout": "_transport.options",
    "TransportError": "errors",
    "Unauthorized": "errors",
    "UnexpectedAnswer": "errors",
    "Webhook": "models.deploy",
    "WebhookEvent": "webhooks",
    "WebhookReceiver": "webhooks",
    "WrongLoop": "errors",
    "__version__": "_version",
    "container": "container",
    "doctor": "doctor",
    "errors": "errors",
    "events": "events",
    "load": "load",
    "probes": "probes",
    "run": "_run",
    "simulator": "simulator",
    "webhooks": "webhooks",
}

__all__ = [
    "AllocationFailed",
    "ApiError",
    "AppVersion",
    "Application",
    "AuthorizedUser",
    "BadRequest",
    "BulkStopFilter",
    "CallOptions",
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
    "EndReason",
    "EndpointStorage",
    "EnvironmentVariable",
    "Event",
    "Forbidden",
    "GeoCoordinatesUser",
    "Gone",
    "IPAddressUser",
    "ImageTag",
    "ImageTagDeleted",
    "ImageTagsDeleted",
    "Incomplete",
    "InvalidRequest",
    "JournalUnavailable",
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
    "Pool",
    "PortSpec",
    "Priority",
    "Probe",
    "PullProfile",
    "PullProfileLink",
    "QueueTooLong",
    "RateLimited",
    "ReadyDeployment",
    "ReadyStream",
    "ReadyTimeout",
    "RelaySession",
    "RelayUser",
    "Resources",
    "ResponseTooLarge",
    "Retry",
    "ServerError",
    "SessionClosed",
    "SharedState",
    "Timeout",
    "TransportError",
    "Unauthorized",
    "UnexpectedAnswer",
    "Webhook",
    "WebhookEvent",
    "WebhookReceiver",
    "WrongLoop",
    "__version__",
    "run",
]


def __getattr__(name: str) -> object:
    path = _MODULES.get(name)
    if path is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f".{path}", __name__)
    value: object = module if path == name else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(_MODULES)
