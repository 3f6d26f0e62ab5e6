"""Which webhook is due when, as a property of any life: no server, no clock."""

from datetime import UTC, datetime
from math import inf

from hypothesis import given
from hypothesis import strategies as st
from support.receiving import EVENTS

from edgegap_async.models.deploy import DeployRequest, Webhook
from edgegap_async.simulator.world.clock import Clock
from edgegap_async.simulator.world.deployment import Deployment
from edgegap_async.simulator.world.webhook_schedule import Notice
from edgegap_async.simulator.world.world import Choices, World

DAY = 24 * 3600
TIMES = st.sampled_from([0.0, 0.5, 1.0, 2.5, 4.0, DAY, DAY + 2.0])
# never the moment at which one is ready, which is READY and not
STOP_TIMES = TIMES.map(lambda time: time + 0.25)
# What is done at a time: a deploy that is ready so many seconds later, a look for what
# is due, the stop of one of them.
DEEDS = st.lists(
    st.one_of(
        st.tuples(TIMES, st.just("deploy"), TIMES),
        st.tuples(TIMES, st.just("look"), st.just(0.0)),
        st.tuples(STOP_TIMES, st.just("stop"), st.integers(0, 3)),
    ),
    max_size=15,
)


@given(deeds=DEEDS, error_share=st.sampled_from([0, 0.5, 1]))
def test_each_is_due_once_and_tells_the_state_that_it_is_for(
    deeds: list[tuple[float, str, float]], error_share: float
) -> None:
    ready_after = 0.0
    world = World(
        Choices(ready_after=lambda: ready_after, error_share=error_share),
        0,
        Clock(datetime.now(UTC)),
    )
    hooks = {
        f"webhook_on_{event}": Webhook(f"http://127.0.0.1/{event}") for event in EVENTS
    }
    body = DeployRequest("my-app", "v1", ("75.28.35.192",), **hooks)
    made: list[Deployment] = []
    notices: list[Notice] = []
    for now, deed, value in sorted(deeds):
        if deed == "deploy":
            ready_after = value
            made.append(world.deploy(body, now))
        elif deed == "look":
            notices += world.notices.due(now)
        elif value < len(made) and now < made[int(value)].ends:
            world.stop(made[int(value)], now)
    notices += world.notices.due(5 * DAY)

    assert world.notices.next() == inf
    told = [(notice.deployment, notice.url.rpartition("/")[2]) for notice in notices]
    for notice, (deployment, event) in zip(notices, told, strict=True):
        assert deployment.states(notice.when)[0] == event.upper()
    starts = [
        (notice.when, it.number)
        for notice, (it, event) in zip(notices, told, strict=True)
        if event != "terminated"
    ]
    assert starts == sorted(starts)
    for it in made:
        settled = ["error" if it.fails else "ready"] if it.leaves > it.settles else []
        ended = ["terminated"] if it.ends < inf else []
        assert [
            event for deployment, event in told if deployment is it
        ] == settled + ended
