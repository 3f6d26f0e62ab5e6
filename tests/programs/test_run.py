"""`edgegap_async.run`: the first SIGTERM or SIGHUP cancels the main task, and the exit
code tells the signal.
"""

import asyncio
import gc
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.owning import forgotten, running

import edgegap_async
from edgegap_async import EdgegapSession
from edgegap_async.simulator import Simulator, VirtualTimeLoop

SIGNALS = [signal.SIGTERM, signal.SIGHUP]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs SIGHUP")


@pytest.fixture(autouse=True)
def default_handlers() -> Iterator[None]:
    """The program that started pytest may ignore them."""
    before = {each: signal.signal(each, signal.SIG_DFL) for each in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def run(main: Any, **options: Any) -> Any:
    return edgegap_async.run(main, loop_factory=VirtualTimeLoop, **options)


def after(seconds: float, number: signal.Signals) -> None:
    asyncio.get_running_loop().call_later(seconds, signal.raise_signal, number)


def test_without_a_signal_it_returns_the_result_and_restores_the_handlers() -> None:
    async def main() -> str:
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        return "result"

    assert run(main()) == "result"
    assert [signal.getsignal(each) for each in SIGNALS] == [signal.SIG_DFL] * 2


def test_errors_and_exit_codes_of_the_program_are_its_own() -> None:
    async def fails() -> None:
        raise ZeroDivisionError

    async def exits() -> None:
        sys.exit(3)

    async def is_cancelled() -> None:
        raise asyncio.CancelledError("of the program")

    with pytest.raises(ZeroDivisionError):
        run(fails())
    with pytest.raises(SystemExit) as ended:
        run(exits())
    assert ended.value.code == 3
    with pytest.raises(asyncio.CancelledError, match="of the program"):
        run(is_cancelled())
    assert [signal.getsignal(each) for each in SIGNALS] == [signal.SIG_DFL] * 2


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_stops_the_server_of_a_block(number: signal.Signals) -> None:
    sims: list[Simulator] = []

    async def main() -> None:
        async with Simulator(ready_after=(0, 0)) as sim:
            sims.append(sim)
            async with (
                EdgegapSession("made-up", base_url=sim.url) as edgegap,
                running(edgegap),
            ):
                after(1, number)
                await asyncio.sleep(100)

    with pytest.raises(SystemExit) as ended:
        run(main())
    assert ended.value.code == 128 + number
    assert sims[0].deployed()
    assert forgotten(sims[0]) == set()
    assert [signal.getsignal(each) for each in SIGNALS] == [signal.SIG_DFL] * 2


def test_the_exit_code_tells_the_signal_although_main_returns() -> None:
    async def main() -> str:
        after(1, signal.SIGTERM)
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            return "cleaned up"
        return "slept"

    with pytest.raises(SystemExit) as ended:
        run(main())
    assert ended.value.code == 143


def test_an_error_of_the_cleanup_is_not_hidden() -> None:
    async def main() -> None:
        after(1, signal.SIGTERM)
        try:
            await asyncio.sleep(100)
        finally:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(main())


def test_signals_of_one_cause_are_one() -> None:
    """A lost terminal sends SIGHUP twice: the cleanup goes on."""
    cleaned = False

    async def main() -> None:
        nonlocal cleaned
        for seconds in (1.0, 1.01, 1.1):
            after(seconds, signal.SIGHUP)
        after(1.15, signal.SIGTERM)
        try:
            await asyncio.sleep(100)
        finally:
            await asyncio.sleep(5)
            cleaned = True

    with pytest.raises(SystemExit) as ended:
        run(main())
    assert ended.value.code == 128 + signal.SIGHUP
    assert cleaned


def test_an_ignored_signal_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    async def main() -> str:
        signal.raise_signal(signal.SIGHUP)
        await asyncio.sleep(1)
        return "went on"

    assert run(main()) == "went on"
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_a_handler_of_the_program_stays() -> None:
    seen: list[int] = []

    def own(number: int, frame: object) -> None:
        seen.append(number)

    signal.signal(signal.SIGTERM, own)

    async def main() -> str:
        signal.raise_signal(signal.SIGTERM)
        await asyncio.sleep(1)
        signal.signal(signal.SIGHUP, own)
        signal.raise_signal(signal.SIGHUP)
        return "went on"

    assert run(main()) == "went on"
    assert seen == [signal.SIGTERM, signal.SIGHUP]
    assert [signal.getsignal(each) for each in SIGNALS] == [own, own]


@pytest.mark.edgegap_simulator(ready_after=(0.0, 0.0), stop_takes=0.0)
@pytest.mark.filterwarnings("ignore:.*was not closed:ResourceWarning")
def test_a_session_that_nobody_closes_stops_its_server_after_a_signal(
    edgegap_simulator: Simulator,
) -> None:
    """The session closes itself when the loop ends, after the main task."""
    held: list[Any] = []

    async def main() -> None:
        edgegap = EdgegapSession("made-up", base_url=edgegap_simulator.url)
        held.append(running(edgegap))
        await held[0].__aenter__()
        after(0, signal.SIGTERM)
        await asyncio.sleep(100)

    with pytest.raises(SystemExit) as ended:
        edgegap_async.run(main())
    assert ended.value.code == 143
    assert edgegap_simulator.deployed()
    assert forgotten(edgegap_simulator) == set()
    # It is not to be collected in another test, where its warning is an error.
    del ended
    held.clear()
    gc.collect()


def test_ctrl_c_ends_it_as_asyncio_run() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    async def main() -> None:
        after(1, signal.SIGINT)
        await asyncio.sleep(100)

    try:
        with pytest.raises(KeyboardInterrupt):
            run(main())
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_twice_at_once_is_one() -> None:
    """A launcher passes it on, and the terminal sends it to the whole group."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    cleaned = False

    async def main() -> None:
        nonlocal cleaned
        for seconds in (1.0, 1.01, 1.15):
            after(seconds, signal.SIGINT)
        try:
            await asyncio.sleep(100)
        finally:
            await asyncio.sleep(5)
            cleaned = True

    try:
        with pytest.raises(KeyboardInterrupt):
            run(main())
        assert cleaned
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_second_ctrl_c_ends_the_cleanup() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    cleaned = False

    async def main() -> None:
        nonlocal cleaned
        after(1, signal.SIGINT)
        after(1.3, signal.SIGINT)
        try:
            await asyncio.sleep(100)
        finally:
            await asyncio.sleep(5)
            cleaned = True

    try:
        with pytest.raises(KeyboardInterrupt):
            run(main())
        assert not cleaned
    finally:
        signal.signal(signal.SIGINT, before)


def test_in_another_thread_it_is_asyncio_run() -> None:
    results: list[object] = []

    async def main() -> str:
        await asyncio.sleep(0)
        return threading.current_thread().name

    def work() -> None:
        results.append(edgegap_async.run(main()))
        results.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work, name="another")
    thread.start()
    thread.join()
    assert results == ["another", signal.SIG_DFL]


@pytest.mark.parametrize("given", [None, "main", asyncio.sleep])
def test_anything_but_a_coroutine_is_refused(given: Any) -> None:
    with pytest.raises(ValueError, match=r"^main must be a coroutine, not .*run\(main"):
        run(given)


def test_inside_a_loop_it_is_refused() -> None:
    async def inner() -> None: ...

    async def main() -> None:
        with pytest.raises(RuntimeError, match="await the coroutine"):
            run(inner())

    run(main())


@pytest.mark.parametrize("debug", [True, False])
def test_debug_and_the_loop_are_those_that_were_given(debug: bool) -> None:
    async def main() -> tuple[bool, Callable[..., Any]]:
        loop = asyncio.get_running_loop()
        return loop.get_debug(), type(loop)

    assert run(main(), debug=debug) == (debug, VirtualTimeLoop)
