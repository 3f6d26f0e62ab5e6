"""Sessions with `shared=` keep their limits together, over real stores."""

import asyncio
import logging
import subprocess
import sys
import textwrap
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from support.limiter_model import busiest_second
from support.raw_server import TOKEN, session
from support.stores import Valkey

from edgegap_async import (
    DeadlineExceeded,
    EdgegapSession,
    Limits,
    LimitUsage,
    QueueTooLong,
    SharedState,
)
from edgegap_async._limits.measurements import LONGEST_DOUBT
from edgegap_async._limits.registry import LimiterRegistry
from edgegap_async._shared import state as states
from edgegap_async._shared.budget import SharedBudget
from edgegap_async._shared.lease import FIRST
from edgegap_async._shared.ledger import LISTEN
from edgegap_async._shared.stores import make_store
from edgegap_async._shared.tenant import SLEEPY
from edgegap_async.simulator import Fault, Simulator

KEY = "studio"


def usage(edgegap: EdgegapSession) -> LimitUsage:
    return edgegap.usage()["other"]


async def call(edgegap: EdgegapSession) -> None:
    await edgegap.locations.list()


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_a_session_uses_what_it_owns_and_gives_it_back(store_url: str) -> None:
    async with (
        Simulator(enforcement="off") as simulator,
        session(simulator.url, shared=SharedState(store_url, key=KEY)) as edgegap,
    ):
        assert usage(edgegap).shared == "asleep"
        began = now()
        await call(edgegap)
        # A new store is listened to first.
        assert LISTEN - 0.1 < now() - began < LISTEN + 2.0
        told = usage(edgegap)
        assert (told.shared, told.tenants) == ("leased", 1)
        assert told.owned
        await asyncio.sleep(SLEEPY + 2.0)
        assert (usage(edgegap).owned, usage(edgegap).shared) == (0, "asleep")
        began = now()
        await call(edgegap)
        # It neither listens again nor waits until it has to use its fallback. The clock
        # runs in real time while the store is asked.
        assert now() - began < FIRST


def test_a_session_that_opens_gives_up_what_ended_loops_hold(tmp_path: Path) -> None:
    registry, limits = LimiterRegistry(), Limits()
    shared = SharedState(f"sqlite:///{tmp_path / 'edgegap.db'}", key=KEY)
    ended, later = asyncio.new_event_loop(), asyncio.new_event_loop()
    args = "https://a.example", TOKEN, limits, SharedBudget(shared, KEY)
    # A session that nobody has closed holds it.
    forgotten = registry.acquire(ended, *args)
    limiter = forgotten.limiters["status"]
    limiter.slots.start(limiter)
    assert limiter.slots.in_flight == 1
    ended.close()
    user = registry.acquire(later, *args)
    in_flight = user.limiters["status"].usage().in_flight
    registry.release(user)
    later.close()
    assert in_flight == 0


@pytest.mark.all_combinations
@pytest.mark.parametrize("kind", ["hang-before", "429"])
@pytest.mark.parametrize("first", ["alone", "shared"])
async def test_sessions_with_and_without_shared_follow_each_other_in_seconds(
    kind: str, first: str, tmp_path: Path
) -> None:
    """Whatever has become of the requests of the first one."""
    shared = SharedState(f"sqlite:///{tmp_path / 'edgegap.db'}", key=KEY)
    before, after = (shared, None) if first == "shared" else (None, shared)
    fault = Fault("locations.list", kind, times=1)
    async with Simulator(faults=[fault]) as simulator:
        async with session(simulator.url, shared=before) as edgegap:
            with suppress(DeadlineExceeded):
                await edgegap.locations.list(timeout=3.0)
        assert simulator.faulted()
        async with session(simulator.url, shared=after) as edgegap:
            began = now()
            await call(edgegap)
            # The store of a shared budget is listened to first.
            assert now() - began < LISTEN + LONGEST_DOUBT + 3.0


@pytest.mark.full
@pytest.mark.slow
async def test_two_tokens_of_one_organization_share_its_limits(store_url: str) -> None:
    shared = SharedState(store_url, key=KEY)
    arrivals: list[float] = []
    async with (
        Simulator() as simulator,
        session(simulator.url, shared=shared) as first,
        EdgegapSession("other-token", base_url=simulator.url, shared=shared) as second,
    ):
        end = now() + 6.0

        async def caller(edgegap: EdgegapSession) -> None:
            while now() < end:
                await call(edgegap)
                arrivals.append(now())

        await asyncio.gather(
            *(caller(each) for each in (first, second) for _ in range(30))
        )
        assert [usage(each).refused for each in (first, second)] == [0, 0]
        assert {usage(each).tenants for each in (first, second)} == {2}
        served = [usage(each).sent for each in (first, second)]
        assert min(served) >= 0.8 * max(served)
        busy = [at for at in arrivals if at > end - 3.0]
        assert len(busy) >= 0.85 * 40 * 3.0
        assert busiest_second(arrivals) <= 40


async def test_a_queue_that_is_too_long_is_told_as_one_that_is_shared(
    tmp_path: Path,
) -> None:
    shared = SharedState(f"sqlite:///{tmp_path / 'edgegap.db'}", key=KEY)
    async with (
        Simulator(enforcement="off") as simulator,
        session(simulator.url, shared=shared) as edgegap,
    ):
        await call(edgegap)
        waiting = [asyncio.ensure_future(call(edgegap)) for _ in range(200)]
        await asyncio.sleep(0.5)
        with pytest.raises(QueueTooLong, match="it shares the limit with others"):
            await edgegap.locations.list(timeout=0.5)
        await asyncio.gather(*waiting)


async def test_limits_that_are_off_are_not_shared(store_url: str) -> None:
    shared = SharedState(store_url, key=KEY)
    async with (
        Simulator(enforcement="off") as simulator,
        session(simulator.url, shared=shared, limits=Limits(other=None)) as edgegap,
    ):
        began = now()
        await call(edgegap)
        assert now() - began < 0.2
        assert (usage(edgegap).shared, usage(edgegap).owned) == ("off", None)


async def test_without_shared_nothing_is_shared() -> None:
    async with Simulator() as simulator, session(simulator.url) as edgegap:
        await call(edgegap)
        told = usage(edgegap)
        assert (told.shared, told.owned, told.fair, told.tenants) == (
            "off",
            None,
            None,
            None,
        )


async def test_sessions_of_one_token_are_shared_in_the_same_way(
    store_url: str,
) -> None:
    shared = SharedState(store_url, key=KEY)
    async with Simulator(enforcement="off") as simulator:
        async with session(simulator.url, shared=shared) as first:
            await call(first)
            async with session(simulator.url, shared=shared) as same:
                await call(same)
            for other in (None, SharedState(store_url, key="another")):
                with pytest.raises(ValueError, match="shared: a session with the same"):
                    await call(session(simulator.url, shared=other))
        # After the last one was closed, the others may begin.
        async with session(simulator.url) as alone:
            await call(alone)
            assert usage(alone).shared == "off"


async def test_without_a_store_calls_go_on_within_the_fallback(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "edgegap_async")
    shared = SharedState(f"unix://secret-word@{tmp_path / 'missing.sock'}", key=KEY)
    async with (
        Simulator(enforcement="off") as simulator,
        session(simulator.url, shared=shared) as edgegap,
    ):
        began = now()
        await call(edgegap)
        # The clock runs in real time while the store is tried.
        assert FIRST - 0.1 < now() - began < FIRST + 1.0
        await asyncio.sleep(1.0)
        assert (usage(edgegap).shared, usage(edgegap).rate) == ("alone", 5.0)
        assert "fallback" in usage(edgegap).why
    warnings = [each for each in caplog.messages if "shared budget" in each]
    assert len(warnings) == 1
    assert "no such file or directory" in warnings[0]
    assert "secret-word" not in caplog.text


async def test_with_no_fallback_calls_wait_for_the_store(
    valkey_server: Valkey, tmp_path: Path
) -> None:
    shared = SharedState(f"unix://{tmp_path / 'missing.sock'}", key=KEY, fallback=0)
    async with (
        Simulator(enforcement="off") as simulator,
        session(simulator.url, shared=shared, timeout=5.0) as edgegap,
    ):
        with pytest.raises(DeadlineExceeded):
            await call(edgegap)
        (tmp_path / "missing.sock").symlink_to(valkey_server.socket)
        await call(edgegap)


async def test_a_state_that_can_not_be_read_is_told_and_calls_go_on(
    store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    shared = SharedState(store_url, key=KEY)
    store: Any = make_store(shared, KEY)
    if store_url.startswith("sqlite"):
        with store.transaction() as db:
            db.execute("INSERT INTO budgets VALUES (?, ?)", (KEY, b"\x00nonsense"))
    else:
        with Redis.from_url(store_url) as client:
            client.hset(f"edgegap:{{{KEY}}}:budget", "state", b"bm9uc2Vuc2U=")
    store.close()
    async with (
        Simulator(enforcement="off") as simulator,
        session(simulator.url, shared=shared) as edgegap,
    ):
        await call(edgegap)
        await asyncio.sleep(1.0)
        assert usage(edgegap).shared == "alone"
    assert "can't be read" in caplog.text


# In threads and processes


def run(code: str, *words: str) -> str:
    found = subprocess.run(  # noqa: S603
        [sys.executable, "-c", textwrap.dedent(code), *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return found.stdout


PROGRAM = """
import asyncio, os, sys, time
from edgegap_async import EdgegapSession, SharedState
from edgegap_async.simulator import Simulator

async def main(url, calls):
    shared = SharedState(sys.argv[1], key="studio")
    async with EdgegapSession("made-up-token", base_url=url, shared=shared) as edgegap:
        began = time.monotonic()
        for _ in range(calls):
            await edgegap.locations.list()
        took = time.monotonic() - began
        return took, edgegap.usage()["other"]

async def alone(calls=1):
    async with Simulator(enforcement="off") as simulator:
        return await main(simulator.url, calls)
"""


def tenants_of(url: str) -> set[str]:
    store = make_store(SharedState(url), KEY)
    if url.startswith("sqlite"):
        with store.transaction() as db:  # type: ignore[union-attr]
            (data,) = db.execute("SELECT state FROM budgets").fetchone()
    store.close()
    return set(states.decode(data).tenants)


@pytest.mark.full
@pytest.mark.slow
def test_one_loop_after_another_is_one_process(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'edgegap.db'}"
    out = run(
        PROGRAM
        + """
first, _ = asyncio.run(alone())
later = [asyncio.run(alone()) for _ in range(3)]
# Only a new store is listened to first. A busy machine may hold some of them up.
print(min(took for took, _ in later) < first / 2)
""",
        url,
    )
    assert out.split() == ["True"]


@pytest.mark.full
@pytest.mark.slow
def test_at_the_end_of_the_interpreter_everything_is_given_back(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path / 'edgegap.db'}"
    began = time.monotonic()
    run(PROGRAM + "asyncio.run(alone())", url)
    assert time.monotonic() - began < 30
    assert tenants_of(url) == set()


FORKS = """
import asyncio, os, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from edgegap_async import EdgegapSession, SharedState

class Locations(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "17")
        self.end_headers()
        self.wfile.write(b'{"locations": []}')

    def log_message(self, *_):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Locations)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"

async def several(met=None):
    shared = SharedState(sys.argv[1], key="studio")
    async with EdgegapSession("made-up-token", base_url=url, shared=shared) as edgegap:
        await asyncio.gather(*(edgegap.locations.list() for _ in range(5)))
        if met:
            async with asyncio.timeout(30):
                while edgegap.usage()["other"].tenants < 2:
                    await edgegap.locations.list()
        usage = edgegap.usage()["other"]
        print(usage.shared, usage.tenants, usage.refused, flush=True)
        if met:
            # The other one goes on calling until it has seen this one.
            mine, other = met
            os.write(mine, b".")
            await asyncio.to_thread(os.read, other, 1)

asyncio.run(several())
(from_child, to_parent), (from_parent, to_child) = os.pipe(), os.pipe()
child = os.fork()
if child:
    asyncio.run(several((to_child, from_child)))
    os._exit(os.waitpid(child, 0)[1])
asyncio.run(several((to_parent, from_parent)))
os._exit(0)
"""


@pytest.mark.slow
def test_a_forked_child_is_a_tenant_of_its_own(store_url: str) -> None:
    out = run(FORKS, store_url)
    first, *both = out.splitlines()
    assert first == "leased 1 0"
    # The ledger of each knows both.
    assert both == ["leased 2 0"] * 2


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.real_time
async def test_a_blocked_loop_holds_up_no_beat(one_store_url: str) -> None:
    shared = SharedState(one_store_url, key=KEY)
    async with (
        Simulator(enforcement="off") as simulator,
        session(simulator.url, shared=shared) as edgegap,
    ):
        await call(edgegap)
        # Longer than a lease.
        time.sleep(5.5)  # noqa: ASYNC251
        told = usage(edgegap)
        assert (told.shared, told.expected_wait) == ("leased", 0.0)
        assert told.owned
        await call(edgegap)


def test_the_token_is_in_no_name_of_the_store() -> None:
    shared = SharedState("redis://localhost")
    assert TOKEN not in shared.key_for("https://api.example.com", TOKEN)
