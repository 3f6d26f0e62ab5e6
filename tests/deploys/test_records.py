"""The records of a session are bounded, however many it must keep."""

import pytest

from edgegap_async._records.records import Records
from edgegap_async._records.state import DeployRecord, DeployState

MOST = 50


class Counted(DeployRecord):
    """A record that counts how often the state of any of them is read."""

    __slots__ = ("_state",)
    reads = 0

    @property
    def state(self) -> DeployState:  # type: ignore[override]
        Counted.reads += 1
        return self._state

    @state.setter
    def state(self, value: DeployState) -> None:
        self._state = value


@pytest.fixture(autouse=True)
def few_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgegap_async._records.records.MOST_RECORDS", MOST)
    monkeypatch.setattr(Counted, "reads", 0)


def add(records: Records, count: int, state: DeployState, name: str) -> None:
    for number in range(count):
        records.add(f"{name}{number}", Counted(state))


def test_the_oldest_records_that_need_not_be_kept_are_evicted() -> None:
    records = Records()
    add(records, 10, DeployState.LEASED, "held")
    add(records, 2 * MOST, DeployState.RELEASED, "handed")
    assert all(records.get(f"held{number}") for number in range(10))
    assert len(records.alive()) == MOST
    assert records.get("handed0") is None
    assert records.get(f"handed{2 * MOST - 1}")


@pytest.mark.parametrize("state", [DeployState.LEASED, DeployState.STOPPING])
def test_many_records_that_must_be_kept_cost_no_look_at_all_of_them_each_time(
    state: DeployState,
) -> None:
    records = Records()
    add(records, 40 * MOST, state, "due")
    assert Counted.reads < 20 * 40 * MOST
    assert len(records.in_state(state)) == 40 * MOST


def test_records_are_evicted_again_once_they_need_not_be_kept() -> None:
    records = Records()
    add(records, 4 * MOST, DeployState.STOPPING, "due")
    for record in records.in_state(DeployState.STOPPING):
        record.state = DeployState.ENDED
    add(records, 2 * MOST, DeployState.RELEASED, "handed")
    assert len(records.alive()) == MOST
    assert records.get("due0") is None
