"""The state of the shared ledger goes to bytes and back, between versions of the SDK."""

from math import inf
from typing import Any

import msgspec
import pytest
from support.ledger_reports import NAME, Ledger

from edgegap_async._shared import state as states
from edgegap_async._shared.messages import (
    Answers,
    RefusedRequest,
    decode_reply,
    decode_report,
    encode,
)

REFUSED = Answers(
    admitted=10,
    refused=9,
    waiting=2.0,
    all_refused=9,
    refusals=(RefusedRequest(0.1, 0.5),) * 9,
)
# Fields of a version to come, in each struct of the state.
PLACES = [
    (),
    ("tenants", "a"),
    ("tenants", "a", "shares", NAME),
    ("limits", NAME),
    ("limits", NAME, "refusals"),
    ("limits", "list", "adaptation"),
    ("limits", NAME, "measurement"),
    ("limits", NAME, "measurement", "refusals", 0),
]


def busy_ledger() -> Ledger:
    """A ledger whose state has a value everywhere."""
    ledger = Ledger()
    ledger.beat("b", foreground=5)
    ledger.pass_time(0.1)
    # A single tenant of this limit has no measurement.
    ledger.fold(ledger.report("c", foreground=40, answers=REFUSED, limits=("list",)))
    ledger.beat("a", foreground=40, answers=REFUSED)
    assert ledger.limit.measurement is not None
    return ledger


def at(raw: Any, place: tuple[str | int, ...]) -> Any:
    for key in place:
        raw = raw[key]
    return raw


def test_the_state_is_the_same_after_it_was_stored() -> None:
    state = busy_ledger().state
    assert state is not None
    data = states.encode(state)
    assert states.decode(data) == state
    assert states.encode(states.decode(data)) == data
    assert states.copy(state) == state
    assert states.copy(state) is not state


@pytest.mark.parametrize("place", PLACES)
def test_a_field_that_a_newer_version_wrote_is_written_again(
    place: tuple[str | int, ...],
) -> None:
    ledger = busy_ledger()
    assert ledger.state is not None
    raw = msgspec.msgpack.decode(states.encode(ledger.state))
    at(raw, place)["of-a-newer-version"] = {"some": ["value", -inf]}
    ledger.state = states.decode(msgspec.msgpack.encode(raw))
    ledger.beat("d", foreground=40)
    after = msgspec.msgpack.decode(states.encode(ledger.state))
    assert at(after, place)["of-a-newer-version"] == {"some": ["value", -inf]}
    assert b"unknown" not in states.encode(ledger.state)


def test_a_field_of_a_newer_version_goes_with_its_tenant() -> None:
    ledger = busy_ledger()
    assert ledger.state is not None
    raw = msgspec.msgpack.decode(states.encode(ledger.state))
    raw["tenants"]["a"]["of-a-newer-version"] = 1
    ledger.state = states.decode(msgspec.msgpack.encode(raw))
    ledger.beat("a", bye=True, keeps=0)
    assert b"of-a-newer-version" not in states.encode(ledger.state)


def test_fields_of_a_newer_version_change_no_decision() -> None:
    known, mixed = busy_ledger(), busy_ledger()
    assert mixed.state is not None
    raw = msgspec.msgpack.decode(states.encode(mixed.state))
    for place in PLACES:
        at(raw, place)["of-a-newer-version"] = 1
    mixed.state = states.decode(msgspec.msgpack.encode(raw))
    for ledger in (known, mixed):
        ledger.pass_time(0.4)
    assert known.beat("b", foreground=40) == mixed.beat("b", foreground=40)
    assert known.owned == mixed.owned


def test_a_report_of_a_newer_version_with_further_fields_is_read() -> None:
    report = Ledger().report("a", foreground=3)
    raw = msgspec.msgpack.decode(encode(report))
    raw["of-a-newer-version"] = raw["limits"][NAME]["of-a-newer-version"] = 1
    assert decode_report(msgspec.msgpack.encode(raw)) == report


def test_messages_are_the_same_after_they_were_sent() -> None:
    ledger = Ledger()
    report = ledger.report(
        "a", foreground=9, given=(0.5,), all_given=1, answers=REFUSED
    )
    assert decode_report(encode(report)) == report
    reply = ledger.fold(report)["a"]
    assert decode_reply(encode(reply)) == reply


def test_a_state_of_sixteen_tenants_is_small() -> None:
    ledger = Ledger()
    limits = (NAME, "status", "list", "other")
    for number in range(16):
        ledger.fold(ledger.report(f"host-{number}", foreground=40, limits=limits))
    assert ledger.state is not None
    assert len(states.encode(ledger.state)) <= 30_000
