"""The part of `session.deployments` that waits: for servers to be ready, or gone."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from .._request import path_word
from .._settled import Outcomes
from ..models._check import fail, flag, instance, optional_seconds, sequence, text
from ..models.deployment import ReadyDeployment
from ..ownership import Ownership
from ..probes import Probe

# most sessions have no webhooks
if TYPE_CHECKING:
    from ..webhooks import WebhookEvent

# seconds: an image that is not cached takes minutes
READY_TIMEOUT = 300.0
# seconds: before READY, a stop waits until that is reached
STOP_TIMEOUT = 300.0


class AwaitedDeployments:
    """Waiting. All who wait share a few requests a second, in the background lane."""

    def __init__(self, ownership: Ownership) -> None:
        self._ownership = ownership

    async def wait_until_ready(
        self,
        request_id: str,
        *,
        timeout: float | None = READY_TIMEOUT,
        stop_on_failure: bool = False,
        probe: Probe | None = None,
    ) -> ReadyDeployment:
        """Wait until players can connect: its ports are open (lists of GET
        /v1/deployments, GET /v1/status).

        Args:
            timeout: seconds, those of the probe included; None waits as long as it
                takes.
            stop_on_failure: stop the server if it failed, was not ready in time, or if
                its probe raised; the session sees to it.
            probe: an async callable that is given the `ReadyDeployment` and returns
                when the game answers, which the API does not know:
                `probes.tcp("gameport")`, or your own. What it raises is raised here.

        Raises:
            ReadyTimeout: it was not ready in time, and still exists, unless
                `stop_on_failure`.
            DeploymentFailed: it ended in ERROR, and exists until it is stopped.
            DeploymentTerminated: it is gone.
        """
        if probe is not None and not callable(probe):
            fail("probe", "must be an async callable that takes a ReadyDeployment")
        _checked(request_id, timeout)
        return await self._ownership.leases.until_ready(
            request_id,
            timeout,
            probe,
            stop_on_failure=flag("stop_on_failure", stop_on_failure),
        )

    def wait_many(
        self, request_ids: Sequence[str], *, timeout: float | None = READY_TIMEOUT
    ) -> AbstractAsyncContextManager[Outcomes]:
        """Wait for many, and be told of each as it settles.

            async with edgegap.deployments.wait_many(request_ids) as outcomes:
                async for request_id, outcome in outcomes:
                    ...  # a ReadyDeployment, or the error that `wait_until_ready` would
                    raise

        Several tasks may take from it. Leaving the block early waits for no more of
        them; nothing is stopped.

        Args:
            request_ids: each is told once, however often it is named.
            timeout: seconds for all of them; None waits as long as it takes.
        """
        wanted = [
            text("request_ids: each", request_id)
            for request_id in sequence("request_ids", request_ids)
        ]
        for request_id in wanted:
            path_word("request_ids: each", request_id)
        return self._ownership.watcher.many(
            wanted, optional_seconds("timeout", timeout)
        )

    async def wait_until_stopped(
        self, request_id: str, *, timeout: float | None = STOP_TIMEOUT
    ) -> None:
        """Wait until a deployment is gone (GET /v1/status/{request_id}). It stops
        nothing.

        Args:
            timeout: seconds; None waits as long as it takes. A stop before READY is
                carried out once that is reached.

        Raises:
            DeadlineExceeded: it is not gone in time.
        """
        _checked(request_id, timeout)
        await self._ownership.watcher.until_stopped(request_id, timeout)

    def notify(self, event: "WebhookEvent") -> None:
        """Pass on a webhook that another process has received and verified: where
        several of them serve one URL, only one gets it. It counts as one that this
        process has received; one of another process's deploys changes nothing.

        Raises:
            SessionClosed, WrongLoop: nobody can be told here. Call it where the session
                is used, in no other thread.
        """
        from ..webhooks import WebhookEvent

        self._ownership.router.notify(instance("event", event, WebhookEvent))


def _checked(request_id: str, timeout: float | None) -> None:
    path_word("request_id", request_id)
    optional_seconds("timeout", timeout)
