"""The doctor finds exactly what was set in a simulator."""

import asyncio
from typing import Any

import pytest
from support.owning import owning
from support.raw_server import answer, scripted

from edgegap_async import doctor
from edgegap_async.doctor.findings import Value
from edgegap_async.errors import EdgegapError, Unauthorized
from edgegap_async.simulator import Fault

AS_ASSUMED = {
    "token": True,
    "default_page": 10,
    "largest_page": 100,
    "row_tags": True,
    "total_count": True,
    "newest_first": True,
    "filter_request_id": "honoured",
    "filter_tags": "honoured",
    "filter_application": "honoured",
    "filter_version": "honoured",
    "filter_status": "honoured",
    "not_found": 404,
    "bad_request": 400,
    "fleet_deploy": "both",
}


async def examined(*faults: Any, tags: bool = True, **options: Any) -> doctor.Diagnosis:
    """What is found in a simulator with some deployments."""
    options = {"neighbours": 150, "ready_after": (1.0, 1.0), **options}
    async with owning(options=options) as (edgegap, sim):
        if tags:
            for number in range(3):
                await edgegap.deployments.deploy(
                    "game",
                    "1",
                    users=["192.0.2.1"],
                    tags=[f"match-{number}"],
                    once=False,
                )
        await asyncio.sleep(5)
        sim.faults = faults
        return await doctor.examine(edgegap)


def found(diagnosis: doctor.Diagnosis) -> dict[str, Value]:
    return {name: diagnosis.value(name) for name in AS_ASSUMED}


async def test_a_simulator_as_it_is_by_default_differs_in_nothing() -> None:
    diagnosis = await examined()
    assert found(diagnosis) == AS_ASSUMED
    assert diagnosis.differences == ()
    assert doctor.Diagnosis.from_json(diagnosis.to_json()) == diagnosis


MODES: dict[str, tuple[list[Fault], dict[str, Any], dict[str, Value]]] = {
    "largest page": ([], {"max_page_size": 37}, {"largest_page": 37}),
    "oldest first": (
        [],
        {"newest_first": False, "neighbours": 50},
        {"newest_first": False, "largest_page": None},
    ),
    "no tags in rows": (
        [Fault("list", "tags-missing")],
        {},
        {"row_tags": False, "filter_tags": None},
    ),
    "no total": ([Fault("list", "total-missing")], {}, {"total_count": False}),
    "a filter that is ignored": (
        [Fault("list", "filters-ignored", fields=("tags",))],
        {},
        {"filter_tags": "ignored"},
    ),
    "filters that are ignored": (
        [Fault("list", "filters-ignored")],
        {},
        dict.fromkeys((it for it in AS_ASSUMED if it.startswith("filter_")), "ignored"),
    ),
    "a filter that is refused": (
        [Fault("list", "filters-refused", fields=("application",))],
        {},
        {"filter_application": "refused"},
    ),
    "a filter that finds nothing": (
        [Fault("list", "filters-empty", fields=("version", "request_id"))],
        {},
        {"filter_version": "empty", "filter_request_id": "empty"},
    ),
    "a filter on states that is ignored": (
        [Fault("list", "filters-ignored", fields=("status",))],
        {},
        {"filter_status": "ignored"},
    ),
    "a filter on states that is refused": (
        [Fault("list", "filters-refused", fields=("status",))],
        {},
        {"filter_status": "refused"},
    ),
    "a filter on states that finds nothing": (
        [Fault("list", "filters-empty", fields=("status",))],
        {},
        {"filter_status": "empty"},
    ),
    "unknown IDs are bad requests": ([], {"gone": "400"}, {"not_found": 400}),
    "the fleet path of the page": (
        [],
        {"fleet_deploy": "page"},
        {"fleet_deploy": "page"},
    ),
    "the newer fleet path": (
        [],
        {"fleet_deploy": "renamed"},
        {"fleet_deploy": "renamed"},
    ),
    "few deployments": (
        [],
        {"neighbours": 4},
        {"default_page": None, "largest_page": None},
    ),
}


@pytest.mark.parametrize("mode", MODES)
async def test_each_mode_of_the_simulator_is_found(mode: str) -> None:
    faults, options, differing = MODES[mode]
    assert found(await examined(*faults, **options)) == {**AS_ASSUMED, **differing}


@pytest.mark.parametrize("mode", MODES)
async def test_a_simulator_made_from_what_was_found_behaves_alike(mode: str) -> None:
    faults, options, _ = MODES[mode]
    first = await examined(*faults, **options)
    again = dict(doctor.simulator_options(first))
    known = {"neighbours": options.get("neighbours", 150)}
    second = await examined(*again.pop("faults"), **{**again, **known})
    assert found(second) == found(first)


async def test_an_account_without_deployments_leaves_questions_open() -> None:
    diagnosis = await examined(tags=False, neighbours=0)
    open_ = {it.name for it in diagnosis.findings if it.found is None}
    assert open_ >= {"default_page", "largest_page", "row_tags", "filter_tags"}
    assert diagnosis.differences == ()
    doctor.simulator_options(diagnosis)


async def test_nothing_is_started_changed_or_stopped() -> None:
    async with owning(options={"neighbours": 30}) as (edgegap, sim):
        await doctor.examine(edgegap)
        counts = sim.counts()
    assert (counts["deployed"], counts["stopped"]) == (0, 0)
    assert sum(it["arrivals"] for it in counts["limits"].values()) <= 30


async def test_a_server_that_an_empty_body_starts_is_stopped() -> None:
    made = answer(202, {"request_id": "c065a3f1b2e4"})
    routes = {"/v2/private-fleets": made}
    async with scripted(answer(200, {}), routes=routes) as (edgegap, server):
        diagnosis = await doctor.examine(edgegap)
    assert diagnosis.value("fleet_deploy") == "both"
    stops = [it.path for it in server.arrivals if it.method == "DELETE"]
    assert stops == ["/v1/stop/c065a3f1b2e4"] * 2


async def test_a_wrong_token_is_an_error() -> None:
    async with owning(options={"token": "right"}) as (edgegap, _):
        with pytest.raises(Unauthorized):
            await doctor.examine(edgegap)


@pytest.mark.parametrize(
    "body",
    ["<html>login</html>", "[]", "null", '{"data": 5}', '{"data": [null, 5, {}]}'],
)
async def test_odd_answers_are_findings_or_typed_errors(body: str) -> None:
    async with scripted(answer(200, body)) as (edgegap, _):
        try:
            diagnosis = await doctor.examine(edgegap)
        except EdgegapError:
            return
        doctor.simulator_options(diagnosis)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("gone", "500", "gone must be one of 404"),
        ("largest_page", -1, "largest_page must be"),
        ("largest_page", "x", "largest_page must be"),
        ("newest_first", 5, "newest_first must be"),
        ("filter_tags", "odd", "filter_tags must be one of"),
        ("row_tags", "no", "row_tags must be"),
        ("ready_after", -5, "ready_after must be"),
        ("status_after", "x", "status_after must be"),
        ("listed_after", True, "listed_after must be"),
        ("fleet_deploy", True, "fleet_deploy must be one of"),
    ],
)
def test_a_value_that_there_is_not_is_named(name: str, value: Value, told: str) -> None:
    diagnosis = doctor.Diagnosis(
        checked="",
        target="",
        findings=(doctor.Finding(name=name, question="", found=value),),
    )
    with pytest.raises(ValueError, match=told):
        doctor.simulator_options(diagnosis)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "x"}', b"\xff"])
def test_another_file_is_no_diagnosis(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"no diagnosis|format"):
        doctor.Diagnosis.from_json(text)
