"""Webhooks between real processes: one gets them, another one waits."""

import os
import signal
import subprocess
import time

import pytest
from support.programs import PROCESS_TIMEOUT, started

from edgegap_async.simulator import Fault, Simulator

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork"),
    # No poll is answered.
    pytest.mark.edgegap_simulator(
        ready_after=(2.0, 2.0),
        faults=[Fault("status", "503-before"), Fault("list", "503-before")],
    ),
]
# Arguments: the store, what to do, and the port of the receiver.
PROGRAM = """
import asyncio, logging, os, sys
from urllib.parse import urlsplit
from aiohttp import web
from edgegap_async import EdgegapSession, SharedState, WebhookReceiver

url, what, port = sys.argv[1:]
shared = SharedState(url, key="studio")

class Say(logging.Handler):
    def emit(self, record):
        if "from another process" in record.getMessage():
            say("relayed", record.request_id)

logging.getLogger("edgegap_async").addHandler(Say())
logging.getLogger("edgegap_async").setLevel(logging.DEBUG)

def say(*words):
    print(*words, flush=True)

def receiver_at(port):
    return WebhookReceiver(f"http://127.0.0.1:{port}/hooks", secret="a-common-secret-of-all")

def session(receiver):
    return EdgegapSession(shared=shared, webhooks=receiver)

async def serve():
    receiver = receiver_at(1)
    app = web.Application()
    app.add_routes(receiver.routes())
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with session(receiver):
        say(runner.addresses[0][1])
        await asyncio.to_thread(sys.stdin.read)
        await asyncio.sleep(60)

async def wait():
    async with session(receiver_at(port)) as edgegap:
        accepted = await deploy(edgegap)
        server = await edgegap.deployments.wait_until_ready(accepted.request_id, timeout=50)
        say("ready", server.request_id)
        await asyncio.sleep(2)
    say("closed")

async def deploy(edgegap):
    return await edgegap.deployments.deploy("game", "1", users=["203.0.113.7"])

async def idle():
    async with session(receiver_at(port)) as edgegap:
        await deploy(edgegap)
        say("waits")
        await asyncio.sleep(60)

async def fork():
    receiver = receiver_at(port)
    async with session(receiver) as edgegap:
        accepted = await deploy(edgegap)
        await asyncio.sleep(0.5)
        child = os.fork()
        if child == 0:
            os._exit(in_child(receiver, accepted))
        server = await edgegap.deployments.wait_until_ready(accepted.request_id, timeout=50)
        say("ready", server.request_id)
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        say("child", os.waitstatus_to_exitcode(status))

def in_child(receiver, accepted):
    path = urlsplit(receiver.urls(accepted.once_tag)["webhook_on_ready"].url).path
    body = (
        '{"request_id": "%s", "current_status": "Status.READY", "fqdn": "c.example.com", "ports": '
        '{"web": {"external": 31000, "internal": 7777, "protocol": "UDP", "name": "web"}}}'
    ) % accepted.request_id

    async def main():
        async with session(receiver):
            assert await receiver.handle(path, body.encode())

    # asyncio knows that the loop of the parent runs here.
    asyncio.events._set_running_loop(None)
    asyncio.run(main())
    return 0

asyncio.run(globals()[what]())
"""


def line(process: subprocess.Popen[str]) -> list[str]:
    """The words of the next line that a program prints."""
    assert process.stdout
    assert process.stderr
    text = process.stdout.readline()
    assert text, process.stderr.read()
    return text.split()


@pytest.mark.full
def test_a_waiter_is_woken_once_by_a_webhook_that_another_process_got(
    edgegap_simulator: Simulator, store_url: str
) -> None:
    with started(PROGRAM, edgegap_simulator, store_url, "serve", "0") as server:
        (port,) = line(server)
        with started(PROGRAM, edgegap_simulator, store_url, "wait", port) as waiter:
            lines = [line(waiter), line(waiter), line(waiter)]
            (request_id,) = edgegap_simulator.deployed()
            assert lines == [["relayed", request_id], ["ready", request_id], ["closed"]]
            waiter.wait(PROCESS_TIMEOUT)
            assert waiter.returncode == 0
        assert edgegap_simulator.webhooks()["answered"] == 1


@pytest.mark.full
def test_the_relay_keeps_no_process_from_ending(
    edgegap_simulator: Simulator, one_store_url: str
) -> None:
    with started(PROGRAM, edgegap_simulator, one_store_url, "idle", "9") as program:
        assert line(program) == ["waits"]
        time.sleep(0.5)
        began = time.monotonic()
        program.send_signal(signal.SIGINT)
        program.wait(PROCESS_TIMEOUT)
        # Only as long as the cleanup of the session.
        assert time.monotonic() - began < 8.0


@pytest.mark.full
def test_a_forked_child_passes_on_what_its_parent_waits_for(
    edgegap_simulator: Simulator, one_store_url: str
) -> None:
    with started(PROGRAM, edgegap_simulator, one_store_url, "fork", "9") as program:
        (request_id,) = line(program)[1:]
        assert line(program) == ["ready", request_id]
        assert line(program) == ["child", "0"]
        program.wait(PROCESS_TIMEOUT)
        assert program.returncode == 0
