"""The doctor finds how a simulator counts, and what its refusals are like."""

import asyncio
from typing import Any

import pytest
from support.owning import owning
from support.raw_server import answer, scripted

from edgegap_async import Limits, doctor
from edgegap_async.doctor.findings import Value
from edgegap_async.errors import EdgegapError
from edgegap_async.simulator import Fault

NO_LIMIT = Limits(list=None)
WAYS = ["fixed-window", "sliding-window", "token-bucket", "spacing"]
# A network that is not quite steady.
JITTER = {"delay_before": (0.02, 0.03), "delay_after": (0.02, 0.03)}


async def measured(
    *faults: Fault, begin: float = 0.0, **options: Any
) -> doctor.Diagnosis:
    async with owning(*faults, options=options, limits=NO_LIMIT) as (edgegap, sim):
        await asyncio.sleep(begin)
        diagnosis = await doctor.limits(edgegap)
        counts = sim.counts()
        arrivals = {name: it["arrivals"] for name, it in counts["limits"].items()}
        assert 0 < arrivals.pop("list") <= 200
        assert not any(arrivals.values())
        assert counts["deployed"] == 0
        return diagnosis


def found(diagnosis: doctor.Diagnosis, *names: str) -> tuple[Value, ...]:
    return tuple(diagnosis.value(name) for name in names)


def note(diagnosis: doctor.Diagnosis, name: str) -> str:
    (text,) = (it.note for it in diagnosis.findings if it.name == name)
    return text


# When in a second it begins: a fixed window begins at another time of it.
@pytest.mark.parametrize("begin", [0.0, 0.77])
@pytest.mark.parametrize("rate", [2, 7, 10, 25, 40])
@pytest.mark.parametrize("way", WAYS)
async def test_the_way_of_counting_and_the_rate_are_found(
    way: str, rate: int, begin: float
) -> None:
    diagnosis = await measured(begin=begin, enforcement=way, rates={"list": rate})
    assert found(diagnosis, "enforcement", "list_rate") == (way, rate)
    differing = {it.name for it in diagnosis.differences}
    assert ("enforcement" in differing) is (way != "sliding-window")
    assert ("list_rate" in differing) is (rate != 10)


@pytest.mark.parametrize("way", WAYS)
async def test_jitter_hides_neither_the_way_of_counting_nor_the_rate(way: str) -> None:
    diagnosis = await measured(enforcement=way, **JITTER)
    assert found(diagnosis, "enforcement", "list_rate") == (way, 10)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
async def test_ways_that_look_the_same_are_named_and_not_guessed(way: str) -> None:
    diagnosis = await measured(enforcement=way, rates={"list": 1}, begin=0.0, **JITTER)
    way_found, rate = found(diagnosis, "enforcement", "list_rate")
    assert rate == 1
    assert way_found == way or (
        way_found is None and way in note(diagnosis, "enforcement")
    )


async def test_a_server_without_limits_refuses_nothing() -> None:
    diagnosis = await measured(enforcement="off")
    assert diagnosis.value("enforcement") == "off"
    assert note(diagnosis, "enforcement") == "0 of 120 requests were refused"
    names = ("list_rate", "refusal_body", "retry_after_form", "retry_after")
    assert found(diagnosis, *names) == (None,) * 4


async def test_refusals_at_random_are_no_way_of_counting() -> None:
    diagnosis = await measured(Fault("list", "429", 0.5), enforcement="off")
    assert found(diagnosis, "enforcement", "list_rate") == (None, None)
    assert "no known way" in note(diagnosis, "enforcement")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ("none", None)),
        ({"retry_after": 3.0}, ("seconds", 3.0)),
        ({"retry_after": 90.0}, ("seconds", 90.0)),
        ({"retry_after": 5.0, "retry_after_form": "date"}, ("date", 5.0)),
    ],
)
async def test_the_form_of_a_refusal_is_found(
    options: dict[str, Any], expected: tuple[Value, ...]
) -> None:
    diagnosis = await measured(**options)
    assert found(diagnosis, "retry_after_form", "retry_after") == expected
    assert diagnosis.value("refusal_body") == "json"
    assert "Too many requests" in note(diagnosis, "refusal_body")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("soon", ("unreadable", None)),
        ("inf", ("unreadable", None)),
        ("-5", ("unreadable", None)),
        ("", ("unreadable", None)),
        ("0", ("seconds", 0)),
        ("1e3", ("seconds", 1000)),
        ("Wed, 21 Oct 2015 07:28:00 GMT", ("date", 0)),
    ],
)
async def test_an_odd_refusal_is_a_finding(
    header: str, expected: tuple[Value, ...]
) -> None:
    refusal = answer(429, "<html>slow down</html>", retry_after=header)
    async with scripted(refusal, limits=NO_LIMIT) as (edgegap, _):
        diagnosis = await doctor.limits(edgegap)
    assert found(diagnosis, "retry_after_form", "retry_after") == expected
    assert diagnosis.value("refusal_body") == "other"
    doctor.simulator_options(diagnosis)


@pytest.mark.parametrize("way", [*WAYS, "off"])
async def test_a_simulator_made_from_what_was_found_counts_alike(way: str) -> None:
    first = await measured(
        enforcement=way,
        rates={"list": 7},
        retry_after=4.0,
        retry_after_form="date",
    )
    options = dict(doctor.simulator_options(first))
    again = await measured(*options.pop("faults"), **options)
    names = [it.name for it in first.findings]
    assert found(again, *names) == found(first, *names)


async def test_a_session_that_limits_lists_is_refused_before_anything_is_sent() -> None:
    async with owning() as (edgegap, sim):
        with pytest.raises(ValueError, match="edgegap must not limit lists"):
            await doctor.limits(edgegap)
        assert sim.counts()["limits"]["list"]["arrivals"] == 0


async def test_an_error_ends_it() -> None:
    async with scripted(answer(500, {}), limits=NO_LIMIT) as (edgegap, server):
        with pytest.raises(EdgegapError):
            await doctor.limits(edgegap)
        assert len(server.arrivals) <= 20


async def test_a_cancelled_measurement_sends_nothing_more() -> None:
    async with owning(limits=NO_LIMIT) as (edgegap, sim):
        task = asyncio.create_task(doctor.limits(edgegap))
        await asyncio.sleep(3.0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        before = sim.counts()["limits"]["list"]["arrivals"]
        assert before > 0
        await asyncio.sleep(10)
        assert sim.counts()["limits"]["list"]["arrivals"] == before


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("enforcement", "leaky"),
        ("enforcement", True),
        ("list_rate", 0),
        ("list_rate", "10"),
        ("retry_after_form", "weeks"),
        ("retry_after", -1),
    ],
)
def test_a_value_that_there_is_not_is_named(name: str, value: Value) -> None:
    diagnosis = doctor.Diagnosis(
        checked="",
        target="",
        findings=(doctor.Finding(name=name, question="", found=value),),
    )
    with pytest.raises(ValueError, match=f"^{name} must"):
        doctor.simulator_options(diagnosis)
