"""Users read IDs and tags from files and pipes. White space, control characters and
byte order marks around them never change which deployment a call is about.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from support.owning import owning
from support.raw_server import scripted

from edgegap_async import (
    BulkStopFilter,
    DeployRequest,
    EdgegapSession,
    ListFilter,
    endpoints,
)
from edgegap_async._transport.response import Reply, read
from edgegap_async.errors import (
    AllocationFailed,
    DeployOutcomeUnknown,
    UnexpectedAnswer,
)
from edgegap_async.models._check import identifier, usable_id
from edgegap_async.models.tag import TagRequest

ENDS = ["\n", "\r\n", "\t", " ", "\ufeff", "\u200b", "\x00", "\x85", "\u2028"]
around = pytest.mark.parametrize("ends", ENDS, ids=repr)
Call = Callable[[EdgegapSession, str], Awaitable[object]]
BY_ID: dict[str, Call] = {
    "status": lambda session, it: session.deployments.status(it),
    "stop": lambda session, it: session.deployments.stop(it),
    "ensure_stopped": lambda session, it: session.deployments.ensure_stopped(it),
    "wait_until_ready": lambda session, it: session.deployments.wait_until_ready(it),
    "wait_until_stopped": lambda session, it: session.deployments.wait_until_stopped(
        it, timeout=1
    ),
    "container_logs": lambda session, it: session.deployments.container_logs(it),
    "metrics": lambda session, it: session.deployments.metrics(it),
    "tags.list": lambda session, it: session.tags.list(it),
    "tags.get": lambda session, it: session.tags.get(it, "a"),
}


@pytest.mark.parametrize("call", BY_ID)
@around
async def test_white_space_around_an_id_is_not_sent(call: str, ends: str) -> None:
    async with scripted() as (edgegap, server):
        await asyncio.wait(
            [asyncio.ensure_future(BY_ID[call](edgegap, f"{ends}c065{ends}"))]
        )
        path = server.arrivals[0].path.partition("?")[0]
        assert "c065" in path.split("/")
        assert "%" not in path


@pytest.mark.parametrize("call", [*BY_ID, "adopt", "wait_many"])
@pytest.mark.parametrize(
    "wrong", ["c0\n65", "c0 65", "c0\x0065", "\ufeff", " \n", ".", "c0\ufeff65"]
)
async def test_an_id_with_white_space_inside_is_refused_by_name(
    call: str, wrong: str
) -> None:
    async def adopt(session: EdgegapSession, it: str) -> None:
        async with session.deployments.adopt(it):
            pass

    async def wait_many(session: EdgegapSession, it: str) -> None:
        async with session.deployments.wait_many([it]):
            pass

    calls: dict[str, Call] = {**BY_ID, "adopt": adopt, "wait_many": wait_many}
    async with scripted() as (edgegap, server):
        with pytest.raises(ValueError, match="request_id"):
            await calls[call](edgegap, wrong)
        assert server.arrivals == []


@around
async def test_ensure_stopped_accepts_an_id_with_a_line_end(ends: str) -> None:
    async with owning() as (edgegap, sim):
        accepted = await edgegap.deployments.deploy("g", "1", users=["192.0.2.1"])
        await edgegap.deployments.ensure_stopped(accepted.request_id + ends, wait=True)
        assert sim.stopped() == {accepted.request_id}


async def test_adopt_accepts_an_id_with_a_line_end() -> None:
    async with owning() as (edgegap, sim):
        accepted = await edgegap.deployments.deploy("g", "1", users=["192.0.2.1"])
        async with edgegap.deployments.adopt(f"{accepted.request_id}\n") as server:
            assert server.request_id == accepted.request_id
        assert sim.stopped() == {accepted.request_id}


async def test_reap_accepts_an_open_file_of_tags(tmp_path: Path) -> None:
    tags = tmp_path / "tags"
    tags.write_bytes("\ufefffirst\r\n\r\n  second\n".encode())
    async with owning() as (edgegap, sim):
        for tag in ("first", "second", "third"):
            await edgegap.deployments.deploy(
                "g", "1", users=["192.0.2.1"], tags=[f"{tag}\n"]
            )
        with tags.open() as lines:
            found = await edgegap.deployments.reap(lines)
        assert {tag for row in found for tag in row.tags} >= {"first", "second"}
        assert len(sim.stopped()) == 2


@around
def test_bodies_and_filters_hold_stripped_texts(ends: str) -> None:
    request: Any = DeployRequest(
        f"{ends}game{ends}", f"1{ends}", users=["192.0.2.1"], tags=[f"a b{ends}"]
    )
    assert (request.application, request.version) == ("game", "1")
    assert request.tags == ("a b",)
    assert TagRequest(f"{ends}a").name == "a"
    assert ListFilter("tags", "in", [f"a{ends}"]).value == ("a",)
    assert ListFilter("request_id", "eq", f"c0{ends}").value == "c0"
    assert BulkStopFilter("request_id", [f"c0{ends}"]).values == ("c0",)


@pytest.mark.parametrize("wrong", ["a\nb", "a\x00b", "a\u2028b", "\ufeff"])
def test_a_tag_with_control_characters_inside_is_refused_by_name(wrong: str) -> None:
    with pytest.raises(ValueError, match="tags"):
        DeployRequest("game", "1", users=["192.0.2.1"], tags=[wrong])
    with pytest.raises(ValueError, match="filter: values"):
        BulkStopFilter("deployment_tags", [wrong])


class Unread(str):
    """A text that must not be read character by character."""

    __slots__ = ()

    def __getitem__(self, at: object) -> str:
        raise AssertionError("it was read character by character")

    def __iter__(self) -> Any:
        raise AssertionError("it was read character by character")


@pytest.mark.parametrize("filler", ["-", "a", "\u200b", "\ufeff", "\u0378"])
def test_an_id_too_long_for_one_is_refused_by_name_and_not_read(filler: str) -> None:
    wrong = Unread(filler * 129)
    with pytest.raises(ValueError, match=r"host_id .* most 128 .* not 129"):
        identifier("host_id", wrong)
    with pytest.raises(ValueError, match="request_id"):
        ListFilter("request_id", "in", [wrong])
    assert not usable_id(wrong)


def test_an_id_of_128_characters_between_many_blanks_is_accepted() -> None:
    assert identifier("request_id", "\n" * 1000 + "-" * 128 + " " * 1000) == "-" * 128
    assert usable_id("-" * 128)


def answered(endpoint: Any, body: object, status: int = 200) -> Any:
    return read(endpoint, Reply(status, json.dumps(body).encode()))


@pytest.mark.parametrize("filler", ["-", "a", "\u200b", " "])
def test_an_answer_with_an_id_too_long_for_one_has_no_id(filler: str) -> None:
    long = "c" + filler * 127 + "c"
    with pytest.raises(UnexpectedAnswer):
        answered(endpoints.STATUS, {"request_id": long})
    with pytest.raises(DeployOutcomeUnknown):
        answered(endpoints.DEPLOY, {"request_id": long})
    with pytest.raises(AllocationFailed) as refused:
        answered(endpoints.DEPLOY, {"message": "full", "request_id": long}, 422)
    assert refused.value.request_id is None
    rows = [{"request_id": each} for each in ("a", long, "b" * 128)]
    page = answered(endpoints.LIST, {"data": rows})
    assert [row.request_id for row in page.data] == ["a", "b" * 128]
    assert page.skipped == 1
    stopped = answered(endpoints.BULK_STOP, {"processable": rows})
    assert (len(stopped.processable), stopped.skipped) == (2, 1)
