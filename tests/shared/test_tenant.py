"""The beats of a process: when, what it says in the log, and when it leaves."""

import logging
from math import inf
from typing import Any

import pytest
from support.ledger_reports import Ledger
from support.ledger_world import World

from edgegap_async._shared.ledger import BUSY
from edgegap_async._shared.messages import Reply, Report
from edgegap_async._shared.tenant import (
    JITTER,
    RETRY,
    SLEEPY,
    SOONEST,
    Tenant,
)
from edgegap_async.endpoints import Limit

N = 40


class Driven:
    """A tenant and a ledger that has listened."""

    def __init__(self) -> None:
        self.woken = 0
        self.tenant = Tenant(lease=5.0, fallback=None, wake=self._wake)
        self.slots = self.tenant.add(Limit("deploy", N), early_return=False)
        self.ledger = Ledger()

    def _wake(self) -> None:
        self.woken += 1

    def serve(self, report: Report) -> Reply:
        reply: Reply = self.ledger.fold(report)[report.tenant]
        return reply

    def beat(self, now: float) -> Report:
        report = self.tenant.begin(now)
        self.tenant.answered(report, self.serve(report), now)
        return report

    def fail(self, now: float, why: str = "no answer") -> None:
        self.tenant.failed(self.tenant.begin(now), now, why)


def test_a_tenant_without_calls_never_beats() -> None:
    driven = Driven()
    assert driven.tenant.due() == inf
    assert driven.tenant.asleep


def test_the_first_call_wants_a_beat_at_once() -> None:
    driven = Driven()
    driven.tenant.want_beat()
    assert driven.woken == 1
    assert driven.tenant.due() <= 0.0
    driven.tenant.want_beat()
    assert driven.woken == 1


def test_beats_are_due_when_the_ledger_says_a_little_sooner_or_later() -> None:
    dues = set()
    for _ in range(50):
        driven = Driven()
        driven.slots.used_at = 100.0
        driven.beat(100.0)
        dues.add(driven.tenant.due() - 100.0)
    assert len(dues) > 40
    assert min(dues) >= 0.7 * (1 - JITTER)
    assert max(dues) <= 0.7 * (1 + JITTER)


def test_wanted_beats_keep_a_distance() -> None:
    driven = Driven()
    driven.beat(100.0)
    driven.tenant.want_beat()
    assert driven.tenant.due() == 100.0 + SOONEST


def test_a_beat_that_is_wanted_during_another_one_comes_after_it() -> None:
    driven = Driven()
    report = driven.tenant.begin(100.0)
    driven.tenant.want_beat()
    assert driven.tenant.due() == inf
    driven.tenant.answered(report, driven.serve(report), 100.2)
    assert driven.tenant.due() == 100.0 + SOONEST


def test_a_beat_that_failed_is_repeated() -> None:
    driven = Driven()
    driven.slots.used_at = 100.0
    driven.fail(100.0)
    due = driven.tenant.due() - 100.0
    assert RETRY * (1 - JITTER) <= due <= RETRY * (1 + JITTER)


def test_reports_are_numbered_and_say_how_long_they_are_true() -> None:
    driven = Driven()
    driven.slots.used_at = 100.0
    first, second = driven.beat(100.0), driven.beat(100.25)
    assert (first.sequence, first.lease_left) == (1, None)
    assert second.sequence == 2
    assert second.lease_left == pytest.approx(5.0 - 1.002 - 0.25 - 0.25)
    assert second.lease == 5.0


def test_an_unused_tenant_leaves_and_the_next_call_brings_it_back() -> None:
    driven = Driven()
    driven.slots.used_at = 100.0
    driven.beat(100.0)
    driven.beat(100.0 + SLEEPY - 0.1)
    assert not driven.tenant.asleep
    driven.beat(100.0 + SLEEPY - 0.05)
    report = driven.beat(100.0 + SLEEPY)
    assert report.bye
    assert driven.tenant.asleep
    assert driven.tenant.due() == inf
    assert driven.ledger.owned == {}
    driven.tenant.want_beat()
    assert driven.tenant.due() < 100.0 + SLEEPY + 0.1


def test_a_tenant_leaves_even_if_nobody_answers_its_good_bye() -> None:
    driven = Driven()
    driven.slots.used_at = 100.0
    driven.beat(100.0)
    driven.beat(103.0)
    driven.slots.used_at = -inf
    driven.fail(104.0)
    assert driven.tenant.asleep
    assert driven.tenant.due() == inf


def test_an_unused_tenant_without_a_store_does_not_beat_forever() -> None:
    driven = Driven()
    driven.slots.used_at = 100.0
    driven.fail(100.0)
    assert not driven.tenant.asleep
    driven.fail(100.0 + SLEEPY)
    assert driven.tenant.asleep


def test_a_call_after_the_good_bye_was_sent_waits_for_another_beat() -> None:
    driven = Driven()
    driven.slots.used_at = 100.0
    driven.beat(100.0)
    driven.slots.used_at = -inf
    report = driven.tenant.begin(101.0)
    assert report.bye
    assert driven.slots.leased.slots(101.0) == 0
    driven.tenant.want_beat()
    driven.tenant.answered(report, driven.serve(report), 101.1)
    assert driven.tenant.due() == 101.0 + SOONEST


def test_one_warning_says_why_and_one_line_that_it_is_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "edgegap_async")
    driven = Driven()
    driven.slots.used_at = 100.0
    driven.beat(100.0)
    driven.fail(100.5)
    assert not caplog.records
    for at in (104.0, 104.3, 104.6, 105.0):
        driven.fail(at, "connection refused")
    driven.beat(105.5)
    driven.beat(106.0)
    assert [(each.levelname, each.getMessage()) for each in caplog.records] == [
        (
            "WARNING",
            "shared budget: the store does not answer, each process goes on with its fallback: connection refused",
        ),
        ("WARNING", "shared budget: the store answers again"),
    ]


def test_whoever_owes_much_gives_it_at_once() -> None:
    driven = Driven()
    driven.slots.used_at = 100.0
    ledger = driven.ledger
    ledger.beat("other", foreground=N)
    report = driven.tenant.begin(100.0)
    reply = driven.serve(report)
    limit = reply.limits["deploy"]
    told: dict[str, Any] = {
        name: getattr(limit, name) for name in limit.__struct_fields__
    }
    much = type(limit)(**{**told, "owned": 8, "cools": (0.0,) * 8, "owes": 2})
    answer = Reply(reply.sequence, 2, BUSY, {"deploy": much})
    driven.tenant.answered(report, answer, 100.0)
    assert driven.tenant.due() == 100.0 + SOONEST


def test_all_tenants_together_get_to_know_each_other() -> None:
    world = World(N)
    tenants = [world.join(20) for _ in range(3)]
    world.run(4.0)
    assert {tenant.core.lease.members for tenant in tenants} == {3}
    assert len({Tenant(lease=5, fallback=None, wake=print).id for _ in range(9)}) == 9
