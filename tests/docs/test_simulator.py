"""What docs/simulator.md shows is correct."""

import asyncio
import json
import re
from collections.abc import Iterator
from contextlib import aclosing
from typing import Any

import pytest
from click.testing import CliRunner
from support.control import events, ok
from support.paths import ROOT
from support.plain_client import Plain, plain

from edgegap_async.cli.program import program
from edgegap_async.simulator import Fault, Simulator
from edgegap_async.simulator.control.routes import ENDPOINTS

PAGE = (ROOT / "docs" / "simulator.md").read_text()
SECTIONS = dict(
    re.findall(
        r"^### `(\w+ /_simulator/.*?)`\n(.*?)(?=^##|\Z)", PAGE, re.DOTALL | re.MULTILINE
    )
)
# The answer of an endpoint whose section refers to another one.
SAME_ANSWER = {
    "POST /_simulator/limits": "GET /_simulator/limits",
    "POST /_simulator/faults": "GET /_simulator/faults",
    "DELETE /_simulator/faults": "GET /_simulator/faults",
    "POST /_simulator/reset": "GET /_simulator/counts",
}
ROW = json.loads(
    re.findall(
        r"```json\n(.*?)```", SECTIONS["GET /_simulator/deployments"], re.DOTALL
    )[0]
)["deployments"][0]


def block(title: str, language: str) -> Any:
    found = re.findall(rf"```{language}\n(.*?)```", SECTIONS[title], re.DOTALL)
    return json.loads(found[0]) if found else None


# The fields whose keys are names that a user has chosen.
OPEN = ("environment", "faulted")


def differs(documented: Any, real: Any, path: str = "") -> Iterator[str]:
    """Yield where an answer has another form than the documented one. The first item
    stands for a list, and null for any value.
    """
    if isinstance(documented, dict) and isinstance(real, dict):
        if not path.endswith(OPEN) and documented.keys() != real.keys():
            yield f"{path}: {documented.keys() ^ real.keys()}"
        for key in documented.keys() & real.keys():
            yield from differs(documented[key], real[key], f"{path}.{key}")
    elif isinstance(documented, list) and isinstance(real, list):
        for one, other in zip(documented[:1], real[:1], strict=False):
            yield from differs(one, other, f"{path}[]")
    elif None not in (documented, real):
        kinds = {
            float if type(each) is int else type(each) for each in (documented, real)
        }
        if len(kinds) > 1:
            yield f"{path}: {documented!r}, {real!r}"


def test_every_endpoint_has_its_section() -> None:
    endpoints = {f"{each.method} /_simulator{each.path}" for each in ENDPOINTS}
    assert {*SECTIONS} == {*endpoints, "GET /_simulator/events"}


async def used(api: Plain) -> str:
    """Bring a simulator into the state of the examples."""
    made = await api.deploy(
        application="my-game",
        version="1.0",
        tags=["ranked"],
        environment_variables=[{"key": "MODE", "value": "ranked", "is_hidden": False}],
        webhook_on_ready={"url": "http://127.0.0.1:9/secret"},
    )
    await asyncio.sleep(2)
    return made


@pytest.mark.parametrize("title", sorted(SECTIONS.keys() - {"GET /_simulator/events"}))
async def test_the_answers_have_the_documented_form(title: str) -> None:
    method, path = title.split(" /_simulator/")
    faults = [Fault("deploy", "late", seconds=0.5, times=5)]
    async with plain(Simulator(ready_after=(1, 1), faults=faults)) as api:
        made = await used(api)
        answer = await ok(
            api, method, path.format(request_id=made), block(title, "json request")
        )
    documented = block(SAME_ANSWER.get(title, title), "json") or ROW
    start = "environment" if title.startswith("GET /_simulator/environment") else ""
    assert [*differs(documented, answer, start)] == []


async def test_the_events_have_the_documented_fields() -> None:
    fields = {
        name
        for row in re.findall(
            r"^\| (`.*?) \|", SECTIONS["GET /_simulator/events"], re.MULTILINE
        )
        for name in re.findall(r"`(\w+)`", row)
    }
    in_snapshot_only = {"url", "version", "started_at", "cities", "needs_token"}
    async with plain(Simulator()) as api, aclosing(events(api)) as stream:
        assert (await anext(stream))[1].keys() == fields - {"removed"}
        assert (await anext(stream))[1].keys() == fields - in_snapshot_only


def options() -> Iterator[str]:
    for row in re.findall(r"^\| (`--.*?) \|", PAGE, re.MULTILINE):
        yield from re.findall(r"--[\w-]+", row)


def test_every_option_is_documented() -> None:
    text = CliRunner().invoke(program, ["simulate", "--help"]).output
    real = {*re.findall(r"^  (--[\w-]+)", text, re.MULTILINE)} - {"--help", "--faults"}
    assert {*options()} == real
