"""The operations on relay sessions. The webhook of a session is not sent."""

from ... import endpoints
from ...models.relay import RelayAuthorization, RelayRevocation, RelaySessionRequest
from ..world.relays import RelaySession
from .calls import Call, Entry, with_body, without_body
from .responses import Json, JsonResponse
from .rows import paged

# The ports of a relay, for the player who hosts the game and for the others.
_SERVER_PORT, _CLIENT_PORT = 32000, 32001
# Where all players are: the simulator knows no places of addresses.
_LATITUDE, _LONGITUDE = 45.5088, -73.5878


def _user(address: str, token: int) -> Json:
    return {
        "ip_address": address,
        "latitude": _LATITUDE,
        "longitude": _LONGITUDE,
        "authorization_token": token,
    }


def _relay(it: RelaySession) -> Json:
    host = f"{it.session_id.lower()}.simulator.edgegap.invalid"
    high, low = divmod(it.number % 2**16, 2**8)
    return {
        # In the range that is reserved for benchmarks.
        "ip": f"198.19.{high}.{low}",
        "host": host,
        "ports": {
            name: {"port": port, "protocol": "UDP", "link": f"{host}:{port}"}
            for name, port in (("server", _SERVER_PORT), ("client", _CLIENT_PORT))
        },
    }


def _common(it: RelaySession, now: float) -> dict[str, object]:
    ready = it.is_ready(now)
    shown: dict[str, object] = {
        "session_id": it.session_id,
        "authorization_token": it.token,
        "status": "READY" if ready else "INITIALIZING",
        "ready": ready,
        "linked": it.is_linked(now),
    }
    if it.is_linked(now):
        shown["relay"] = _relay(it)
    if it.webhook_url:
        shown["webhook_url"] = it.webhook_url
    return shown


def _session(it: RelaySession, now: float) -> Json:
    users = [_user(*each) for each in it.users.items()]
    return {**_common(it, now), "session_users": users}


def _list(call: Call) -> JsonResponse:
    rows = [_session(each, call.now) for each in call.world.relays.all()]
    return JsonResponse(200, paged(call.query, call.world.options, "sessions", rows))


def _create(call: Call, body: RelaySessionRequest) -> JsonResponse:
    return JsonResponse(
        200, _session(call.world.relays.create(body, call.now), call.now)
    )


def _get(call: Call) -> JsonResponse:
    found = call.world.relays.get(call.path_params["session_id"])
    return JsonResponse(200, _session(found, call.now))


def _delete(call: Call) -> JsonResponse:
    call.world.relays.delete(call.path_params["session_id"])
    return JsonResponse(204)


def _authorize(call: Call, body: RelayAuthorization) -> JsonResponse:
    found = call.world.relays.authorize(body.session_id, body.user_ip)
    user = _user(body.user_ip, found.users[body.user_ip])
    return JsonResponse(200, {**_common(found, call.now), "session_user": user})


def _revoke(call: Call, body: RelayRevocation) -> JsonResponse:
    call.world.relays.revoke(body.session_id, body.authorization_token)
    return JsonResponse(204)


RELAY_HANDLERS: tuple[Entry, ...] = (
    with_body(endpoints.CREATE_RELAY, _create),
    without_body(endpoints.RELAYS, _list),
    without_body(endpoints.RELAY, _get),
    without_body(endpoints.DELETE_RELAY, _delete),
    with_body(endpoints.AUTHORIZE_RELAY_USER, _authorize),
    with_body(endpoints.REVOKE_RELAY_USER, _revoke),
)
