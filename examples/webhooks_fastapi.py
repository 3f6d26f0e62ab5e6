"""Webhooks in a FastAPI application: who starts a match learns at once when its server
is ready.

    pip install edgegap-async fastapi uvicorn
    export EDGEGAP_API_TOKEN=... PUBLIC_URL=https://matchmaker.example.com
    python examples/webhooks_fastapi.py

    curl localhost:8000/matches --json '{"players": ["203.0.113.7"]}'

PUBLIC_URL is where Edgegap reaches this application. Where it runs in several
processes, give all of them the same WEBHOOK_SECRET, so that each verifies what was
meant for another. Nothing depends on a webhook: the session asks, too.
"""

import os
from ipaddress import IPv4Address, IPv6Address

from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel

from edgegap_async import EdgegapError, EdgegapSession, WebhookReceiver
from edgegap_async.integrations.asgi import EdgegapMiddleware


class Match(BaseModel):
    """The players of a match that is to be started."""

    players: list[IPv4Address | IPv6Address]


class Server(BaseModel):
    """Where they connect to."""

    request_id: str
    host: str
    port: int


app = FastAPI()


@app.post("/matches")
async def start_match(match: Match, request: Request) -> Server:
    """A server for the match. On every way out of the block but the last it is stopped."""
    edgegap: EdgegapSession = request.state.edgegap
    players = [str(address) for address in match.players]
    try:
        async with edgegap.deployments.running(
            "my-game", "1.0", users=players, ready_timeout=60
        ) as server:
            host, port = server.address(7777)
            server.keep()
    except EdgegapError as error:
        raise HTTPException(503, "no server could be started") from error
    return Server(request_id=server.request_id, host=host, port=port)


def application() -> EdgegapMiddleware:
    """One session and one receiver for the whole application. The webhooks are answered
    before it.
    """
    receiver = WebhookReceiver(
        f"{os.environ['PUBLIC_URL']}/webhooks", secret=os.environ.get("WEBHOOK_SECRET")
    )
    return EdgegapMiddleware(app, webhooks=receiver)


if __name__ == "__main__":
    import uvicorn

    # An access log would hold the signed paths. At SIGTERM, requests have a second to
    # end, and then the session has 8: `docker stop` kills after 10.
    uvicorn.run(application(), access_log=False, timeout_graceful_shutdown=1)
