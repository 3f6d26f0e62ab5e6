"""Which webhook is due when, as a property of all sequences of operations."""

from datetime import UTC, datetime
from math import inf

from hypothesis import given
from hypothesis import strategies as st
from support.receiving import EVENTS

from edgegap_async.models.deploy import DeployRequest, Webhook
from edgegap_async.simulator.world.clock import Clock
from edgegap_async.simulator.world.deployment import Deployment
from edgegap_async.simulator.world.options import WorldOptions
from edgegap_async.simulator.world.webhook_schedule import DueWebhook
from edgegap_async.simulator.world.world import World

DAY = 24 * 3600
TIMES = st.sampled_from([0.0, 0.5, 1.0, 2.5, 4.0, DAY, DAY + 2.0])
# Never the time at which a deployment becomes READY: there both states are right.
STOP_TIMES = TIMES.map(lambda time: time + 0.25)
# Operations at a time: a deploy with its seconds until READY, a check for due webhooks,
# or a stop of one of the deployments.
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(TIMES, st.just("deploy"), TIMES),
        st.tuples(TIMES, st.just("check"), st.just(0.0)),
        st.tuples(STOP_TIMES, st.just("stop"), st.integers(0, 3)),
    ),
    max_size=15,
)


@given(operations=OPERATIONS, error_share=st.sampled_from([0, 0.5, 1]))
def test_each_webhook_is_due_once_and_matches_the_state(
    operations: list[tuple[float, str, float]], error_share: float
) -> None:
    ready_after = 0.0
    world = World(
        WorldOptions(ready_after=lambda: ready_after, error_share=error_share),
        0,
        Clock(datetime.now(UTC)),
    )
    hooks = {
        f"webhook_on_{event}": Webhook(f"http://127.0.0.1/{event}") for event in EVENTS
    }
    body = DeployRequest("my-app", "v1", ("75.28.35.192",), **hooks)
    made: list[Deployment] = []
    due: list[DueWebhook] = []
    for now, operation, value in sorted(operations):
        if operation == "deploy":
            ready_after = value
            made.append(world.deploy(body, now))
        elif operation == "check":
            due += world.webhook_schedule.pop_due(now)
        elif value < len(made) and now < made[int(value)].terminated_at:
            world.stop(made[int(value)], now)
    due += world.webhook_schedule.pop_due(5 * DAY)

    assert world.webhook_schedule.next_due() == inf
    events = [(each.deployment, each.url.rpartition("/")[2]) for each in due]
    for webhook, (deployment, event) in zip(due, events, strict=True):
        assert deployment.states(webhook.when)[0] == event.upper()
    starts = [
        (webhook.when, it.number)
        for webhook, (it, event) in zip(due, events, strict=True)
        if event != "terminated"
    ]
    assert starts == sorted(starts)
    for it in made:
        started = (
            ["error" if it.fails else "ready"]
            if it.terminating_at > it.ready_or_failed_at
            else []
        )
        ended = ["terminated"] if it.terminated_at < inf else []
        assert [
            event for deployment, event in events if deployment is it
        ] == started + ended
