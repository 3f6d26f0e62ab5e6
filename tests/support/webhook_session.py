"""A session whose webhooks come over a socket, from the simulator or made by hand: what
their tests share.
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

# so that only a webhook can tell
DARK = (Fault("status", "503-before"), Fault("list", "503-before"))
# seconds that a webhook may take on loopback, in virtual time
WAY = 0.1
ADDRESS = {
    "fqdn": "c065.example.com",
    "public_ip": "192.0.2.7",
    "ports": {
        "web": {"external": 31000, "internal": 7777, "protocol": "UDP", "name": "web"}
    },
}
# so that what is told was made by hand
NEVER = {"ready_after": (10_000.0, 10_000.0)}
STATES = {"ready": "READY", "error": "ERROR", "terminated": "TERMINATED"}
Hooked: TypeAlias = tuple[EdgegapSession, Simulator, WebhookReceiver]


@asynccontextmanager
async def served(secret: str | None = None) -> AsyncIterator[WebhookReceiver]:
    """A receiver whose routes are served on loopback, by aiohttp.web."""
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
) -> AsyncIterator[Hooked]:
    """A session, its simulator, on which these faults strike, and its receiver. Servers
    are ready after three seconds, unless the simulator's `options` say otherwise.
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
    """A status as a webhook brings it."""
    return json.dumps(
        {
            "request_id": request_id,
            "current_status": f"Status.{state}",
            **ADDRESS,
            **more,
        }
    ).encode()


async def come(
    receiver: WebhookReceiver,
    event: str,
    nonce: str,
    request_id: str,
    state: str | None = None,
    **more: object,
) -> WebhookEvent:
    """A webhook comes in, made by hand. `state` is its body's, that of its event unless
    told.
    """
    told = await receiver.handle(
        path(receiver, event, nonce), body(request_id, state or STATES[event], **more)
    )
    assert told is not None
    return told


async def deployed(edgegap: EdgegapSession) -> tuple[str, str]:
    """The nonce and the request_id of a new deployment."""
    accepted = await deploy(edgegap)
    assert accepted.once_tag
    return accepted.once_tag, accepted.request_id


async def told(
    edgegap: EdgegapSession, request_id: str
) -> ReadyDeployment | EdgegapError | None:
    """What somebody is told who waits for it now, at once; None: nothing."""
    try:
        return await edgegap.deployments.wait_until_ready(request_id, timeout=0.05)
    except ReadyTimeout:
        return None
    except EdgegapError as error:
        return error


def late(sim: Simulator, request_id: str) -> float:
    """Seconds since a deployment settled."""
    settled = sim.ready_or_failed_at(request_id)
    assert settled is not None, "it was told before it was true"
    return now() - settled


async def start(edgegap: EdgegapSession, **options: Any) -> ReadyDeployment:
    """Deploy, and wait until it is ready."""
    accepted = await deploy(edgegap, **options)
    return await edgegap.deployments.wait_until_ready(accepted.request_id)
