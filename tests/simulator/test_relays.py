"""Relay sessions of the simulator, by the SDK."""

import asyncio
import logging
from typing import Any

import pytest
from support.owning import owning
from support.raw_server import answer, failure, scripted

from edgegap_async import EdgegapSession
from edgegap_async.errors import Conflict, NotFound
from edgegap_async.models.relay import RelayRevocation, RelaySessionRequest

USERS = ["203.0.113.7", "203.0.113.8"]
TOKEN = 3_500_589_645
HOOK = "https://hooks.example/s3cret"


async def test_a_session_has_its_relay_and_is_ready_after_a_moment() -> None:
    async with owning() as (edgegap, _):
        made = await edgegap.relays.create(USERS)
        assert (made.ready, made.linked, made.relay) == (False, False, None)
        await asyncio.sleep(2)
        session = await edgegap.relays.get(made.session_id)
        assert (session.ready, session.linked, session.status) == (True, True, "READY")
        assert session.relay
        assert {*session.relay.ports} == {"server", "client"}
        assert [it.ip_address for it in session.session_users] == USERS
        tokens = {it.authorization_token for it in session.session_users}
        assert len(tokens | {session.authorization_token}) == 3


async def test_users_come_and_go() -> None:
    async with owning() as (edgegap, _):
        relays = edgegap.relays
        session_id = (await relays.create(USERS[:1])).session_id
        added = await relays.authorize_user(session_id, USERS[1])
        assert added.session_user
        with pytest.raises(Conflict):
            await relays.authorize_user(session_id, USERS[1])
        token = added.session_user.authorization_token
        assert token is not None
        await relays.revoke_user(session_id, token)
        with pytest.raises(NotFound):
            await relays.revoke_user(session_id, token)
        (left,) = (await relays.get(session_id)).session_users
        assert left.ip_address == USERS[0]


async def test_sessions_are_listed_page_by_page_and_end() -> None:
    async with owning() as (edgegap, _):
        made = [(await edgegap.relays.create(USERS)).session_id for _ in range(25)]
        found = [it.session_id async for it in edgegap.relays.iterate(page_size=10)]
        assert found == made
        await edgegap.relays.delete(made[0])
        with pytest.raises(NotFound):
            await edgegap.relays.get(made[0])
        assert (await edgegap.relays.list(limit=5)).total_count == 24


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda it: it.create([]), "users"),
        (lambda it: it.create(["nobody"]), "users"),
        (lambda it: it.create("203.0.113.7"), "users"),
        (lambda it: it.create(USERS, filters=[5]), "filters"),
        (lambda it: it.create(USERS, webhook_url="nothing"), "webhook_url"),
        (lambda it: it.authorize_user("", "203.0.113.7"), "session_id"),
        (lambda it: it.authorize_user("a-S", "nobody"), "user_ip"),
        (lambda it: it.revoke_user("a-S", "5"), "authorization_token"),
        (lambda it: it.revoke_user("a-S", -1), "authorization_token"),
        (lambda it: it.revoke_user("a-S", True), "authorization_token"),
        (lambda it: it.get(".."), "session_id"),
    ],
)
async def test_a_wrong_argument_is_named_before_anything_is_sent(
    call: Any, named: str
) -> None:
    async with scripted(answer(200, {})) as (edgegap, server):
        with pytest.raises(ValueError, match=named):
            await call(edgegap.relays)
    assert not server.arrivals


async def test_no_token_and_no_webhook_is_shown(caplog: Any) -> None:
    caplog.set_level(logging.DEBUG)
    session = {
        "session_id": "a-S",
        "authorization_token": TOKEN,
        "session_users": [{"ip_address": USERS[0], "authorization_token": TOKEN + 1}],
        "webhook_url": HOOK,
    }
    async with scripted(answer(200, session)) as (edgegap, _):
        found = await edgegap.relays.get("a-S")
        assert found.authorization_token == TOKEN
    shown = f"{found!r} {found.to_json()} {found.session_users!r}"
    body = RelayRevocation("a-S", TOKEN)
    shown += f"{body!r} {RelaySessionRequest(('203.0.113.7',), (), HOOK)!r}"
    # A server that repeats what was sent.
    refused = answer(400, {"message": f"unknown token {TOKEN}"})
    async with scripted(refused) as (edgegap, _):
        shown += repr(await failure(edgegap.relays.revoke_user("a-S", TOKEN)))
    shown += caplog.text
    assert str(TOKEN) not in shown
    assert str(TOKEN + 1) not in shown
    assert "s3cret" not in shown


@pytest.mark.parametrize(
    "users",
    [None, "", 5, [None], [5], [{"authorization_token": "x"}], {"a": 1}, [[]]],
)
async def test_odd_users_take_nothing_else_with_them(users: Any) -> None:
    session = {"session_id": "a-S", "ready": True, "session_users": users, "relay": 5}
    async with scripted(answer(200, session)) as (edgegap, _):
        found = await edgegap.relays.get("a-S")
    assert (found.session_id, found.ready, found.relay) == ("a-S", True, None)
    assert isinstance(found.session_users, tuple)


async def test_a_create_whose_answer_is_lost_is_not_sent_again() -> None:
    from edgegap_async.simulator import Fault

    async with owning(Fault("relays.create", "cut-after")) as (edgegap, _):
        assert isinstance(edgegap, EdgegapSession)
        error = await failure(edgegap.relays.create(USERS))
        assert error.request_sent
        assert (await edgegap.relays.list()).total_count == 1
