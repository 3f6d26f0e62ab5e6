"""The life of one deployment, which is stopped in any case."""

import asyncio
from datetime import UTC, datetime

from ..errors import (
    ApiError,
    DeploymentFailed,
    EdgegapError,
    ReadyTimeout,
    is_gone,
)
from ..models.deploy import User, Webhook
from ..models.deployment import DeploymentState
from ..models.paging import ListFilter, ListQuery
from ..session import EdgegapSession
from .findings import Diagnosis, Finding, finding

# Seconds between two looks at it.
LOOK_EVERY = 0.25
# Seconds after the deploy in which it must be listed: for so long, the SDK looks for a
# deploy whose answer was lost.
LISTED_WITHIN = 30.0
READY_WITHIN = 600.0
GONE_WITHIN = 120.0
TERMINATED = "terminated"


async def life(
    edgegap: EdgegapSession,
    application: str,
    version: str,
    *,
    user: User,
    webhook_url: str | None = None,
) -> Diagnosis:
    """Deploy a server, watch it until it is READY, stop it, and watch it until it is gone
    (POST /v2/deployments, GET /v1/status and /v1/deployments, DELETE /v1/stop). It is
    stopped however this ends.

    Args:
        user: the player to deploy it for.
        webhook_url: the URL that the API calls when it is READY, when it fails, and when
            it has ended. Look there whether it was called.

    Raises:
        EdgegapError: it could not be deployed or stopped.
    """
    hook = None if webhook_url is None else Webhook(webhook_url)
    accepted = await edgegap.deployments.deploy(
        application,
        version,
        users=[user],
        tags=["doctor"],
        webhook_on_ready=hook,
        webhook_on_error=hook,
        webhook_on_terminated=hook,
    )
    watch = _Watch(edgegap, accepted.request_id)
    watching = asyncio.ensure_future(watch.until_ready())
    failure = ""
    try:
        async with edgegap.deployments.adopt(
            accepted.request_id, ready_timeout=READY_WITHIN
        ):
            await watching
    except DeploymentFailed as error:
        failure = f"it failed: {error.detail or 'ERROR'}"
        watch.note(DeploymentState.ERROR.name)
    except ReadyTimeout:
        failure = f"it was not READY after {READY_WITHIN:g} s"
    finally:
        watching.cancel()
    gone, seconds = await watch.until_gone()
    findings = [*watch.findings(failure, gone, seconds)]
    if webhook_url is not None:
        findings.append(
            finding(
                "webhook",
                "Which webhooks were asked for?",
                "ready, error, terminated",
                note="look at the receiver for those that arrived",
            )
        )
    return Diagnosis(
        checked=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        target=edgegap.base_url,
        findings=tuple(findings),
    )


class _Watch:
    """Looks at one deployment, and notes what changes when."""

    def __init__(self, edgegap: EdgegapSession, request_id: str) -> None:
        self._edgegap, self._request_id = edgegap, request_id
        self._began = asyncio.get_running_loop().time()
        self._states: list[str] = []
        self._status_after: float | None = None
        self._listed_after: float | None = None
        self._ready_after: float | None = None

    def _elapsed(self) -> float:
        return round(asyncio.get_running_loop().time() - self._began, 2)

    async def until_ready(self) -> None:
        """Look until it is READY and listed, or for too long."""
        while self._elapsed() < READY_WITHIN:
            await self._look()
            if self._listed_after is None:
                await self._look_at_list()
            # 0.0 if it is listed at once.
            listed = self._listed_after is not None
            too_late = self._elapsed() >= LISTED_WITHIN
            if self._ready_after is not None and (listed or too_late):
                return
            await asyncio.sleep(LOOK_EVERY)

    def note(self, state: str) -> None:
        """It was seen in this state."""
        if state not in self._states:
            self._states.append(state)

    async def _look(self) -> DeploymentState | int:
        """Note its state. Return that, or the status of the error."""
        began = self._elapsed()
        try:
            status = await self._edgegap.deployments.status(self._request_id)
        except ApiError as error:
            return error.status if is_gone(error) else DeploymentState.UNKNOWN
        except EdgegapError:
            return DeploymentState.UNKNOWN
        if self._status_after is None:
            self._status_after = began
        self.note((status.current_status or "none").rpartition(".")[2])
        if status.state is DeploymentState.READY and self._ready_after is None:
            self._ready_after = self._elapsed()
        return status.state

    async def _look_at_list(self) -> None:
        wanted = [ListFilter("request_id", "eq", self._request_id)]
        try:
            page = await self._edgegap.deployments.list(ListQuery(filters=wanted))
        except EdgegapError:
            return
        if any(row.request_id == self._request_id for row in page.data):
            self._listed_after = self._elapsed()

    async def until_gone(self) -> tuple[str | None, float | None]:
        """Look until it is gone. Return what that looks like, and after how long."""
        began = self._elapsed()
        while (seconds := round(self._elapsed() - began, 2)) < GONE_WITHIN:
            found = await self._look()
            if isinstance(found, int):
                return str(found), seconds
            if found is DeploymentState.TERMINATED:
                return TERMINATED, seconds
            await asyncio.sleep(LOOK_EVERY)
        return None, None

    def findings(
        self, failure: str, gone: str | None, gone_after: float | None
    ) -> list[Finding]:
        """What was noted."""
        return [
            finding("request_id", "Which deployment was it?", self._request_id),
            _within(
                "status_after",
                "After how many seconds has a deployment a status?",
                self._status_after,
            ),
            _within(
                "listed_after",
                "After how many seconds is a deployment listed?",
                self._listed_after,
            ),
            finding(
                "ready_after",
                "After how many seconds is it READY?",
                self._ready_after,
                note=failure,
            ),
            finding("states", "Which states has it?", ", ".join(self._states)),
            finding(
                "gone",
                "What does its status look like after the stop?",
                gone,
                "404",
                "" if gone else f"it still existed after {GONE_WITHIN:g} s",
            ),
            finding("stop_takes", "After how many seconds was it gone?", gone_after),
        ]


def _within(name: str, question: str, found: float | None) -> Finding:
    """It differs if it took longer than the SDK waits."""
    return Finding(
        name=name,
        question=question,
        found=found,
        assumed=LISTED_WITHIN,
        differs=found is None or found > LISTED_WITHIN,
        note="assumed: at most",
    )
