"""What a dead process was responsible for is found and stopped, and nothing else is."""

import asyncio
import gc
import time
from collections import Counter
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path

import pytest
from support.journals import (
    LEASE,
    all_entries_of,
    entries_of,
    journal_at,
    journaling,
    leave_dead,
    locked,
    owners_of,
    shared_state,
    until,
)
from support.owning import deploy, forgotten, running

from edgegap_async import EdgegapSession
from edgegap_async._deploys.take_over import STEPS_OF_PART, Steps, TakeOvers
from edgegap_async._shared.entries import Entry, encode
from edgegap_async._shared.journal_store import Changes
from edgegap_async._shared.owners import Owners
from edgegap_async._shared.ownership import Claimed, Ownership
from edgegap_async._shared.store import StoreError
from edgegap_async.errors import DeploymentTerminated, DeployOutcomeUnknown
from edgegap_async.simulator import Fault, Simulator


async def started(sim: Simulator, count: int = 1) -> list[tuple[str, str]]:
    """Servers of a process without a journal: their IDs and tags."""
    async with EdgegapSession("made-up", base_url=sim.url) as edgegap:
        accepted = [await deploy(edgegap) for _ in range(count)]
    return [(it.request_id, it.once_tag or "") for it in accepted]


def session_of(sim: Simulator, url: str, **options: float) -> EdgegapSession:
    return EdgegapSession(
        "made-up", base_url=sim.url, shared=shared_state(url), **options
    )


def states_of(url: str) -> set[str]:
    return {entry.state for entry in all_entries_of(url)}


async def taken_over(url: str, name: str) -> None:
    # It was closed, so it is forgotten.
    await until(lambda: name not in owners_of(url).owners)


async def test_servers_of_a_dead_process_are_stopped_at_the_next_start(
    store_url: str,
) -> None:
    async with Simulator() as sim:
        (held, tag), (stopping, _), (other, _) = await started(sim, 3)
        name = leave_dead(
            store_url,
            Entry("held", time.time(), tag, held),
            Entry("stopping", time.time(), None, stopping),
        )
        async with session_of(sim, store_url):
            await taken_over(store_url, name)
            await asyncio.sleep(20)
            assert sim.stopped() == {held, stopping}
        assert other in sim.running()


async def test_a_line_of_the_log_names_what_is_taken_over(
    store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with Simulator() as sim:
        ((request_id, tag),) = await started(sim)
        entries = (
            Entry("held", time.time(), tag, request_id),
            Entry("pending", time.time(), "once-b"),
        )
        name = leave_dead(store_url, *entries)
        async with session_of(sim, store_url):
            await taken_over(store_url, name)
    (line,) = [it for it in caplog.records if "taking over" in it.getMessage()]
    assert (
        f"its servers to stop: {request_id}; its tags to search for: " in line.message
    )
    assert {request_id} == {*vars(line)["request_ids"]}
    assert {tag, "once-b"} == {*vars(line)["tags"]}


async def test_the_tags_of_a_dead_process_are_searched_for(store_url: str) -> None:
    async with Simulator() as sim:
        ((listed, tag),) = await started(sim)
        name = leave_dead(store_url, Entry("pending", time.time(), tag))
        async with session_of(sim, store_url) as edgegap:
            await taken_over(store_url, name)
            # The first call waits until the new ledger has listened.
            await asyncio.sleep(3)
            assert sim.stopped() == {listed}
        assert edgegap.leftovers == ()


@pytest.mark.full
@pytest.mark.slow
async def test_a_server_that_is_listed_late_is_stopped_too(store_url: str) -> None:
    faults = [Fault("list", "lag", 1.0, 20.0)]
    async with Simulator(faults=faults) as sim:
        ((late, tag),) = await started(sim)
        name = leave_dead(store_url, Entry("pending", time.time(), tag), sending=30.0)
        async with session_of(sim, store_url):
            await taken_over(store_url, name)
            await asyncio.sleep(15)
            assert sim.stopped() == set()
            await asyncio.sleep(15)
            assert sim.stopped() == {late}


@pytest.mark.slow
async def test_a_tag_is_searched_for_until_its_request_has_ended_for_certain(
    one_store_url: str,
) -> None:
    async with Simulator() as sim:
        await started(sim, 2)
        name = leave_dead(
            one_store_url, Entry("pending", time.time(), "once-a"), sending=30.0
        )
        async with session_of(sim, one_store_url):
            await taken_over(one_store_url, name)
            await asyncio.sleep(25)
            assert [it.state for it in entries_of(one_store_url)] == ["pending"]
            await asyncio.sleep(15)
            await until(
                lambda: [it.state for it in entries_of(one_store_url)] == ["quarantine"]
            )


@pytest.mark.slow
async def test_a_server_that_turns_up_within_the_quarantine_is_stopped(
    store_url: str,
) -> None:
    faults = [Fault("list", "lag", 1.0, 200.0)]
    async with Simulator(faults=faults) as sim:
        ((late, tag),) = await started(sim)
        name = leave_dead(store_url, Entry("quarantine", time.time(), tag))
        async with session_of(sim, store_url):
            await taken_over(store_url, name)
            assert [it.tag for it in entries_of(store_url)] == [tag]
            await asyncio.sleep(150)
            assert sim.stopped() == set()
            await asyncio.sleep(70)
            assert sim.stopped() == {late}


@pytest.mark.full
@pytest.mark.slow
async def test_after_the_quarantine_nothing_is_left(one_store_url: str) -> None:
    async with Simulator() as sim:
        name = leave_dead(
            one_store_url,
            Entry("pending", time.time(), "once-a"),
            Entry("quarantine", time.time(), "once-b"),
        )
        async with session_of(sim, one_store_url):
            await taken_over(one_store_url, name)
            await asyncio.sleep(60)
            await until(
                lambda: (
                    [it.state for it in entries_of(one_store_url)] == ["quarantine"] * 2
                )
            )
            # No list of an empty account proves anything.
            await asyncio.sleep(620)
            await until(lambda: entries_of(one_store_url) == [])


async def test_short_sessions_one_after_the_other_leave_nothing_of_those_before(
    store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with Simulator() as sim:
        for _ in range(3):
            async with session_of(sim, store_url) as edgegap:
                await deploy(edgegap)
                await until(lambda: states_of(store_url) <= {"checked"})
                await asyncio.sleep(1)
            assert edgegap.leftovers == ()
            assert len(owners_of(store_url).owners) <= 1
        assert sim.stopped() == set()
        assert "may still be running" not in caplog.text
        assert not [it for it in caplog.records if it.levelname == "WARNING"]


async def test_a_second_server_is_found_by_a_session_after_several_short_ones(
    store_url: str,
) -> None:
    # It is listed after the short ones have looked for it.
    faults = [Fault("list", "lag", 1.0, 15.0)]
    async with Simulator(faults=faults) as sim:
        ((second, tag),) = await started(sim)
        name = leave_dead(
            store_url, Entry("checked", time.time(), tag, except_ids=("first",))
        )
        for seconds in (1, 1, 30):
            async with session_of(sim, store_url):
                await taken_over(store_url, name)
                (name,) = owners_of(store_url).owners
                assert states_of(store_url) == {"checked"}
                await asyncio.sleep(seconds)
        assert sim.stopped() == {second}


@pytest.mark.parametrize(
    ("state", "age", "left"),
    [
        ("checked", 100.0, True),
        ("checked", 130.0, False),
        ("quarantine", 340.0, True),
        ("quarantine", 370.0, False),
        # Nobody has searched for it since.
        ("pending", 86_400.0, True),
        # On another machine, whose clock is wrong.
        ("quarantine", -86_400.0, True),
    ],
)
async def test_the_time_of_a_tag_does_not_begin_again_with_each_process(
    store_url: str, state: str, age: float, left: bool
) -> None:
    async with Simulator() as sim:
        # A list that shows one of them proves that it hides no other one.
        await started(sim)
        since = time.time() - age
        entry = Entry(state, since, "once-a")  # type: ignore[arg-type]
        name = leave_dead(store_url, entry)
        async with session_of(sim, store_url) as edgegap:
            for _ in range(2):
                await deploy(edgegap)
            await taken_over(store_url, name)
            await asyncio.sleep(4)

            def entries() -> list[Entry]:
                return [it for it in all_entries_of(store_url) if it.tag == "once-a"]

            if not left:
                await until(lambda: not entries())
            found = entries()
            assert bool(found) is left
            if state != "pending":
                assert all(it.since == pytest.approx(since) for it in found)


@pytest.mark.parametrize("state", ["pending", "stopping", "quarantine", "checked"])
async def test_a_server_that_was_handed_out_is_not_stopped(
    store_url: str, state: str
) -> None:
    # The second one starts after the session has looked for it the last time.
    faults = [Fault("deploy", "twice-first", seconds=50.0, times=1)]
    async with Simulator(faults=faults) as sim:
        # A proxy has started two servers under one tag. One of them was handed out.
        ((handed_out, tag),) = await started(sim)
        await asyncio.sleep(60)
        assert sim.stopped() == set()
        (second,) = {*sim.deployed()} - {handed_out}
        entry = Entry(
            state,  # type: ignore[arg-type]
            time.time(),
            tag,
            second if state == "stopping" else None,
            except_ids=(handed_out,),
        )
        name = leave_dead(store_url, entry)
        async with session_of(sim, store_url):
            await taken_over(store_url, name)
            await asyncio.sleep(100)
            assert sim.stopped() == {second}


async def test_a_server_that_this_session_was_given_is_not_stopped(
    store_url: str,
) -> None:
    async with Simulator() as sim:
        ((adopted, tag),) = await started(sim)
        async with session_of(sim, store_url) as edgegap:
            await edgegap.deployments.wait_until_ready(adopted)
            name = leave_dead(store_url, Entry("pending", time.time(), tag))
            await taken_over(store_url, name)
            await asyncio.sleep(30)
            assert sim.stopped() == set()


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize("state", ["held", "pending", "stopping"])
async def test_a_server_that_another_living_process_has_adopted_is_not_stopped(
    store_url: str, state: str
) -> None:
    async with Simulator() as sim:
        (adopted, tag), (other, other_tag) = await started(sim, 2)
        # It takes nothing over within the test. Sessions with one token need an equal one.
        slow = EdgegapSession(
            "another", base_url=sim.url, shared=shared_state(store_url, 600.0)
        )
        async with slow, slow.deployments.adopt(adopted) as server:
            await until(lambda: states_of(store_url) == {"held"})
            request_id = None if state == "pending" else adopted
            name = leave_dead(
                store_url,
                Entry(state, time.time(), tag, request_id),  # type: ignore[arg-type]
                Entry("held", time.time(), other_tag, other),
            )
            async with session_of(sim, store_url):
                await taken_over(store_url, name)
                await asyncio.sleep(30)
                assert sim.stopped() == {other}
            server.keep()
        assert sim.stopped() == {other}


async def test_a_server_that_a_dead_process_had_adopted_is_stopped(
    store_url: str,
) -> None:
    async with Simulator() as sim:
        ((adopted, tag),) = await started(sim)
        names = [
            leave_dead(store_url, Entry("held", time.time(), None, adopted)),
            leave_dead(store_url, Entry("held", time.time(), tag, adopted)),
        ]
        async with session_of(sim, store_url):
            for name in names:
                await taken_over(store_url, name)
            await asyncio.sleep(30)
            assert sim.stopped() == {adopted}


async def test_entries_that_cannot_be_read_are_left_out(store_url: str) -> None:
    async with Simulator() as sim:
        ((held, _),) = await started(sim)
        with journal_at(store_url) as journal:
            owner = Ownership(journal, 1.0, 0.0)
            entry = encode(Entry("held", time.time(), None, held))
            owner.leave({"1": b'{"state":"of a newer version"}', "2": entry}, [])
        async with session_of(sim, store_url):
            await taken_over(store_url, owner.name)
            await asyncio.sleep(5)
            assert sim.stopped() == {held}


@pytest.mark.parametrize("failures", [1, 3])
async def test_entries_that_could_not_be_removed_after_a_take_over_are_removed_later(
    store_url: str, failures: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, release = [StoreError("no answer")] * failures, Ownership.release

    def failing(ownership: Ownership, names: list[str]) -> None:
        if left:
            raise left.pop()
        release(ownership, names)

    monkeypatch.setattr(Ownership, "release", failing)
    async with Simulator() as sim:
        ((held, _),) = await started(sim)
        name = leave_dead(store_url, Entry("held", time.time(), None, held))
        async with session_of(sim, store_url):
            await taken_over(store_url, name)
            assert not left
            await asyncio.sleep(5)
            await until(lambda: all_entries_of(store_url) == [])
        assert sim.stopped() == {held}


async def test_one_of_several_sessions_takes_over(store_url: str) -> None:
    async with Simulator() as sim:
        servers = await started(sim, 3)
        async with (
            session_of(sim, store_url) as first,
            session_of(sim, store_url),
            session_of(sim, store_url),
        ):
            await deploy(first)
            entries = [Entry("held", time.time(), tag, it) for it, tag in servers]
            name = leave_dead(store_url, *entries)
            await taken_over(store_url, name)
            await asyncio.sleep(20)
            assert sim.stopped() == {it for it, _ in servers}
            # Each once.
            assert sim.arrivals("other") == 3


# This process is taken for dead, though it was only paused.


def claim_all(url: str) -> list[str]:
    """Claim all owners, as a process does that takes them for dead."""

    def change(
        owners: Owners | None, clock: float
    ) -> tuple[Owners, Changes, list[str]]:
        assert owners
        changes = Changes()
        for name, owner in owners.owners.items():
            owner.epoch += 1
            owner.holder = "another process"
            owner.renewed_at = owners.at + 1e6
            changes.claimed[name] = owner.epoch
        return owners, changes, [*owners.owners]

    with journal_at(url) as journal:
        return journal.change(change)


async def test_a_block_whose_server_was_claimed_cannot_keep_it_and_does_not_stop_it(
    store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with journaling(store_url) as (edgegap, sim):
        async with running(edgegap) as server:
            claim_all(store_url)
            await until(lambda: "another process has taken over" in caplog.text)
            with pytest.raises(DeploymentTerminated, match="another process has taken"):
                server.keep()
        await asyncio.sleep(30)
        assert sim.stopped() == set()
        with pytest.raises(DeploymentTerminated, match="another process has taken"):
            async with edgegap.deployments.adopt(server.request_id):
                pass
    assert edgegap.leftovers == ()
    assert sim.stopped() == set()


async def test_a_server_that_was_kept_just_before_it_is_known_to_be_claimed_is_refused(
    store_url: str,
) -> None:
    shared = shared_state(store_url, 600.0)
    async with journaling(store_url, shared=shared) as (edgegap, sim):

        async def keep() -> None:
            async with running(edgegap) as server:
                claim_all(store_url)
                server.keep()

        with pytest.raises(DeploymentTerminated, match="another process has taken"):
            await keep()
        assert sim.stopped() == set()


async def test_a_deploy_that_was_claimed_is_not_handed_out(store_url: str) -> None:
    shared = shared_state(store_url, 600.0)
    faults = [Fault("deploy", "late", times=1, seconds=2.0)]
    async with journaling(store_url, *faults, shared=shared) as (edgegap, sim):
        task = asyncio.ensure_future(deploy(edgegap))
        await until(sim.deployed)
        claim_all(store_url)
        with pytest.raises(DeploymentTerminated, match="another process has taken"):
            await task
        # The process that has claimed it does that.
        await asyncio.sleep(60)
        assert sim.stopped() == set()


@pytest.mark.full
@pytest.mark.slow
async def test_a_deploy_that_was_claimed_is_not_sent_again(
    one_store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with journaling(one_store_url, Fault("deploy", "hang-before")) as (
        edgegap,
        sim,
    ):
        task = asyncio.ensure_future(deploy(edgegap, timeout=None))
        await until(lambda: sim.arrivals("deploy"))
        claim_all(one_store_url)
        with pytest.raises(DeployOutcomeUnknown, match="another process has taken"):
            await task
        assert sim.arrivals("deploy") == 1
    gc.collect()
    assert "never retrieved" not in caplog.text


async def test_after_a_claim_the_session_goes_on_as_another_owner(
    store_url: str,
) -> None:
    async with journaling(store_url) as (edgegap, sim):
        async with running(edgegap):
            (old,) = claim_all(store_url)
            async with running(edgegap) as second:
                await until(lambda: len(owners_of(store_url).owners) == 2)
                await until(
                    lambda: (
                        second.request_id
                        in {it.request_id for it in entries_of(store_url)}
                    )
                )
                assert old in owners_of(store_url).owners
            assert sim.stopped() == {second.request_id}
        accepted = await deploy(edgegap)
    assert forgotten(sim, [accepted.request_id, sim.deployed()[0]]) == set()


async def test_outcomes_that_were_claimed_are_errors(
    store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    from edgegap_async import DeployRequest

    requests = [DeployRequest("game", "1", users=["203.0.113.7"])] * 3
    async with journaling(store_url) as (edgegap, sim):
        async with edgegap.deployments.deploy_many(requests) as outcomes:
            first = await anext(outcomes)
            assert first.deployment
            await until(lambda: len(entries_of(store_url)) == 3)
            claim_all(store_url)
            await until(lambda: "another process has taken over" in caplog.text)
            rest = [it async for it in outcomes]
        assert [type(it.error) for it in rest] == [DeploymentTerminated] * 2
        assert sim.stopped() == set()


# What a process may hand out while nobody knows whether its entries were claimed.


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize("back", [True, False])
async def test_after_its_lease_a_server_is_handed_out_only_once_the_store_has_confirmed_it(
    back: bool, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'edgegap.db'}"
    faults = [Fault("deploy", "hang-after", times=1)]
    async with journaling(url, *faults, attempt_timeout=30.0) as (edgegap, sim):
        call = asyncio.ensure_future(deploy(edgegap, timeout=8.0))
        await until(lambda: sim.deployed())
        assert entries_of(url)
        with locked(url):
            # Its lease ends meanwhile, in real time.
            await until(lambda: edgegap._deploys._journal.is_over)  # type: ignore[union-attr]
            await asyncio.sleep(4)
            assert not call.done()
            if not back:
                with pytest.raises(DeployOutcomeUnknown, match="can't be reached"):
                    await call
        if back:
            accepted = await call
            assert {accepted.request_id} == {*sim.deployed()}
            assert sim.stopped() == set()
        else:
            await until(lambda: sim.stopped() == {*sim.deployed()})


def claim_dead(url: str) -> list[Claimed]:
    """Claim what dead processes have left, once there is something."""
    with journal_at(url) as journal:
        other = Ownership(journal, LEASE, 0.0)
        end = time.monotonic() + 10
        while time.monotonic() < end:
            if claimed := other.beat():
                return claimed
            time.sleep(0.1)
    return []


@pytest.mark.slow
async def test_a_loop_that_is_blocked_for_too_long_counts_as_dead(
    one_store_url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("edgegap_async._deploys.journal.LONGEST_BLOCK", 0.3)
    async with journaling(one_store_url) as (edgegap, sim):
        async with running(edgegap) as server:
            await until(lambda: entries_of(one_store_url))
            # The loop of the session is blocked meanwhile.
            (claimed,) = claim_dead(one_store_url)
            assert server.request_id.encode() in claimed.entries[0]
            await until(lambda: "another process has taken over" in caplog.text)
        assert sim.stopped() == set()


@pytest.mark.full
@pytest.mark.slow
async def test_a_process_with_many_servers_that_does_nothing_keeps_them(
    one_store_url: str,
) -> None:
    async with (
        journaling(one_store_url) as (edgegap, sim),
        session_of(sim, one_store_url),
        AsyncExitStack() as stack,
    ):
        for _ in range(50):
            await stack.enter_async_context(running(edgegap))
        # In the clock of the session, and in that of the store.
        await asyncio.sleep(300)
        await asyncio.to_thread(time.sleep, 3.5)
        assert sim.stopped() == set()
        assert len([it for it in entries_of(one_store_url) if it.state == "held"]) == 50


async def test_many_entries_of_a_dead_process_are_taken_over_in_parts(
    one_store_url: str,
) -> None:
    # Ten times the steps of a part: each entry is decoded, and then acted on.
    entries = [
        *(Entry("held", time.time(), None, f"{n:012x}") for n in range(300)),
        *(Entry("pending", time.time(), f"once-{n:015x}") for n in range(200)),
    ]
    async with Simulator() as sim:
        name = leave_dead(one_store_url, *entries)
        async with session_of(sim, one_store_url, cleanup_timeout=1.0):
            stops = [0]
            # Each time round is one turn of the loop.
            while name in owners_of(one_store_url).owners or stops[-1] < 300:
                stops.append(stops_in_progress())
                await asyncio.sleep(0)
            states = Counter(entry.state for entry in entries_of(one_store_url))
    grown = [after - before for before, after in pairwise(stops)]
    assert max(grown) <= STEPS_OF_PART
    assert states == {"stopping": 300, "pending": 200}


def stops_in_progress() -> int:
    return sum(it.get_name().startswith("edgegap stop") for it in asyncio.all_tasks())


@pytest.mark.parametrize("cleanup_timeout", [0.0, 0.5])
async def test_a_session_that_is_closed_in_the_middle_of_a_take_over_leaves_the_rest(
    one_store_url: str, cleanup_timeout: float
) -> None:
    async with Simulator() as sim:
        servers = [f"{n:012x}" for n in range(3 * STEPS_OF_PART)]
        leave_dead(
            one_store_url, *(Entry("held", time.time(), None, it) for it in servers)
        )
        async with session_of(
            sim, one_store_url, cleanup_timeout=cleanup_timeout
        ) as edgegap:
            # The first part that stops servers.
            while not stops_in_progress():  # noqa: ASYNC110 (each turn is looked at)
                await asyncio.sleep(0)
        left = {entry.request_id for entry in entries_of(one_store_url)}
        assert left == {*servers}
        # Nothing was begun after that part.
        assert len(edgegap.leftovers) <= STEPS_OF_PART


@pytest.mark.slow
async def test_a_session_that_was_claimed_in_the_middle_of_a_take_over_leaves_the_rest(
    one_store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with Simulator() as sim:
        servers = [f"{n:012x}" for n in range(8 * STEPS_OF_PART)]
        leave_dead(
            one_store_url, *(Entry("held", time.time(), None, it) for it in servers)
        )
        async with session_of(sim, one_store_url, cleanup_timeout=0.0) as edgegap:
            # The first part that stops servers is written.
            while all(it.state != "stopping" for it in entries_of(one_store_url)):  # noqa: ASYNC110
                await asyncio.sleep(0)
            claim_all(one_store_url)
            begun = stops_in_progress()
            await until(lambda: "another process has taken over" in caplog.text)
            # More than the rest would take.
            await asyncio.sleep(2.0)
        # A part may be under way, and another one until the claim is noticed.
        assert len(edgegap.leftovers) <= begun + 2 * STEPS_OF_PART < len(servers)


async def test_a_failure_in_a_take_over_is_logged_and_the_next_one_is_done(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def steps(count: int, *, fails: bool = False) -> Steps:
        for _ in range(count):
            yield
        if fails:
            raise ValueError("as if a part crashed")
        return True

    due = TakeOvers()
    for name, those in {"fails": steps(3, fails=True), "works": steps(2)}.items():
        due.add(Claimed(name, "host", 7, 0.0, ()), those)
    assert due.do_part() == ["works"]
    assert not due
    assert "taking over from process 7 failed" in caplog.text
