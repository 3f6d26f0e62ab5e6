"""The thread of a store: nothing waits for ever, and nobody who leaves disturbs it."""

import asyncio
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

from edgegap_async._shared.store import StoreError
from edgegap_async._shared.thread import StoreThread

T = TypeVar("T")


class Store:
    """Notes what is done with it, and in which thread."""

    def __init__(self) -> None:
        self.done: list[object] = []
        self.closed_in: str | None = None

    def close(self) -> None:
        self.closed_in = threading.current_thread().name


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def thread(store: Store) -> Iterator[StoreThread[Store]]:
    thread = StoreThread(store, Store.close)
    yield thread
    thread.close()
    thread.join()
    assert "edgegap store" not in {each.name for each in threading.enumerate()}


async def ask(thread: StoreThread[Store], job: Callable[[Store], T]) -> T:
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(thread, job, thread.store)


async def test_jobs_run_in_one_thread_in_their_order(
    thread: StoreThread[Store], store: Store
) -> None:
    def job(number: int) -> str:
        store.done.append(number)
        return threading.current_thread().name

    names = await asyncio.gather(
        *(ask(thread, lambda _, it=it: job(it)) for it in range(20))
    )
    assert {*names} == {"edgegap store"}
    assert store.done == [*range(20)]


async def test_an_error_of_a_job_is_raised_where_it_is_awaited(
    thread: StoreThread[Store],
) -> None:
    def fail(_: Store) -> None:
        raise StoreError("full")

    with pytest.raises(StoreError, match="full"):
        await ask(thread, fail)
    assert await ask(thread, lambda _: 1) == 1


@pytest.mark.real_time
async def test_a_caller_that_leaves_does_not_end_its_job(
    thread: StoreThread[Store], store: Store
) -> None:
    began, go = threading.Event(), threading.Event()

    def wait(it: Store) -> None:
        began.set()
        go.wait(60)
        it.done.append("first")

    caller = asyncio.create_task(ask(thread, wait))
    # A job that has not begun would be cancelled with its caller.
    assert await asyncio.to_thread(began.wait, 60)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    go.set()
    await ask(thread, lambda it: it.done.append("second"))
    assert store.done == ["first", "second"]


@pytest.mark.real_time
async def test_a_repeated_job_ends_when_it_says_so(
    thread: StoreThread[Store], store: Store
) -> None:
    over = threading.Event()

    def beat(it: Store) -> float | None:
        it.done.append(time.monotonic())
        if len(it.done) < 3:
            return 0.01
        over.set()
        return None

    thread.repeat(beat, 0.01)
    await asyncio.to_thread(over.wait, 5)
    await ask(thread, lambda _: time.sleep(0.03))
    first, _, third = store.done
    assert isinstance(first, float)
    assert isinstance(third, float)
    assert third - first >= 0.02


async def test_a_repeated_job_that_is_cancelled_is_neither_done_nor_kept(
    thread: StoreThread[Store], store: Store
) -> None:
    class Session:
        def beat(self, it: Store) -> float | None:
            it.done.append("beat")
            return None

    session = Session()
    left = weakref.ref(session)
    # Long enough for it to be cancelled before, on a busy machine too.
    repetition = thread.repeat(session.beat, 0.3)
    later = thread.repeat(session.beat, 3600.0)
    await ask(thread, lambda _: None)
    repetition.cancel()
    later.cancel()
    del session
    assert left() is None
    await ask(thread, lambda _: time.sleep(0.35))
    await ask(thread, lambda _: None)
    assert store.done == []


@pytest.mark.real_time
async def test_a_repeated_job_that_crashes_is_done_again(
    thread: StoreThread[Store],
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("edgegap_async._shared.thread.AFTER_CRASH", 0.01)
    over = threading.Event()

    def crash(it: Store) -> float | None:
        it.done.append(1)
        if len(it.done) == 1:
            raise RuntimeError("odd")
        over.set()
        return None

    thread.repeat(crash, 0.0)
    assert await asyncio.to_thread(over.wait, 5)
    assert "a repeated job has crashed" in caplog.text


async def test_the_store_is_closed_after_the_jobs_before(store: Store) -> None:
    thread = StoreThread(store, Store.close)
    answer = asyncio.ensure_future(ask(thread, lambda it: it.closed_in))
    await asyncio.sleep(0)
    thread.close()
    assert await answer is None
    thread.join()
    assert store.closed_in == "edgegap store"
    with pytest.raises(StoreError, match="it is closed"):
        await ask(thread, lambda _: None)
    thread.close()


def test_a_store_that_nobody_used_is_closed_without_a_thread(store: Store) -> None:
    StoreThread(store, Store.close).close()
    assert store.closed_in == "MainThread"


def test_a_loop_may_end_before_its_job(
    thread: StoreThread[Store], store: Store
) -> None:
    go = threading.Event()

    async def leave() -> None:
        job = asyncio.create_task(ask(thread, lambda _: go.wait(5)))
        await asyncio.sleep(0)
        job.cancel()

    asyncio.run(leave())
    go.set()
    assert asyncio.run(ask(thread, lambda _: os.getpid())) == os.getpid()
