"""The figures of benchmarks/deploy_storm.py are counted correctly, and its columns can be
selected.
"""

import asyncio
import subprocess
import sys
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest
from support.paths import ROOT
from support.plain_client import plain

from edgegap_async import DeployOutcomeUnknown, EdgegapError
from edgegap_async.simulator import Simulator

BENCHMARKS = ROOT / "benchmarks"
COLUMNS = ["rows without tags", "naive"]


@pytest.fixture
def storm(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return import_module("storm_figures")


def column(storm: ModuleType, closed: str = "at once") -> Any:
    return import_module("storm_columns").Column("any", (), closed=closed)


async def test_servers_that_nobody_has_and_nobody_names_are_forgotten(
    storm: ModuleType,
) -> None:
    sim = Simulator()
    record = storm.Record(callers=6, served=1.0)
    async with plain(sim) as api:
        made = [await api.deploy(tags=[f"caller-{n}", f"once-{n}"]) for n in range(5)]
        held, stopped, by_id, _, nobody = made
        record.hand_out(0, held)
        await api("DELETE", f"/v1/stop/{stopped}")
        record.leftovers = ((by_id, None), (None, "once-3"))
        found = storm.figures(column(storm), sim, record)
        assert found["forgotten"] == 1
        assert found["leftovers that run"] == 2
        assert found["handed out twice"] == found["stopped in use"] == 0
        assert found["started / handed out"] == 5
        # After the quarantine, a name does not help.
        assert storm.figures(column(storm, "after"), sim, record)["forgotten"] == 3
        await api("DELETE", f"/v1/stop/{nobody}")
        await api("DELETE", f"/v1/stop/{held}")
        found = storm.figures(column(storm), sim, record)
        assert (found["forgotten"], found["stopped in use"]) == (0, 1)


async def test_a_second_server_of_a_caller_and_a_second_owner_are_counted(
    storm: ModuleType,
) -> None:
    sim = Simulator()
    record = storm.Record(callers=3, served=1.0)
    async with plain(sim) as api:
        first, second, third = [
            await api.deploy(tags=[f"caller-{n}"]) for n in (0, 0, 1)
        ]
        record.hand_out(0, first)
        record.hand_out(1, third)
        found = storm.figures(column(storm), sim, record)
        assert found["handed out twice"] == found["forgotten"] == 1
        assert found["second servers of a caller"] == 1
        record.hand_out(2, third)
        assert storm.figures(column(storm), sim, record)["handed out twice"] == 2
        await api("DELETE", f"/v1/stop/{second}")
        found = storm.figures(column(storm), sim, record)
        assert (found["handed out twice"], found["forgotten"]) == (1, 0)
        # A match that has ended has no server any more.
        await api("DELETE", f"/v1/stop/{first}")
        record.release(first, sim)
        found = storm.figures(column(storm), sim, record)
        assert found["stopped in use"] == 1


async def test_errors_are_counted_by_kind(storm: ModuleType) -> None:
    sim = Simulator()
    record = storm.Record(callers=8, served=1.0)
    async with plain(sim) as api:
        for caller in range(3):
            record.hand_out(caller, await api.deploy(tags=[f"caller-{caller}"]))
        record.errors = [
            asyncio.CancelledError(),
            asyncio.CancelledError(),
            storm.GaveUp(),
            EdgegapError("typed"),
            KeyError("untyped"),
        ]
        found = storm.figures(column(storm), sim, record)
    assert found["untyped errors"] == 1
    assert found["cancelled"] == 2
    assert found["gave up"] == 1
    assert found["served, %"] == 50
    assert record.told(DeployOutcomeUnknown) == 0


class Stub:
    """A client of which caller 0 is served, and the others are not."""

    def __init__(self, request_id: str) -> None:
        self._request_id = request_id

    async def deploy(self, caller: int, timeout: float) -> str:
        if caller == 1:
            raise KeyError("untyped")
        if caller == 2:
            await asyncio.Event().wait()
        return self._request_id


async def test_a_call_that_does_not_end_is_counted_as_hung(storm: ModuleType) -> None:
    sim = Simulator()
    async with plain(sim) as api:
        request_id = await api.deploy(tags=["caller-0"])
        record = storm.Record(callers=3, served=1.0)
        callers = import_module("storm_callers").Callers(
            column(storm), sim, record, 0.0, 1
        )
        callers.start(Stub(request_id))
        await callers.wait(1000)
        callers.end()
        found = storm.figures(column(storm), sim, record)
    assert record.handed_out == [(0, request_id)]
    assert (found["hung calls"], found["untyped errors"]) == (1, 1)
    # Ends the call that hangs.
    await callers.wait(1)


@pytest.mark.full
@pytest.mark.slow
def test_selected_columns_are_printed_beside_the_naive_client() -> None:
    program = str(BENCHMARKS / "deploy_storm.py")
    run = subprocess.run(  # noqa: S603 (our own)
        [sys.executable, program, "--deploys", "60", "--columns", *COLUMNS],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stderr == ""
    head, _, *rows = run.stdout.splitlines()
    assert [cell.strip() for cell in head.split("|")[2:-1]] == COLUMNS
    table = {
        name.strip(): [cell.strip() for cell in cells]
        for _, name, *cells, _ in (row.split("|") for row in rows)
    }
    assert {
        "handed out twice",
        "forgotten",
        "untyped errors",
        "hung calls",
        "started / handed out",
        "served, %",
    } <= set(table)
    assert all(float(cell) > 0 for cell in table["naive: forgotten"])
