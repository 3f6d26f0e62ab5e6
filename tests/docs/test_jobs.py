"""The recipes of docs/cookbook/jobs.md do what they say."""

import asyncio
from datetime import timedelta
from typing import Any

from support.owning import owning
from support.paths import ROOT

from .test_site import blocks

RECIPES = blocks(ROOT / "docs" / "cookbook" / "jobs.md")
IMAGE = "studio/arena"


def recipe(name: str) -> Any:
    (code,) = (it for it in RECIPES if f"def {name}(" in it)
    names: dict[str, Any] = {}
    exec(compile(code, name, "exec"), names)  # noqa: S102 - our page
    return names[name]


async def test_old_images_are_deleted_unless_a_version_uses_their_build() -> None:
    async with owning() as (edgegap, sim):
        await edgegap.apps.create("arena", image="")
        await edgegap.versions.create(
            "arena",
            "v1",
            req_cpu=256,
            req_memory=512,
            docker_repository="registry.example.com",
            docker_image=IMAGE,
            docker_tag="1.0.0",
        )
        sim.push_image(IMAGE, "0.9.0")
        sim.push_image(IMAGE, "1.0.0", "stable")
        await asyncio.sleep(3600)
        sim.push_image(IMAGE, "1.1.0")
        (*_, newest) = (await edgegap.registry.tags(IMAGE)).data
        assert newest.last_push_at is not None
        before = newest.last_push_at - timedelta(minutes=1)
        delete_old_images = recipe("delete_old_images")
        for _ in range(2):
            assert await delete_old_images(edgegap, "arena", IMAGE, before) == []
        left = [it.tag async for it in edgegap.registry.iterate_tags(IMAGE)]
    assert left == ["1.0.0", "stable", "1.1.0"]
