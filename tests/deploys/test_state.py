"""The life of a deploy: no transition that is not in the table, and nothing is forgotten
on any way through it.
"""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegap_async._records.state import (
    FINAL,
    MAY_HAVE_STARTED,
    TRANSITIONS,
    DeployRecord,
    DeployState,
    Event,
    next_state,
)

S, E = DeployState, Event
ENDINGS = (E.LEAVES, E.CLOSES, E.CUT_OFF)
# The session must stop such a server, or name it in `leftovers`.
NOTED = {S.STOPPING, S.UNKNOWN, S.SEARCHING, S.SENDING}
# Each state meets each event.
pytestmark = pytest.mark.all_combinations
each_way = pytest.mark.parametrize(
    ("wanted", "tagged"), list(product([True, False], repeat=2))
)


@each_way
@pytest.mark.parametrize("state", S)
def test_only_transitions_of_the_table_are_possible(
    state: S, wanted: bool, tagged: bool
) -> None:
    for event in E:
        if event in TRANSITIONS[state]:
            assert next_state(state, event, wanted=wanted, tagged=tagged) in S
            continue
        with pytest.raises(RuntimeError, match=f"can't take: {event.value}"):
            next_state(state, event, wanted=wanted, tagged=tagged)


@pytest.mark.parametrize(("state", "event"), list(product(S, ENDINGS)))
def test_a_caller_who_leaves_leaves_nothing_that_nobody_knows(
    state: S, event: E
) -> None:
    if state is S.RELEASED and event is E.LEAVES:
        # Nobody waits for it: the caller has it.
        return
    after = next_state(state, event, wanted=False)
    assert after in {*FINAL, *NOTED} or after is S.RELEASED is state
    if state in FINAL or state is S.QUEUED:
        assert after in FINAL


@pytest.mark.parametrize("state", S)
def test_a_final_state_takes_nothing_but_endings(state: S) -> None:
    if state is S.DISOWNED:
        # Its request may still be under way. Whatever becomes of it changes nothing.
        assert {*TRANSITIONS[state].items()} == {(event, state) for event in E}
        return
    assert ({*TRANSITIONS[state]} <= {*ENDINGS, E.CLAIMED}) == (state in FINAL)


@pytest.mark.parametrize("state", S)
def test_another_process_can_claim_whatever_is_not_over(state: S) -> None:
    after = next_state(state, E.CLAIMED)
    assert after is (state if state in FINAL else S.DISOWNED)


@pytest.mark.parametrize("event", [E.ANSWERED, E.FOUND])
@pytest.mark.parametrize("state", [S.SENDING, S.SEARCHING, S.QUEUED])
def test_an_unwanted_server_is_stopped(state: S, event: E) -> None:
    if event in TRANSITIONS[state]:
        assert next_state(state, event, wanted=False) is S.STOPPING
        assert next_state(state, event, wanted=True) is S.ACCEPTED


@pytest.mark.parametrize("event", [E.NOT_DONE, E.ABSENT])
def test_an_unwanted_deploy_is_not_sent_again(event: E) -> None:
    assert next_state(S.SEARCHING, event, wanted=False) is S.CANCELLED
    assert next_state(S.SEARCHING, event, wanted=True) is S.QUEUED


def test_a_deploy_without_a_tag_is_never_searched_for() -> None:
    for state, event in product(S, E):
        if event in TRANSITIONS[state] and state is not S.SEARCHING:
            after = next_state(state, event, tagged=False)
            assert after is not S.SEARCHING


@given(st.lists(st.sampled_from(E), max_size=40), st.booleans())
def test_any_walk_ends_with_a_server_that_somebody_has_or_knows(
    events: list[E], tagged: bool
) -> None:
    """What the API does and what the callers do, in any order that the table allows."""
    record = DeployRecord(tagged=tagged)
    finals: list[S] = []
    record.on_final = lambda: finals.append(record.state)
    for event in events:
        if event not in TRANSITIONS[record.state]:
            continue
        before = record.state
        record.on(event)
        if record.state is S.QUEUED:
            assert record.sent_at is None
        if before in FINAL:
            assert record.state is before
            continue
        if record.may_have_started:
            assert record.state in MAY_HAVE_STARTED
        if event in ENDINGS:
            assert not record.wanted
    assert finals == ([record.state] if record.state in FINAL else [])
    if record.state in TRANSITIONS and E.CLOSES in TRANSITIONS[record.state]:
        closed = record.on(E.CLOSES)
        assert closed in {*FINAL, *NOTED, S.RELEASED}
