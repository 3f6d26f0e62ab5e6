"""The rate adapts to what all tenants sent, as in one process alone."""

import pytest
from support.ledger_reports import NAME, Ledger

from edgegap_async._limits.adaptive import EMPTYING, QUIET, SAFE
from edgegap_async._shared.messages import Answers, RefusedRequest
from edgegap_async._shared.shared_rate import MEASURING


def admitted(count: int, **more: float) -> Answers:
    """What a tenant tells if calls have waited, and nothing was refused."""
    values = {"span": 1.0, "waiting": 5.0, "all_admitted": count, **more}
    return Answers(admitted=count, **values)  # type: ignore[arg-type]


def refused(
    count: int, passed: int, *, retry_after: float = 0.0, **more: float
) -> Answers:
    """What it tells if so many were refused, and so many were admitted."""
    refusals = (RefusedRequest(0.05, retry_after),) * count
    values = {"span": 1.0, "waiting": 5.0, "all_admitted": passed, **more}
    return Answers(
        admitted=passed,
        refused=count,
        all_refused=count,
        refusals=refusals,
        **values,  # type: ignore[arg-type]
    )


def with_traffic(*counts: int, waiting: float = 5.0) -> Ledger:
    """A ledger whose tenants `t0`, `t1`, ... send so many requests a second."""
    ledger = Ledger()
    for _ in range(5):
        ledger.pass_time(0.25)
        for number, count in enumerate(counts):
            ledger.beat(
                f"t{number}", foreground=40, answers=admitted(count, waiting=waiting)
            )
    ledger.pass_time(0.05)
    return ledger


def test_a_drop_of_the_limit_is_measured_as_the_sum_of_all_tenants() -> None:
    ledger = with_traffic(20, 20)
    first = ledger.beat("t0", answers=refused(7, 13), foreground=40)
    # Until the others have reported, nothing is sent.
    assert first.rate == 40
    assert first.hold == pytest.approx(MEASURING)
    ledger.pass_time(0.1)
    second = ledger.beat("t1", answers=refused(8, 12), foreground=40)
    assert second.rate == pytest.approx(SAFE * 25)
    assert (second.slots, second.adapted) == (25, True)
    assert second.period == pytest.approx(25 / second.rate + 0.002)


def test_during_a_measurement_the_largest_report_of_each_tenant_counts() -> None:
    ledger = with_traffic(13, 13, 14)
    ledger.beat("t0", answers=refused(7, 8), foreground=40)
    ledger.pass_time(0.1)
    # It has sent nothing since, so that it has fewer in its last second.
    ledger.beat("t0", answers=admitted(5, all_refused=7), foreground=40)
    ledger.beat("t1", answers=admitted(9), foreground=40)
    ledger.pass_time(0.05)
    reply = ledger.beat("t2", answers=admitted(8), foreground=40)
    assert reply.rate == pytest.approx(SAFE * (8 + 9 + 8))


def test_a_measurement_does_not_wait_for_a_tenant_that_is_silent() -> None:
    ledger = with_traffic(20, 20)
    ledger.beat("t0", answers=refused(7, 8), foreground=40)
    ledger.pass_time(0.25)
    assert ledger.beat("t0", answers=refused(7, 8), foreground=40).rate == 40
    ledger.pass_time(0.1)
    reply = ledger.beat("t0", answers=refused(7, 8), foreground=40)
    # Its last report counts.
    assert reply.rate == pytest.approx(SAFE * 28)


def test_a_single_tenant_needs_no_measurement() -> None:
    ledger = with_traffic(40)
    reply = ledger.beat("t0", answers=refused(15, 25), foreground=40)
    assert reply.rate == pytest.approx(SAFE * 25)
    assert reply.hold == 0


def test_requests_admitted_in_a_part_of_a_second_are_followed_by_a_pause() -> None:
    ledger = with_traffic(10, 10)
    ledger.beat("t0", answers=refused(7, 8, span=0.2), foreground=40)
    reply = ledger.beat("t1", answers=refused(7, 8, span=0.1), foreground=40)
    assert reply.rate == pytest.approx(SAFE * 16)
    # The first of all was admitted 0.2 s ago.
    assert reply.hold == pytest.approx(EMPTYING - 0.2)


def test_refusals_of_all_tenants_together_show_a_drop() -> None:
    ledger = with_traffic(13, 13, 14)
    ledger.beat("t0", answers=refused(3, 10), foreground=40)
    ledger.beat("t1", answers=refused(3, 10), foreground=40)
    assert ledger.limit.measurement is None
    ledger.beat("t2", answers=refused(3, 10), foreground=40)
    assert ledger.limit.measurement is not None


def test_a_report_is_about_the_last_second_for_one_second() -> None:
    ledger = with_traffic(20, 20)
    ledger.pass_time(1.1)
    reply = ledger.beat("t0", answers=refused(9, 10), foreground=40)
    ledger.pass_time(MEASURING + 0.01)
    reply = ledger.beat("t0", answers=refused(9, 10), foreground=40)
    assert reply.rate == pytest.approx(SAFE * 10)


def test_overlapping_reports_never_add_up_to_more_than_the_limit() -> None:
    ledger = with_traffic(40, 40)
    assert ledger.limit.peak == 40


def test_the_peak_of_the_sum_is_forgotten_after_some_seconds() -> None:
    ledger = with_traffic(20, 20)
    for _ in range(8):
        assert max(ledger.limit.peak, ledger.limit.peak_before) == 40
        ledger.pass_time(0.25)
        for name in ("t0", "t1"):
            ledger.beat(name, answers=admitted(3), foreground=40)
    for _ in range(10):
        ledger.pass_time(0.25)
        for name in ("t0", "t1"):
            ledger.beat(name, answers=admitted(3), foreground=40)
    assert max(ledger.limit.peak, ledger.limit.peak_before) == 6


def test_after_a_pause_the_peak_is_that_of_the_requests_since() -> None:
    ledger = with_traffic(20, 20)
    ledger.pass_time(4.5)
    ledger.beat("t0", answers=admitted(3), foreground=40)
    assert max(ledger.limit.peak, ledger.limit.peak_before) == 3


def test_a_sporadic_refusal_changes_nothing_but_the_burst() -> None:
    ledger = with_traffic(20, 20, waiting=0.0)
    # Fewer are admitted now than a moment ago, so that no limit is the cause.
    ledger.beat("t1", answers=admitted(8, waiting=0.0), foreground=10)
    answers = refused(1, 10, waiting=0.0, retry_after=2.0)
    reply = ledger.beat("t0", answers=answers, foreground=10)
    assert (reply.rate, reply.slots, reply.hold) == (40, 40, 0)
    assert reply.adapted


def test_retry_after_holds_all_tenants_if_there_is_a_limit() -> None:
    ledger = with_traffic(20, 20)
    ledger.beat("t0", answers=refused(9, 11, retry_after=2.0), foreground=40)
    ledger.pass_time(0.1)
    reply = ledger.beat("t1", answers=refused(9, 11), foreground=40)
    assert reply.hold == pytest.approx(1.9)
    ledger.pass_time(0.5)
    assert ledger.beat("t0", foreground=40).hold == pytest.approx(1.4)


def test_a_refusal_that_is_reported_again_counts_once() -> None:
    ledger = with_traffic(10, 10)
    ledger.beat("t0", answers=refused(1, 10), foreground=10)
    for _ in range(3):
        ledger.pass_time(1.0)
        before = ledger.limit.refusals.evidence
        answers = refused(2, 10)
        ledger.beat("t0", answers=answers, foreground=10)
    # The second one speaks for a limit, once.
    assert ledger.limit.refusals.evidence == before > 0
    assert ledger.limit.adaptation is not None


def test_answers_are_counted_once_and_only_while_the_rate_is_adapted() -> None:
    ledger = with_traffic(10, 10)
    assert ledger.limit.refusals.looked == 0
    ledger.beat("t0", answers=refused(10, 15), foreground=40)
    ledger.beat("t1", answers=refused(10, 15), foreground=40)
    assert ledger.limit.adaptation is not None
    ledger.limit.adaptation.below = 100.0
    ledger.pass_time(1.0)
    for all_admitted in (40, 40, 50):
        ledger.pass_time(0.25)
        answers = admitted(10, all_admitted=all_admitted, all_refused=10)
        ledger.beat("t0", answers=answers, foreground=40)
        assert ledger.limit.refusals.looked == all_admitted - 15
    # What a newcomer was answered before is not known.
    ledger.beat("new", answers=admitted(10, all_admitted=900), foreground=40)
    assert ledger.limit.refusals.looked == 35


def test_without_waiting_calls_no_limit_is_concluded_from_a_refusal() -> None:
    rates = {}
    for waiting in (0.0, 5.0):
        ledger = with_traffic(5, 5, waiting=waiting)
        for number in range(1, 12):
            ledger.pass_time(0.9)
            answers = Answers(
                admitted=5,
                refused=1,
                span=1.0,
                waiting=waiting,
                all_admitted=5 * number,
                all_refused=number,
                refusals=(RefusedRequest(0.05),),
            )
            reply = ledger.beat("t0", answers=answers, foreground=40)
        rates[waiting] = reply.rate
    assert rates[0.0] == 40
    assert rates[5.0] < 20


def test_a_wait_for_the_end_of_a_hold_is_no_wait_for_the_limit() -> None:
    ledger = with_traffic(20, 20)
    ledger.limit.hold_until = ledger.state.at - 0.5 if ledger.state else 0.0
    ledger.beat("t0", answers=refused(9, 5), foreground=40)
    assert ledger.limit.measurement is not None
    assert not ledger.limit.measurement.saturated
    ledger = with_traffic(20, 20)
    ledger.beat("t0", answers=refused(9, 5), foreground=40)
    assert ledger.limit.measurement is not None
    assert ledger.limit.measurement.saturated


def test_the_smallest_documented_limit_of_all_tenants_applies() -> None:
    ledger = Ledger()
    ledger.beat("a", foreground=40)
    assert ledger.beat("b", rate=30.0).slots == 30
    assert ledger.beat("a", foreground=40).owes == 10


def test_the_documented_limit_applies_again_after_a_long_time() -> None:
    ledger = with_traffic(40)
    ledger.beat("t0", answers=refused(15, 25), foreground=40)
    adapted = []
    for _ in range(int(QUIET) + 20):
        ledger.clock += 0.95
        reply = ledger.beat("t0", foreground=40)
        adapted.append((reply.adapted, reply.rate))
    assert adapted[5][0]
    assert adapted[5][1] < 40
    assert adapted[-20] == (True, 40)
    for _ in range(10):
        ledger.clock += 0.95
        reply = ledger.beat("t0", foreground=40)
    assert (reply.adapted, reply.rate, reply.slots) == (False, 40, 40)
    assert ledger.limit.adaptation is None


def test_after_a_cut_the_tokens_that_are_too_many_are_given_back_and_destroyed() -> (
    None
):
    ledger = with_traffic(40)
    reply = ledger.beat("t0", answers=refused(20, 20), foreground=40)
    assert (reply.slots, reply.owned, reply.owes) == (20, 40, 20)
    ledger.beat("t0", foreground=40, keeps=20, given=(0.3,) * 20, all_given=20)
    assert (ledger.owned, ledger.limit.pool) == ({"t0": 20}, [])


def test_each_limit_adapts_by_itself() -> None:
    ledger = Ledger()
    for _ in range(5):
        ledger.pass_time(0.25)
        report = ledger.report("a", answers=admitted(40), limits=(NAME, "list"))
        ledger.fold(report)
    reply = ledger.fold(ledger.report("a", answers=refused(15, 25), limits=("list",)))
    assert reply["a"].limits["list"].slots < 40
    assert ledger.fold(ledger.report("a"))["a"].limits[NAME].slots == 40
