"""The container registry of the simulator, by the SDK."""

from typing import Any

import pytest
from support.owning import owning
from support.raw_server import CUT, GOOD, answer, scripted

from edgegap_async.errors import NotFound, TransportError
from edgegap_async.models.registry import ImageTagDeleted
from edgegap_async.simulator import Simulator

IMAGE = "studio/arena"


async def test_tags_of_one_build_are_listed_and_deleted() -> None:
    async with owning() as (edgegap, sim):
        registry = edgegap.registry
        first = sim.push_image(IMAGE, "1.0.0", "latest", "latest")
        second = sim.push_image(IMAGE, "1.1.0", "latest", size_mb=340)
        assert first != second
        found = {it.tag: it async for it in registry.iterate_tags(IMAGE, page_size=1)}
        assert [*found] == ["1.0.0", "1.1.0", "latest"]
        latest = found["latest"].artifact
        assert latest is not None
        assert (latest.image_hash, latest.size_mb) == (second, 340)
        assert latest.remaining_tags == ("1.1.0", "latest")
        assert latest.artifact_deleted is False
        assert found["1.0.0"].last_push_at

        deleted = await registry.delete_tag(IMAGE, "latest")
        assert deleted.deleted_tag == "latest"
        assert deleted.artifact is not None
        assert deleted.artifact.remaining_tags == ("1.1.0",)
        assert deleted.artifact.artifact_deleted is False
        last = (await registry.delete_tag(IMAGE, "1.1.0")).artifact
        assert last is not None
        assert (last.image_hash, last.artifact_deleted) == (second, True)
        assert [it.tag for it in (await registry.tags(IMAGE)).data] == ["1.0.0"]


async def test_several_tags_are_deleted_each_with_its_result() -> None:
    async with owning() as (edgegap, sim):
        sim.push_image(IMAGE, "a", "b", "c")
        sim.push_image("studio/lobby", "a")
        done = await edgegap.registry.delete_tags(IMAGE, ["a", "none", "b", "a"])
        assert [(it.tag, it.status) for it in done.results] == [
            ("a", 204),
            ("none", 404),
            ("b", 204),
            ("a", 404),
        ]
        assert "none" in str(done.results[1].message)
        summary = done.summary
        assert summary is not None
        assert (summary.total, summary.success, summary.failed) == (4, 2, 2)
        assert [it.tag for it in (await edgegap.registry.tags(IMAGE)).data] == ["c"]
        assert len((await edgegap.registry.tags("studio/lobby")).data) == 1


async def test_an_unknown_image_or_tag_is_not_found() -> None:
    async with owning() as (edgegap, sim):
        registry = edgegap.registry
        for call in (
            registry.tags(IMAGE),
            registry.delete_tag(IMAGE, "a"),
            registry.delete_tags(IMAGE, ["a"]),
        ):
            with pytest.raises(NotFound, match=IMAGE):
                await call
        sim.push_image(IMAGE, "a")
        with pytest.raises(NotFound, match="b"):
            await registry.delete_tag(IMAGE, "b")


@pytest.mark.parametrize(
    ("tags", "named"),
    [([], "tags"), ("1.0.0", "tags"), (None, "tags"), ([5], "tags"), ([""], "tags")],
)
async def test_wrong_tags_are_refused_before_anything_is_sent(
    tags: Any, named: str
) -> None:
    async with scripted(GOOD) as (edgegap, server):
        with pytest.raises(ValueError, match=named):
            await edgegap.registry.delete_tags(IMAGE, tags)
        with pytest.raises(ValueError, match="image_name"):
            await edgegap.registry.delete_tag(" ", "a")
        with pytest.raises(ValueError, match="tag_name"):
            await edgegap.registry.delete_tag(IMAGE, "..")
    assert not server.arrivals


async def test_a_deletion_of_several_whose_answer_was_lost_is_not_sent_again() -> None:
    async with scripted(CUT, GOOD) as (edgegap, server):
        with pytest.raises(TransportError) as raised:
            await edgegap.registry.delete_tags(IMAGE, ["a"])
        assert raised.value.request_sent
        assert len(server.arrivals) == 1


async def test_a_deletion_whose_answer_was_lost_is_sent_again() -> None:
    gone = answer(404, {"message": "Not Found"})
    async with scripted(CUT, gone) as (edgegap, server):
        done = await edgegap.registry.delete_tag(IMAGE, "a")
        assert len(server.arrivals) == 2
    assert done == ImageTagDeleted()


@pytest.mark.parametrize("rows", [None, 5, [None], [{"tag": 5}, {"tag": "a"}], {}])
async def test_odd_rows_take_nothing_else_with_them(rows: Any) -> None:
    body = {"data": rows, "results": rows, "summary": rows}
    async with scripted(answer(200, body)) as (edgegap, _):
        found = await edgegap.registry.tags(IMAGE)
        done = await edgegap.registry.delete_tags(IMAGE, ["a"])
    assert all(isinstance(it.tag, str) for it in found.data)
    assert all(it.tag in (None, "a") for it in done.results)


@pytest.mark.parametrize(
    ("image", "tags", "options", "named"),
    [
        ("", ["a"], {}, "image"),
        (IMAGE, [], {}, "tags"),
        (IMAGE, [5], {}, "tags"),
        (IMAGE, ["a"], {"size_mb": -1}, "size_mb"),
    ],
)
async def test_a_wrong_push_is_refused(
    image: Any, tags: list[Any], options: dict[str, Any], named: str
) -> None:
    async with Simulator() as sim:
        with pytest.raises(ValueError, match=f"^{named}"):
            sim.push_image(image, *tags, **options)
