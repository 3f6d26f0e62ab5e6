"""The outcomes of `deploy_many` say how long each request waited for its turn, and how
long the API took.
"""

import pytest
from support.deploy_many import outcomes_of, requests
from support.owning import owning

from edgegap_async import Limits, ReadyTimeout
from edgegap_async.simulator import Fault

KNOWN = {"ready_after": (20.0, 20.0), "delay_after": (0.3, 0.3)}


@pytest.mark.full
@pytest.mark.slow
async def test_the_wait_for_the_limit_is_apart_from_the_time_of_the_api() -> None:
    async with owning(options=KNOWN) as (edgegap, _):
        outcomes = await outcomes_of(edgegap, requests(100))
    waits = sorted(outcome.queued or 0.0 for outcome in outcomes)
    assert waits[0] == pytest.approx(0, abs=0.05)
    assert 2.0 < waits[-1] < 4.0
    for outcome in outcomes:
        assert outcome.accepted_after == pytest.approx(0.3, abs=0.05)
        assert outcome.ready_after == pytest.approx(20, abs=1.5)
        assert outcome.ready_after == outcome.seconds


async def test_a_wait_for_max_running_counts_as_queued() -> None:
    async with owning(options=KNOWN) as (edgegap, _):
        waits: list[float] = []
        async with edgegap.deployments.deploy_many(
            requests(2), max_running=1
        ) as outcomes:
            async for outcome in outcomes:
                assert outcome.deployment
                waits.append(outcome.queued or 0.0)
                await edgegap.deployments.ensure_stopped(outcome.deployment.request_id)
    assert waits[0] < 1
    assert waits[1] > 20


async def test_a_refused_request_is_queued_until_it_is_sent_again() -> None:
    fault = Fault("deploy", "429", times=1)
    async with owning(fault, options=KNOWN) as (edgegap, _):
        (outcome,) = await outcomes_of(edgegap, requests(1))
    assert outcome.queued is not None
    assert outcome.queued > 0.3
    assert outcome.accepted_after == pytest.approx(0.3, abs=0.05)


async def test_what_was_not_reached_has_no_time() -> None:
    async with owning(options=KNOWN) as (edgegap, _):
        (late,) = await outcomes_of(edgegap, requests(1), ready_timeout=5.0)
        (accepted,) = await outcomes_of(edgegap, requests(1), until_ready=False)
        (invalid,) = await outcomes_of(edgegap, [object()])
    assert isinstance(late.error, ReadyTimeout)
    assert (late.accepted_after is None, late.ready_after) == (False, None)
    assert (accepted.accepted_after is None, accepted.ready_after) == (False, None)
    assert (invalid.queued, invalid.accepted_after, invalid.ready_after) == (None,) * 3


async def test_a_refusal_for_good_was_queued_and_never_accepted() -> None:
    fault = Fault("deploy", "422", times=1)
    async with owning(fault, options=KNOWN, limits=Limits(burst=1)) as (edgegap, _):
        (outcome,) = await outcomes_of(edgegap, requests(1))
    assert outcome.error
    assert outcome.queued == pytest.approx(0, abs=0.05)
    assert outcome.accepted_after is None
