"""The states of a deploy: no transition that is not in the table."""

from itertools import product

import pytest

from edgegap_async._deploys.state import TRANSITIONS, DeployProgress, DeployState
from edgegap_async._transport.request import Withdrawn

PAIRS = [pair for pair in product(DeployState, DeployState) if pair[0] is not pair[1]]


@pytest.mark.parametrize(("before", "after"), PAIRS)
def test_only_transitions_of_the_table_are_possible(
    before: DeployState, after: DeployState
) -> None:
    progress = DeployProgress()
    progress.state = before
    if after in TRANSITIONS[before]:
        progress.move(after)
        assert progress.state is after
    else:
        with pytest.raises(RuntimeError, match="can't go from"):
            progress.move(after)
        assert progress.state is before


def test_a_deploy_that_goes_back_to_the_queue_has_started_nothing() -> None:
    progress = DeployProgress()
    progress.sending(5.0)
    assert (progress.may_have_started, progress.sent_at) == (True, 5.0)
    progress.retrying()
    assert (progress.may_have_started, progress.sent_at) == (False, None)


def test_a_withdrawn_deploy_is_neither_sent_nor_retried() -> None:
    progress = DeployProgress()
    progress.abandon()
    with pytest.raises(Withdrawn):
        progress.sending(5.0)
    assert progress.state is DeployState.QUEUED


def test_a_cancellation_leaves_the_outcome_open_only_if_a_request_was_sent() -> None:
    unsent, sent = DeployProgress(), DeployProgress()
    for progress, was_sent in ((unsent, False), (sent, True)):
        progress.sending(5.0)
        progress.interrupted(sent=was_sent)
        progress.ended(sent=was_sent)
    assert (unsent.state, sent.state) == (DeployState.QUEUED, DeployState.UNKNOWN)
