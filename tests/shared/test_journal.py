"""The journal of one session: an entry for what it is responsible for, and for nothing
else.
"""

import asyncio
import gc
import logging
import statistics
import time
import weakref
from pathlib import Path
from typing import Any

import pytest
from support.journals import (
    entries_of,
    journal_at,
    journaling,
    locked,
    owners_of,
    shared_state,
    until,
    warned_of,
)
from support.owning import PLAYERS, deploy, forgotten, running
from support.stores import Valkey

from edgegap_async import (
    DeployRequest,
    EdgegapSession,
    EnvironmentVariable,
    SharedState,
)
from edgegap_async._deploys.journal import PATIENCE
from edgegap_async.errors import (
    DeadlineExceeded,
    DeployOutcomeUnknown,
    JournalUnavailable,
)
from edgegap_async.simulator import Fault, Simulator


@pytest.mark.slow
async def test_a_deploy_is_in_the_journal_before_it_is_sent_and_not_once_it_is_handed_out(
    store_url: str,
) -> None:
    async with journaling(store_url, Fault("deploy", "hang-before", times=1)) as (
        edgegap,
        sim,
    ):
        task = asyncio.ensure_future(deploy(edgegap))
        await until(lambda: sim.arrivals("deploy"))
        (entry,) = entries_of(store_url)
        assert (entry.state, entry.request_id, entry.where) == (
            "pending",
            None,
            "cloud",
        )
        assert entry.tag
        assert entry.tag.startswith("once-")
        assert abs(entry.since - time.time()) < 60
        accepted = await task
        assert entries_of(store_url)[0].tag == entry.tag != accepted.once_tag
        assert [it.state for it in entries_of(store_url)] == ["quarantine"]
        assert forgotten(sim, [accepted.request_id]) == set()


async def test_a_server_of_a_block_is_in_the_journal_as_long_as_the_block_lasts(
    store_url: str,
) -> None:
    async with journaling(store_url) as (edgegap, _):
        async with running(edgegap) as server:
            (entry,) = entries_of(store_url)
            assert (entry.state, entry.request_id) == ("held", server.request_id)
        await until(lambda: entries_of(store_url) == [])


async def test_a_server_that_was_kept_is_not_in_the_journal_after_its_block(
    store_url: str,
) -> None:
    async with journaling(store_url) as (edgegap, sim):
        async with running(edgegap) as server:
            server.keep()
        assert entries_of(store_url) == []
        assert sim.stopped() == set()


async def test_an_adopted_server_is_in_the_journal_without_a_tag(
    store_url: str,
) -> None:
    async with journaling(store_url) as (edgegap, _):
        accepted = await deploy(edgegap, once=False)
        assert entries_of(store_url) == []
        async with edgegap.deployments.adopt(accepted.request_id):
            await until(lambda: entries_of(store_url))
            (entry,) = entries_of(store_url)
            assert (entry.state, entry.tag) == ("held", None)
            assert entry.request_id == accepted.request_id


async def test_servers_on_private_fleets_are_marked(store_url: str) -> None:
    async with journaling(store_url) as (edgegap, _):
        fleets = edgegap.private_fleets
        async with fleets.running("g", "1", private_host_ids=["h"], users=PLAYERS):
            (entry,) = entries_of(store_url)
            assert entry.where == "fleet"


async def test_outcomes_that_nobody_has_taken_are_in_the_journal(
    store_url: str,
) -> None:
    requests = [DeployRequest("game", "1", users=PLAYERS) for _ in range(4)]
    async with journaling(store_url) as (edgegap, sim):
        async with edgegap.deployments.deploy_many(requests) as outcomes:
            first = await anext(outcomes)
            await until(lambda: len(sim.deployed()) == 4)
            await until(lambda: {it.state for it in entries_of(store_url)} == {"held"})
            assert len(entries_of(store_url)) == 4
            # The first one was handled.
            await anext(outcomes)
            assert first.deployment
            ids = {entry.request_id for entry in entries_of(store_url)}
            assert ids == {*sim.deployed()} - {first.deployment.request_id}
            async for _ in outcomes:
                pass
        assert entries_of(store_url) == []
        assert sim.stopped() == set()


async def test_a_stop_that_is_due_is_in_the_journal(store_url: str) -> None:
    async with journaling(store_url, Fault("stop", "500-before")) as (edgegap, sim):
        async with running(edgegap) as server:
            pass
        await until(lambda: [it.state for it in entries_of(store_url)] == ["stopping"])
        (entry,) = entries_of(store_url)
        assert entry.request_id == server.request_id
        sim.faults = []
        await asyncio.sleep(20)
        assert sim.stopped() == {server.request_id}
        await until(lambda: entries_of(store_url) == [])


@pytest.mark.full
@pytest.mark.slow
async def test_an_unknown_outcome_is_in_quarantine_and_names_what_the_caller_has(
    one_store_url: str,
) -> None:
    faults = [Fault("deploy", "cut-after"), Fault("list", "500-before")]
    async with journaling(one_store_url, *faults) as (edgegap, sim):
        with pytest.raises(DeployOutcomeUnknown) as caught:
            await deploy(edgegap, timeout=None)
        await until(
            lambda: [it.state for it in entries_of(one_store_url)] == ["quarantine"]
        )
        (entry,) = entries_of(one_store_url)
        assert entry.tag == caught.value.tag
        assert entry.except_ids == ()
        (request_id,) = sim.deployed()
        await edgegap.deployments.wait_until_ready(request_id)
        sim.faults = []
        await until(
            lambda: (
                [it.except_ids for it in entries_of(one_store_url)] == [(request_id,)]
            )
        )
        await asyncio.sleep(400)
        await until(lambda: entries_of(one_store_url) == [])
        assert sim.stopped() == set()


async def test_a_refused_deploy_leaves_nothing(store_url: str) -> None:
    async with journaling(store_url, options={"token": "other"}) as (edgegap, _):
        with pytest.raises(Exception, match="401"):
            await deploy(edgegap)
        await until(lambda: entries_of(store_url) == [])


async def test_nothing_secret_is_stored(store_url: str, tmp_path: Path) -> None:
    async with (
        journaling(store_url) as (edgegap, _),
        running(
            edgegap,
            tags=["my-own-tag"],
            environment_variables=[EnvironmentVariable("SECRET", "hunter2")],
        ),
    ):
        owners = owners_of(store_url)
        with journal_at(store_url) as journal:
            stored = [*map(journal.entries, owners.owners)]
        text = f"{owners}{stored}"
        assert "once-" in text
        for secret in ("my-own-tag", "hunter2", "made-up", *PLAYERS):
            assert secret not in text


async def test_a_closed_session_leaves_no_owner(store_url: str) -> None:
    async with journaling(store_url) as (edgegap, _):
        async with running(edgegap):
            assert len(owners_of(store_url).owners) == 1
        # Its tag is checked once more.
        await asyncio.sleep(100)
    await until(lambda: owners_of(store_url).owners == {})


async def test_what_is_left_at_the_end_can_be_claimed_at_once(store_url: str) -> None:
    faults = [Fault("stop", "500-before")]
    async with (
        journaling(store_url, *faults, cleanup_timeout=1.0) as (edgegap, _),
        running(edgegap) as server,
    ):
        pass
    assert edgegap.leftovers
    await until(
        lambda: [it.left for it in owners_of(store_url).owners.values()] == [True]
    )
    (entry,) = entries_of(store_url)
    assert (entry.state, entry.request_id) == ("stopping", server.request_id)


@pytest.mark.filterwarnings("ignore:the EdgegapSession:ResourceWarning")
@pytest.mark.edgegap_simulator(
    faults=[Fault("stop", "hang-before")], ready_after=(0.0, 0.0)
)
def test_a_session_that_nobody_closes_leaves_its_entries_too(
    store_url: str, edgegap_simulator: Simulator
) -> None:
    async def main() -> None:
        edgegap = EdgegapSession(
            "made-up",
            base_url=edgegap_simulator.url,
            shared=shared_state(store_url),
            cleanup_timeout=0.1,
        )
        block = running(edgegap)
        await block.__aenter__()
        assert entries_of(store_url)

    asyncio.run(main())
    end = time.monotonic() + 5
    while not all(it.left for it in owners_of(store_url).owners.values()):
        assert time.monotonic() < end
        time.sleep(0.01)
    assert [it.state for it in entries_of(store_url)] == ["stopping"]


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'edgegap.db'}"


@pytest.mark.full
@pytest.mark.slow
async def test_without_a_store_deploys_go_on_after_one_warning(
    sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with journaling(sqlite_url) as (edgegap, sim):
        with locked(sqlite_url):
            await deploy(edgegap)
            waits = list[float]()
            for _ in range(5):
                began = time.monotonic()
                await deploy(edgegap)
                waits.append(time.monotonic() - began)
            # Each of them would have waited for as long as the first one. The machine may
            # be busy, so the time of one of them proves nothing.
            assert statistics.median(waits) < PATIENCE / 2
        assert len(sim.deployed()) == 6
        warnings = [it for it in caplog.records if it.levelno == logging.WARNING]
        assert len(warnings) == 1
        assert "journal can't be written" in warnings[0].getMessage()
        await until(lambda: warned_of(caplog, "journal is written again"))
        await deploy(edgegap)
    await until(lambda: entries_of(sqlite_url) == [])


@pytest.mark.full
@pytest.mark.slow
async def test_a_required_journal_refuses_deploys_before_they_are_sent(
    sqlite_url: str,
) -> None:
    async with journaling(sqlite_url, journal="required") as (edgegap, sim):
        with locked(sqlite_url):
            for _ in range(2):
                with pytest.raises(JournalUnavailable, match="was not sent") as caught:
                    await deploy(edgegap)
                assert caught.value.request_sent is False
            assert sim.arrivals("deploy") == 0
        await deploy(edgegap)


async def test_the_end_of_a_session_that_has_nothing_to_write_needs_no_store(
    sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with journaling(sqlite_url) as (edgegap, _):
        with locked(sqlite_url):
            # Its first beat waits for the lock.
            await edgegap.locations.list()
            await edgegap.aclose()
    assert "at the end of the session" not in caplog.text


async def test_a_required_journal_refuses_deploys_without_a_tag_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # There is no such folder.
    url = f"sqlite:///{tmp_path}/later/edgegap.db"
    async with journaling(url, journal="required") as (edgegap, sim):
        await until(lambda: "journal can't be written" in caplog.text)
        for call in (
            deploy(edgegap, once=False),
            running(edgegap, once=False).__aenter__(),
        ):
            with pytest.raises(JournalUnavailable, match="was not sent"):
                await call
        assert sim.arrivals("deploy") == 0
        (tmp_path / "later").mkdir()
        caplog.set_level(logging.INFO)
        await until(lambda: warned_of(caplog, "journal is written again"))
        await deploy(edgegap, once=False)


async def test_a_journal_that_is_not_required_sends_deploys_without_a_tag(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path}/missing/edgegap.db"
    async with journaling(url) as (edgegap, sim):
        accepted = await deploy(edgegap, once=False)
        assert [*sim.deployed()] == [accepted.request_id]


async def test_a_required_journal_refuses_within_the_deadline_of_the_call(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Seconds: as long as it takes, the machine may be busy.
    patience = 60.0
    for name in ("_deploys.journal.PATIENCE", "_shared.store_sqlite.ROUND_TRIP"):
        monkeypatch.setattr(f"edgegap_async.{name}", patience)
    async with journaling(sqlite_url, journal="required") as (edgegap, sim):
        with locked(sqlite_url):
            began = time.monotonic()
            with pytest.raises((JournalUnavailable, DeadlineExceeded)):
                await deploy(edgegap, timeout=0.1)
            assert time.monotonic() - began < patience / 2
        assert sim.arrivals("deploy") == 0


async def test_the_reason_is_named_without_the_password(
    valkey_server: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    url = valkey_server.url.replace("unix://", "unix://nobody:hunter2@")
    async with journaling(url) as (edgegap, _):
        await deploy(edgegap)
        await until(lambda: "journal can't be written" in caplog.text)
    assert "password is wrong, or missing" in caplog.text
    assert "hunter2" not in caplog.text + repr(edgegap)


async def test_a_caller_that_leaves_while_the_journal_is_written_sends_nothing(
    sqlite_url: str,
) -> None:
    async with journaling(sqlite_url) as (edgegap, sim):
        with locked(sqlite_url):
            task = asyncio.ensure_future(deploy(edgegap))
            await asyncio.to_thread(time.sleep, 0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert sim.arrivals("deploy") == 0
    await until(lambda: entries_of(sqlite_url) == [])
    assert edgegap.leftovers == ()


@pytest.mark.parametrize("loses", ["deleted", "emptied"])
async def test_a_store_that_has_lost_everything_gets_it_again(
    loses: str, tmp_path: Path, valkey_server: Valkey
) -> None:
    path = tmp_path / "edgegap.db"
    url = f"sqlite:///{path}" if loses == "deleted" else valkey_server.url
    async with (
        journaling(url) as (edgegap, _),
        running(edgegap) as first,
        running(edgegap) as second,
    ):
        await until(lambda: len(entries_of(url)) == 2)
        if loses == "deleted":
            path.unlink()
        else:
            valkey_server.command("FLUSHALL")
        await until(lambda: len(entries_of(url)) == 2)
        ids = {it.request_id for it in entries_of(url)}
        assert ids == {first.request_id, second.request_id}


async def test_old_data_that_comes_back_is_replaced(valkey_server: Valkey) -> None:
    url = valkey_server.url
    async with journaling(url) as (edgegap, _), running(edgegap) as first:
        (owner,) = owners_of(url).owners
        name = f"edgegap:{{studio}}:journal:{owner}"
        old = valkey_server.command("HGETALL", name)
        async with running(edgegap) as second:
            second.keep()
        # As if an old dump was loaded, which has the second one.
        old = {**old, "77": '{"state":"held","since":0,"request_id":"handed-out"}'}
        words = [word for pair in old.items() for word in pair]
        valkey_server.command("DEL", name)
        valkey_server.command("HSET", name, *words)
        await until(
            lambda: [it.request_id for it in entries_of(url)] == [first.request_id]
        )


async def test_one_turn_of_the_loop_is_one_write(
    valkey_server: Valkey,
) -> None:
    url = valkey_server.url
    async with journaling(url, shared=shared_state(url, 60.0)) as (edgegap, _):
        await deploy(edgegap)
        valkey_server.command("CONFIG", "RESETSTAT")
        await asyncio.gather(*(deploy(edgegap) for _ in range(30)))
        stats = valkey_server.command("INFO", "commandstats")
    calls = stats["cmdstat_evalsha"]["calls"] if isinstance(stats, dict) else 0
    assert 2 <= calls <= 45


def test_the_arguments_are_checked(sqlite_url: str) -> None:
    def session(**options: Any) -> None:
        EdgegapSession("made-up", **options)

    with pytest.raises(ValueError, match="journal needs shared="):
        session(journal="required")
    with pytest.raises(
        ValueError, match="journal must be one of best-effort, required"
    ):
        session(shared=SharedState(sqlite_url), journal="always")
    with pytest.raises(ValueError, match="shared must be a SharedState, not str"):
        session(shared=sqlite_url)


async def test_sessions_with_one_token_have_one_journal(sqlite_url: str) -> None:
    shared = SharedState(sqlite_url)
    assert shared.key_for("https://a/", "t") == shared.key_for("https://A", "t")
    assert shared.key_for("https://a", "t") != shared.key_for("https://a", "u")
    assert SharedState(sqlite_url, key="x").key_for("https://a", "t") == "x"
    assert "secret" not in shared.key_for("https://a", "secret")


async def test_a_closed_session_is_not_held_while_others_use_the_store(
    sqlite_url: str,
) -> None:
    shared = shared_state(sqlite_url, 3600.0)
    async with journaling(sqlite_url, shared=shared) as (_, sim):
        second = EdgegapSession("made-up", base_url=sim.url, shared=shared)
        async with second:
            await deploy(second)
        gone = weakref.ref(second._deploys)
        del second
        await asyncio.sleep(100)
        gc.collect()
        assert gone() is None
