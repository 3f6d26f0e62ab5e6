"""A program that forks while it has servers: the child ends as it wants to, and touches
neither the servers nor the session of its parent.
"""

import os

import pytest
from support.owning import forgotten
from support.programs import PROCESS_TIMEOUT, started

from edgegap_async.simulator import Simulator

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
    pytest.mark.edgegap_simulator(ready_after=(0.0, 0.0), stop_takes=0.0),
]
PROGRAM = """
import asyncio, os, sys
from contextlib import AsyncExitStack
import edgegap_async
from edgegap_async import DeployRequest, EdgegapSession

PLAYERS = ["203.0.113.7"]

async def block(edgegap, stack):
    running = edgegap.deployments.running("game", "1", users=PLAYERS)
    await stack.enter_async_context(running)

async def many(edgegap, stack):
    requests = [DeployRequest("game", "1", users=PLAYERS) for _ in range(3)]
    block = edgegap.deployments.deploy_many(requests)
    await anext(await stack.enter_async_context(block))

async def adopted(edgegap, stack):
    accepted = await edgegap.deployments.deploy("game", "1", users=PLAYERS)
    await stack.enter_async_context(edgegap.deployments.adopt(accepted.request_id))

async def waiting(edgegap, stack):
    await block(edgegap, stack)
    server = await edgegap.deployments.deploy("game", "1", users=PLAYERS)
    stopping = edgegap.deployments.wait_until_stopped(server.request_id)
    held.append(asyncio.ensure_future(stopping))
    await asyncio.sleep(0.2)
    await edgegap.deployments.stop(server.request_id)

held = []

async def main():
    begin, how, closes = sys.argv[1:4]
    async with AsyncExitStack() as stack:
        edgegap = EdgegapSession()
        if closes == "closed":
            await stack.enter_async_context(edgegap)
        await globals()[begin](edgegap, stack)
        child = os.fork()
        if not child:
            if how == "exit":
                sys.exit(3)
            if how == "raise":
                raise ZeroDivisionError
            if how == "aclose":
                await edgegap.aclose()
            return
        while not (ended := os.waitpid(child, os.WNOHANG))[0]:
            await asyncio.sleep(0.05)
        print(os.waitstatus_to_exitcode(ended[1]), flush=True)
        for task in held:
            await task
        page = await edgegap.deployments.list()
        print(sum(each.request_id is not None for each in page.data), flush=True)

edgegap_async.run(main())
"""


@pytest.mark.parametrize(
    ("begin", "how", "closes", "code"),
    [
        ("block", "exit", "closed", 3),
        ("many", "exit", "closed", 3),
        pytest.param("adopted", "aclose", "closed", 0, marks=pytest.mark.full),
        ("waiting", "return", "closed", 0),
        ("block", "raise", "unclosed", 1),
        pytest.param("block", "return", "unclosed", 0, marks=pytest.mark.full),
    ],
)
def test_a_forked_child_that_ends_leaves_the_servers_to_its_parent(
    begin: str, how: str, closes: str, code: int, edgegap_simulator: Simulator
) -> None:
    with started(PROGRAM, edgegap_simulator, begin, how, closes) as process:
        output, errors = process.communicate(timeout=PROCESS_TIMEOUT)
    ended, running = output.split()
    assert int(ended) == code
    assert int(running) >= 1
    # The parent goes on, and stops them itself.
    assert process.returncode == 0
    # `deploy_many` has handed out one server.
    assert len(forgotten(edgegap_simulator)) == (1 if begin == "many" else 0)
    if begin == "waiting":
        # asyncio itself runs what is left of the turn, without a running loop.
        return
    for line in ("RuntimeError", "WrongLoop", "Unclosed", "never retrieved"):
        assert line not in errors
    raised = errors.splitlines().count("ZeroDivisionError")
    assert raised == (1 if how == "raise" else 0)
