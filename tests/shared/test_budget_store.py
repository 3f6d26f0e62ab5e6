"""The ledger in each engine: one conformance suite for all."""

import multiprocessing
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis import Redis
from support.ledger_reports import NAME, Ledger
from support.memory_budget import MemoryBudget
from support.stores import Valkey

from edgegap_async._shared import beat as beats
from edgegap_async._shared.beat import MOST_COMMITS, Commit, Inbox, respond, serve
from edgegap_async._shared.budget_store import BudgetStore, RedisBudget, budget_store
from edgegap_async._shared.config import SharedState
from edgegap_async._shared.messages import Reply, Report
from edgegap_async._shared.state import decode
from edgegap_async._shared.store import StoreError
from edgegap_async._shared.store_redis import RedisStore
from edgegap_async._shared.stores import Store, make_store


class Memory:
    """The store in memory, on a real clock."""

    def __init__(self) -> None:
        self.inbox = MemoryBudget()

    def serve(self, report: Report, in_time: Callable[[], bool]) -> Reply | None:
        self.inbox.clock = time.time()
        return serve(self.inbox, report, in_time)


@pytest.fixture(params=["memory", "sqlite", "valkey"])
def budgets(
    request: pytest.FixtureRequest, tmp_path: Any
) -> Iterator[tuple[BudgetStore, BudgetStore]]:
    """One ledger, seen by two processes."""
    if request.param == "memory":
        memory = Memory()
        yield memory, memory
        return
    url = f"sqlite:///{tmp_path / 'edgegap.db'}"
    if request.param == "valkey":
        url = request.getfixturevalue("valkey_server").url
    stores = [make_store(SharedState(url), "studio") for _ in range(2)]
    first, second = (budget_store(store, "studio") for store in stores)
    yield first, second
    for store in stores:
        store.close()


@pytest.fixture
def inboxes(valkey_server: Valkey) -> Iterator[list[Inbox]]:
    """Inboxes with compare-and-set: in memory, and in Valkey."""
    store = make_store(SharedState(valkey_server.url), "studio")
    assert isinstance(store, RedisStore)
    yield [MemoryBudget(), RedisBudget(store)]
    store.close()


def always() -> bool:
    return True


def never() -> bool:
    return False


def beat(budget: BudgetStore, report: Report) -> Any:
    reply = budget.serve(report, always)
    assert reply is not None
    return reply.limits[NAME]


def test_processes_share_one_ledger(budgets: tuple[BudgetStore, BudgetStore]) -> None:
    first, second = budgets
    reports = Ledger(listened=False)
    assert beat(first, reports.report("a", keeps=30)).owned == 30
    # Both are believed while the ledger listens, but not beyond what there is.
    assert beat(second, reports.report("b", keeps=30)).owned == 10
    reply = first.serve(reports.report("a", keeps=30), always)
    assert reply
    assert reply.tenants == 2


def test_a_report_that_is_not_true_any_more_changes_nothing(
    budgets: tuple[BudgetStore, BudgetStore],
) -> None:
    first, second = budgets
    reports = Ledger(listened=False)
    with pytest.raises(StoreError, match="stopped for longer than its lease"):
        first.serve(reports.report("a", keeps=30, lease_left=0.0), never)
    time.sleep(0.001)
    assert beat(second, reports.report("b", keeps=40)).owned == 40


def test_a_report_that_was_overtaken_gets_no_reply(
    budgets: tuple[BudgetStore, BudgetStore],
) -> None:
    first, second = budgets
    reports = Ledger(listened=False)
    old = reports.report("a", keeps=30)
    assert beat(first, reports.report("a", keeps=20)).owned == 20
    assert second.serve(old, always) is None
    assert beat(second, reports.report("b", keeps=40)).owned == 20


def test_a_tenant_that_leaves_gives_all_back(
    budgets: tuple[BudgetStore, BudgetStore],
) -> None:
    first, second = budgets
    reports = Ledger(listened=False)
    beat(first, reports.report("a", keeps=30))
    first.serve(reports.report("a", keeps=0, all_given=30, bye=True), always)
    reply = second.serve(reports.report("b"), always)
    assert reply
    assert reply.tenants == 1


def test_organizations_have_ledgers_of_their_own(store_url: str) -> None:
    stores: list[Store] = []
    for key in ("one", "two"):
        store = make_store(SharedState(store_url), key)
        reply = beat(budget_store(store, key), Ledger().report("a", keeps=40))
        assert reply.owned == 40
        stores.append(store)
    for store in stores:
        store.close()


def test_whoever_is_slower_finds_its_report_folded(inboxes: list[Inbox]) -> None:
    for inbox in inboxes:
        reports = Ledger(listened=False)
        slow, fast = reports.report("slow", keeps=5), reports.report("fast", keeps=5)
        seen = inbox.post(slow)
        reply = serve(inbox, fast, always)
        assert reply
        assert reply.tenants == 2
        late = respond(seen, slow)
        assert isinstance(late, Commit)
        now = inbox.commit(late)
        assert now is not None
        answer = respond(now, slow)
        assert isinstance(answer, Reply)
        assert answer.limits[NAME].owned == 5
        # Both reports have left the inbox.
        assert now.inbox == {}


def test_a_report_that_came_after_the_look_stays_in_the_inbox(
    inboxes: list[Inbox],
) -> None:
    for inbox in inboxes:
        reports = Ledger(listened=False)
        first = reports.report("a", keeps=5)
        seen = inbox.post(first)
        answer = respond(seen, first)
        newer = reports.report("a", keeps=4)
        inbox.post(newer)
        assert isinstance(answer, Commit)
        assert inbox.commit(answer) is None
        left = inbox.post(reports.report("b")).inbox
        assert {name: at.received.report for name, at in left.items()}["a"] == newer


def test_a_report_that_comes_late_does_not_replace_a_newer_one(
    inboxes: list[Inbox],
) -> None:
    for inbox in inboxes:
        reports = Ledger(listened=False)
        old, new = reports.report("a"), reports.report("a")
        inbox.post(new)
        seen = inbox.post(old)
        assert seen.inbox["a"].received.report == new


def test_after_the_inbox_was_evicted_a_beat_still_ends(
    valkey_server: Valkey, inboxes: list[Inbox]
) -> None:
    memory, valkey = inboxes
    assert isinstance(memory, MemoryBudget)
    for inbox in inboxes:
        reports = Ledger(listened=False)
        report = reports.report("a", keeps=7)
        seen = inbox.post(report)
        memory.evict_inbox()
        valkey_server.command("DEL", "edgegap:{studio}:budget:inbox")
        answer = respond(seen._replace(inbox={}), report)
        assert isinstance(answer, Commit)
        assert answer.reply
        assert answer.reply.limits[NAME].owned == 7
        assert inbox.commit(answer) is None
    assert valkey.post(reports.report("b")).state is not None


def test_a_version_never_comes_again_after_a_flush(
    valkey_server: Valkey, inboxes: list[Inbox]
) -> None:
    reports = Ledger(listened=False)
    report = reports.report("a", keeps=7)
    answer = respond(inboxes[1].post(report), report)
    valkey_server.command("FLUSHALL")
    inboxes[1].post(reports.report("b"))
    assert isinstance(answer, Commit)
    assert inboxes[1].commit(answer) is not None


class Faster(MemoryBudget):
    """Others always commit first, and nobody folds our report."""

    def commit(self, commit: Commit) -> beats.Seen | None:
        self.flush()
        self.operations += 1
        return self.look()


def test_a_beat_that_others_always_overtake_is_given_up() -> None:
    store = Faster()
    with pytest.raises(StoreError, match="always faster"):
        serve(store, Ledger(listened=False).report("a"), always)
    assert store.operations == 1 + MOST_COMMITS


def test_a_client_that_decodes_texts_works_too(valkey_server: Valkey) -> None:
    def client() -> Any:
        return Redis(unix_socket_path=valkey_server.socket, decode_responses=True)

    store = make_store(SharedState(client=client), "studio")
    reports = Ledger(listened=False)
    budget = budget_store(store, "studio")
    assert beat(budget, reports.report("a", keeps=30)).owned == 30
    assert beat(budget, reports.report("a", keeps=30)).owned == 30
    store.close()


def _beats(url: str, name: str, count: int, results: Any) -> None:
    store = make_store(SharedState(url), "studio")
    budget, reports = budget_store(store, "studio"), Ledger(listened=False)
    sequences = []
    for _ in range(count):
        reply = budget.serve(reports.report(name, keeps=3), always)
        sequences.append(reply.sequence if reply else None)
    store.close()
    results.put((name, sequences))


@pytest.mark.full
@pytest.mark.slow
def test_no_beat_of_several_processes_is_lost(store_url: str) -> None:
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    processes = [
        context.Process(target=_beats, args=(store_url, f"t{n}", 100, results))
        for n in range(4)
    ]
    for process in processes:
        process.start()
    found = dict(results.get(timeout=60) for _ in processes)
    for process in processes:
        process.join(30)
    assert found == {f"t{n}": list(range(1, 101)) for n in range(4)}
    store = make_store(SharedState(store_url), "studio")
    reply = budget_store(store, "studio").serve(Ledger().report("last"), always)
    assert reply
    assert reply.tenants == 5
    store.close()


def test_looking_shows_the_ledger_and_changes_nothing(store_url: str) -> None:
    store = make_store(SharedState(store_url), "studio")
    budget = budget_store(store, "studio")
    assert budget.look()[0] is None
    reports = Ledger(listened=False)
    beat(budget, reports.report("a", keeps=30))
    data, clock = budget.look()
    assert data
    assert decode(data).tenants["a"].shares[NAME].owned == 30
    assert abs(clock - time.time()) < 60
    assert budget.look()[0] == data
    assert beat(budget, reports.report("a", keeps=30)).owned == 30
    store.close()
