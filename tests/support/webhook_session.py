"""Helpers of the tests of webhooks: a session with a receiver on loopback, and webhooks
made by hand.
"""

import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

from aiohttp import web

from edgegap_async import EdgegapSession, ReadyDeployment, WebhookReceiver
from edgegap_async.errors import EdgegapError, ReadyTimeout
from edgegap_async.simulator import Fault, Simulator
from edgegap_async.webhooks import WebhookEvent
from support.limiter_model import now
from support.owning import deploy, owning
from support.webhook_samples import path

# With these faults, only a webhook can resolve a waiter.
NO_POLLS = (Fault("status", "503-before"), Fault("list", "503-before"))
# Seconds that a webhook may take on loopback, in virtual time.
WAY = 0.1
ADDRESS = {
    "fqdn": "c065.example.com",
    "public_ip": "192.0.2.7",
    "ports": {
        "web": {"external": 31000, "internal": 7777, "protocol": "UDP", "name": "web"}
    },
}
# With these options, the simulator sends no webhook itself.
NEVER_READY = {"ready_after": (10_000.0, 10_000.0)}
STATES = {"ready": "READY", "error": "ERROR", "terminated": "TERMINATED"}
WithWebhooks: TypeAlias = tuple[EdgegapSession, Simulator, WebhookReceiver]


@asynccontextmanager
async def served(secret: str | None = None) -> AsyncIterator[WebhookReceiver]:
    """Serve the routes of a receiver on loopback, with aiohttp.web."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        receiver = WebhookReceiver(
            f"http://127.0.0.1:{bound.getsockname()[1]}/hooks", secret=secret
        )
        app = web.Application()
        app.add_routes(receiver.routes())
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.001)
        await runner.setup()
        try:
            await web.SockSite(runner, bound).start()
            yield receiver
        finally:
            await runner.cleanup()


@asynccontextmanager
async def hooked(
    *faults: Fault, options: dict[str, Any] | None = None, **session: Any
) -> AsyncIterator[WithWebhooks]:
    """Open a session with a webhook receiver, on a simulator.

    Args:
        faults: the faults of the simulator.
        options: further arguments of the simulator. By default, deployments are ready
            after three seconds.
        session: further arguments of the session.

    Yields:
        The session, the simulator and the receiver.
    """
    async with (
        served() as receiver,
        owning(
            faults,
            options={"ready_after": (3.0, 3.0), **(options or {})},
            webhooks=receiver,
            **session,
        ) as owned,
    ):
        yield *owned, receiver


def body(request_id: str, state: str = "READY", **more: object) -> bytes:
    """Return a status as the body of a webhook."""
    return json.dumps(
        {
            "request_id": request_id,
            "current_status": f"Status.{state}",
            **ADDRESS,
            **more,
        }
    ).encode()


async def send_webhook(
    receiver: WebhookReceiver,
    event: str,
    nonce: str,
    request_id: str,
    state: str | None = None,
    **more: object,
) -> WebhookEvent:
    """Pass a webhook made by hand to a receiver.

    Args:
        state: the state in its body. By default, that of the event.
        more: further fields of its body.
    """
    verified = await receiver.handle(
        path(receiver, event, nonce), body(request_id, state or STATES[event], **more)
    )
    assert verified is not None
    return verified


async def new_deployment(edgegap: EdgegapSession) -> tuple[str, str]:
    """Deploy, and return the nonce and the request_id."""
    accepted = await deploy(edgegap)
    assert accepted.once_tag
    return accepted.once_tag, accepted.request_id


async def current_outcome(
    edgegap: EdgegapSession, request_id: str
) -> ReadyDeployment | EdgegapError | None:
    """Return the outcome that a new waiter gets at once. None: there is none."""
    try:
        return await edgegap.deployments.wait_until_ready(request_id, timeout=0.05)
    except ReadyTimeout:
        return None
    except EdgegapError as error:
        return error


def late(sim: Simulator, request_id: str) -> float:
    """Return the seconds since a deployment became READY or failed."""
    resolved_at = sim.ready_or_failed_at(request_id)
    assert resolved_at is not None, "the outcome was reported before it was true"
    return now() - resolved_at


async def start(edgegap: EdgegapSession, **options: Any) -> ReadyDeployment:
    """Deploy, and wait until it is ready."""
    accepted = await deploy(edgegap, **options)
    return await edgegap.deployments.wait_until_ready(accepted.request_id)
