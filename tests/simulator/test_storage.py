"""Endpoint storages of the simulator, by the SDK."""

import logging
from typing import Any

import pytest
from support.owning import owning
from support.raw_server import answer, failure, scripted

from edgegap_async.errors import BadRequest, NotFound
from edgegap_async.models.storage import StorageRequest, StorageUpdate

BUCKET: dict[str, Any] = {
    "access_key_id": "made-up-id",
    "secret_access_key": "made-up-s3cret",
    "endpoint": "https://s3.example.com",
    "bucket": "logs",
}


async def test_storages_are_created_changed_listed_and_deleted() -> None:
    async with owning() as (edgegap, _):
        storage = edgegap.storage
        made = await storage.create("first", **BUCKET)
        assert (made.name, made.bucket, made.output_format) == ("first", "logs", "TEXT")
        assert made.create_time
        await storage.create("second", output_format="NDJSON", **BUCKET)
        with pytest.raises(BadRequest):
            await storage.create("first", **BUCKET)
        changed = await storage.update("first", name="third", bucket="more")
        assert (changed.name, changed.bucket) == ("third", "more")
        assert changed.endpoint == BUCKET["endpoint"]
        with pytest.raises(BadRequest):
            await storage.update("third", name="second")
        found = [it.name async for it in storage.iterate(page_size=1)]
        assert found == ["third", "second"]
        await storage.delete("third")
        with pytest.raises(NotFound):
            await storage.get("third")
        assert (await storage.list()).total_count == 1


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"endpoint": "s3.example.com"}, "endpoint"),
        ({"bucket": ""}, "bucket"),
        ({"access_key_id": 5}, "access_key_id"),
        ({"secret_access_key": ""}, "secret_access_key"),
        ({"secret_access_key": None}, "secret_access_key"),
        ({"output_format": "XML"}, "output_format"),
    ],
)
async def test_a_wrong_argument_is_named_before_anything_is_sent(
    changes: dict[str, Any], named: str
) -> None:
    async with scripted(answer(200, {})) as (edgegap, server):
        with pytest.raises(ValueError, match=named) as caught:
            await edgegap.storage.create("logs", **{**BUCKET, **changes})
        assert "s3cret" not in str(caught.value)
        with pytest.raises(ValueError, match=named):
            await edgegap.storage.update("logs", **changes)
    assert not server.arrivals


async def test_the_key_is_sent_and_never_shown(caplog: Any) -> None:
    caplog.set_level(logging.DEBUG)
    told = answer(400, {"message": "wrong key: made-up-s3cret"})
    async with scripted(told) as (edgegap, server):
        shown = repr(await failure(edgegap.storage.create("logs", **BUCKET)))
        changes = {"secret_access_key": "made-up-s3cret"}
        shown += repr(await failure(edgegap.storage.update("logs", **changes)))
    assert all(b"made-up-s3cret" in it.body for it in server.arrivals)
    shown += repr(StorageRequest(name="logs", **BUCKET)) + repr(
        StorageUpdate(**changes)
    )
    assert "s3cret" not in shown + caplog.text


@pytest.mark.parametrize("rows", [None, 5, [None], [{"name": 5}, {"name": "a"}], {}])
async def test_odd_rows_take_nothing_else_with_them(rows: Any) -> None:
    async with scripted(answer(200, {"endpoints": rows})) as (edgegap, _):
        found = await edgegap.storage.list()
    assert all(isinstance(it.name, str) for it in found.endpoints)
