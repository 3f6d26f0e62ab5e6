"""Pull profiles of the simulator, by the SDK."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from support.owning import owning
from support.raw_server import CUT, GOOD, answer, scripted

from edgegap_async import EdgegapSession
from edgegap_async.errors import BadRequest, NotFound, TransportError

SOURCE: dict[str, Any] = {
    "source": "/maps/desert",
    "source_type": "Folder",
    "destination": "/srv/maps",
}


@asynccontextmanager
async def with_storages(*names: str) -> AsyncIterator[EdgegapSession]:
    """Open a session on a simulator that has these storages."""
    async with owning() as (edgegap, _):
        for name in names:
            await edgegap.storage.create(
                name,
                access_key_id="made-up-id",
                secret_access_key="made-up-key",
                endpoint="https://s3.example.com",
                bucket="b",
            )
        yield edgegap


async def test_pull_profiles_are_created_changed_listed_and_deleted() -> None:
    async with with_storages("s3", "other") as edgegap:
        profiles = edgegap.pull_profiles
        made = await profiles.create("s3", "first", **SOURCE)
        assert (made.name, made.source, made.source_type, made.destination) == (
            "first",
            *SOURCE.values(),
        )
        assert made.create_time
        await profiles.create("s3", "second", **SOURCE)
        with pytest.raises(BadRequest):
            await profiles.create("s3", "first", **SOURCE)
        changed = await profiles.update("s3", "first", name="third", source="/x")
        assert (changed.name, changed.source) == ("third", "/x")
        assert changed.destination == made.destination
        with pytest.raises(BadRequest):
            await profiles.update("s3", "third", name="second")
        found = [it.name async for it in profiles.iterate("s3", page_size=1)]
        assert found == ["third", "second"]
        await profiles.delete("s3", "third")
        with pytest.raises(NotFound):
            await profiles.get("s3", "third")
        assert (await profiles.list("s3")).total_count == 1


async def test_pull_profiles_belong_to_their_storage() -> None:
    async with with_storages("s3", "other") as edgegap:
        profiles = edgegap.pull_profiles
        await profiles.create("s3", "maps", **SOURCE)
        assert (await profiles.list("other")).total_count == 0
        await profiles.create("other", "maps", **SOURCE)
        await profiles.delete("other", "maps")
        await edgegap.storage.update("s3", name="renamed")
        assert (await profiles.get("renamed", "maps")).name == "maps"
        for call in (
            profiles.list("s3"),
            profiles.create("s3", "maps", **SOURCE),
            profiles.get("s3", "maps"),
            profiles.update("s3", "maps", source="/x"),
        ):
            with pytest.raises(NotFound, match="s3"):
                await call
        await edgegap.storage.delete("renamed")
        with pytest.raises(NotFound):
            await profiles.get("renamed", "maps")


async def test_a_version_is_linked_and_unlinked() -> None:
    async with with_storages("s3") as edgegap:
        profiles, names = edgegap.pull_profiles, ("s3", "maps", "arena", "v1")
        with pytest.raises(NotFound, match="maps"):
            await profiles.link(*names)
        await profiles.create("s3", "maps", **SOURCE)
        with pytest.raises(NotFound, match="arena"):
            await profiles.link(*names)
        await edgegap.apps.create("arena", image="")
        await edgegap.versions.create(
            "arena",
            "v1",
            req_cpu=256,
            req_memory=512,
            docker_repository="registry.example.com",
            docker_image="studio/arena",
            docker_tag="v1",
        )
        made = await profiles.link(*names)
        assert (made.endpoint, made.pull_profile, made.app, made.app_version) == names
        await asyncio.sleep(1)
        again = await profiles.link(*names)
        assert again.create_time == made.create_time
        assert again.last_updated is not None
        assert made.last_updated is not None
        assert again.last_updated > made.last_updated
        await profiles.unlink(*names)
        with pytest.raises(NotFound, match="not linked"):
            await profiles.unlink(*names)
        assert (await profiles.get("s3", "maps")).name == "maps"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"source": ""}, "source"),
        ({"source": 5}, "source"),
        ({"source_type": "file"}, "source_type"),
        ({"source_type": None}, "source_type"),
        ({"destination": " "}, "destination"),
    ],
)
async def test_a_wrong_argument_is_named_before_anything_is_sent(
    changes: dict[str, Any], named: str
) -> None:
    async with scripted(GOOD) as (edgegap, server):
        profiles = edgegap.pull_profiles
        with pytest.raises(ValueError, match=f"^{named}"):
            await profiles.create("s3", "maps", **{**SOURCE, **changes})
        with pytest.raises(ValueError, match=f"^{named}"):
            await profiles.update("s3", "maps", **changes)
        with pytest.raises(ValueError, match="are all missing"):
            await profiles.update("s3", "maps")
        with pytest.raises(ValueError, match="pull_profile_name"):
            await profiles.delete("s3", "..")
    assert not server.arrivals


@pytest.mark.parametrize(
    "change",
    [
        lambda it: it.create("s3", "maps", **SOURCE),
        lambda it: it.update("s3", "maps", source="/x"),
        lambda it: it.link("s3", "maps", "arena", "v1"),
    ],
    ids=["create", "update", "link"],
)
async def test_a_change_whose_answer_was_lost_is_not_sent_again(change: Any) -> None:
    async with scripted(CUT, GOOD) as (edgegap, server):
        with pytest.raises(TransportError) as raised:
            await change(edgegap.pull_profiles)
        assert raised.value.request_sent
        assert len(server.arrivals) == 1


async def test_an_unlink_whose_answer_was_lost_is_sent_again() -> None:
    gone = answer(404, {"message": "Not Found"})
    async with scripted(CUT, gone) as (edgegap, server):
        await edgegap.pull_profiles.unlink("s3", "maps", "arena", "v1")
        assert len(server.arrivals) == 2


@pytest.mark.parametrize("rows", [None, 5, [None], [{"name": 5}, {"name": "a"}], {}])
async def test_odd_rows_take_nothing_else_with_them(rows: Any) -> None:
    async with scripted(answer(200, {"pull_profiles": rows})) as (edgegap, _):
        found = await edgegap.pull_profiles.list("s3")
    assert all(isinstance(it.name, str) for it in found.pull_profiles)
