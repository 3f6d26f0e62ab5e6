"""Faults as values, and which requests they strike: no server, no clock."""

from typing import Any

import pytest

from edgegap_async.endpoints import OPERATIONS
from edgegap_async.simulator import Fault, Simulator
from edgegap_async.simulator.faults.effects import WAYS
from edgegap_async.simulator.faults.fault import KINDS, WEBHOOK
from edgegap_async.simulator.faults.injector import Mischief

DEPLOY = "deployments.deploy"


def strikes(
    faults: list[Fault], requests: int = 1000, operation: str = DEPLOY, seed: int = 0
) -> list[str]:
    """What strikes each of so many requests; "" for nothing."""
    mischief = Mischief(faults, seed)
    return [
        fault.kind if (fault := mischief.strike(operation, "answer")) else ""
        for _ in range(requests)
    ]


def test_every_kind_has_its_way_and_says_what_it_is() -> None:
    assert {*WAYS, "ok"} == {
        name for name, kind in KINDS.items() if kind.stage == "answer"
    }
    assert all(kind.about for kind in KINDS.values())
    docstring = Fault.__doc__ or ""
    for name in KINDS:
        stem, _, side = name.rpartition("-")
        assert (stem if side in ("before", "after") else name) in docstring


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_strikes_what_it_can_and_nothing_else(kind: str) -> None:
    seconds = 1.0 if KINDS[kind].detail == "seconds" else None
    for target in (*(row.call for row in OPERATIONS), WEBHOOK):
        if target in KINDS[kind].strikes:
            assert Fault(target, kind, seconds=seconds).operation == target
        else:
            with pytest.raises(ValueError, match=f"{kind} can't strike {target}"):
                Fault(target, kind, seconds=seconds)


@pytest.mark.parametrize(
    ("short", "call"),
    [
        ("deploy", DEPLOY),
        ("private_fleets.deploy", "private_fleets.deploy"),
        ("list", "deployments.list"),
        ("tags.list", "tags.list"),
        ("status", "deployments.status"),
        ("stop", "deployments.stop"),
        ("hosts", "private_fleets.hosts"),
        ("create", "tags.create"),
    ],
)
def test_the_last_word_of_an_operation_is_enough(short: str, call: str) -> None:
    assert Fault(short, "cut-after") == Fault(call, "cut-after")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("deploy:cut-after", Fault("deploy", "cut-after")),
        ("deploy:cut-after:0.05", Fault("deploy", "cut-after", 0.05)),
        (
            "private_fleets.deploy:late:0.02:20",
            Fault("private_fleets.deploy", "late", 0.02, 20.0),
        ),
        ("stop:deed-late::1.5", Fault("stop", "deed-late", 1.0, 1.5)),
        ("list:filters-empty", Fault("list", "filters-empty")),
        ("webhook:lost:0.1", Fault("webhook", "lost", 0.1)),
        ("webhook:swapped::5", Fault("webhook", "swapped", seconds=5.0)),
        (
            "list:filters-empty:0.5:tags,status",
            Fault("list", "filters-empty", 0.5, fields=["tags", "status"]),
        ),
    ],
)
def test_a_fault_can_be_written_as_text(text: str, fault: Fault) -> None:
    assert Fault.parse(text) == fault


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("deploy", "operation:kind"),
        ("deploy:late:1:2:3", "operation:kind"),
        ("depoly:cut-after", r"'depoly'.*deployments\.deploy.*tags\.delete"),
        ("deploy:cut-aftr", r"'cut-aftr'.*cut-before.*filters-empty"),
        ("deploy:cut-after:much", "much"),
        ("deploy:cut-after:1.5", r"share.*1\.5"),
        ("deploy:cut-after:nan", "share.*nan"),
        ("deploy:late", "seconds: late takes a number"),
        ("deploy:late:1:-1", r"seconds.*-1\.0"),
        ("deploy:late:1:inf", "seconds.*inf"),
        ("deploy:late:1:long", "long"),
        ("deploy:cut-after:1:5", "seconds: cut-after takes none"),
        (
            "list:422",
            "422 can't strike deployments.list, but deployments.deploy, private_fleets.deploy",
        ),
        ("list:filters-empty:1:tags,,status", "fields"),
        ("webhook:swapped", "seconds: swapped takes a number"),
        ("webhook:cut-after", "cut-after can't strike webhook, but deployments.deploy"),
        ("deploy:lost", "lost can't strike deployments.deploy, but webhook"),
    ],
)
def test_a_text_that_means_nothing_is_a_value_error_that_says_why(
    text: str, told: str
) -> None:
    with pytest.raises(ValueError, match=f"{text}.*{told}"):
        Fault.parse(text)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"times": 0}, "times"),
        ({"fields": ("tags",)}, "fields: cut-after takes none"),
        ({"kind": "filters-empty", "operation": "list", "fields": "tags"}, "fields"),
    ],
)
def test_a_wrong_argument_is_a_value_error_that_names_it(
    arguments: dict[str, Any], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        Fault(**{"operation": "deploy", "kind": "cut-after", **arguments})


def test_a_script_strikes_one_request_after_the_other() -> None:
    script = Fault.script("deploy", "cut-after", "ok", "late:20", "502-after")
    assert script[2] == Fault("deploy", "late", seconds=20.0, times=1)
    assert strikes([*script], 6) == ["cut-after", "", "late", "502-after", "", ""]
    then = Fault("deploy", "504-before")
    assert strikes([*Fault.script("deploy", "ok", "422"), then], 4) == [
        "",
        "422",
        "504-before",
        "504-before",
    ]
    assert strikes([*script], 6, operation="private_fleets.deploy") == [""] * 6


def test_a_script_of_things_that_come_together_is_refused() -> None:
    with pytest.raises(ValueError, match=r"lag:1, 500-before"):
        Fault.script("list", "lag:1", "500-before")
    with pytest.raises(ValueError, match="cut-aftr"):
        Fault.script("deploy", "cut-aftr")


def test_shares_are_kept_and_add_up() -> None:
    struck = strikes(
        [Fault("deploy", "cut-before", 0.3), Fault("deploy", "cut-after", 0.6)], 10_000
    )
    assert struck.count("cut-before") == pytest.approx(3000, abs=200)
    assert struck.count("cut-after") == pytest.approx(6000, abs=200)
    assert strikes([Fault("deploy", "cut-after", 0.0)]) == [""] * 1000
    assert strikes([Fault("deploy", "cut-after", 1 / 10)] * 10).count("") == 0


def test_shares_that_leave_nothing_to_others_are_refused() -> None:
    both = [Fault("deploy", "cut-after", 0.6), Fault("deploy", "502-after", 0.6)]
    with pytest.raises(ValueError, match=r"deployments\.deploy add up to 1\.2"):
        Simulator(faults=both)
    sim = Simulator(faults=both[:1])
    with pytest.raises(ValueError, match="add up"):
        sim.faults = both
    assert sim.faults == (both[0],)
    with pytest.raises(ValueError, match="not 'deploy:cut-after'"):
        Simulator(faults=["deploy:cut-after"])  # type: ignore[list-item]
    ignores, refuses = (
        Fault("list", f"filters-{how}", fields=(how,)) for how in ("ignored", "refused")
    )
    assert Simulator(
        faults=[
            ignores,
            refuses,
            Fault("list", "lag", seconds=1),
            Fault("list", "500-after"),
        ]
    ).faults
    with pytest.raises(ValueError, match=r"strike webhook add up to 1\.2"):
        Simulator(
            faults=[Fault("webhook", "lost", 0.6), Fault("webhook", "late", 0.6, 1.0)]
        )


def test_the_same_seed_strikes_the_same_requests() -> None:
    faults = [Fault("deploy", "cut-after", 0.1)]
    assert strikes(faults, seed=1) == strikes(faults, seed=1)
    assert strikes(faults, seed=1) != strikes(faults, seed=2)


def test_a_fault_changes_nothing_for_those_before_it_and_for_other_operations() -> None:
    one, other = Fault("deploy", "cut-after", 0.1), Fault("deploy", "502-after", 0.2)
    both = strikes([one, other])
    assert ["" if kind == "502-after" else kind for kind in both] == strikes([one])
    others = (
        Fault("list", "500-before", 0.5),
        Fault("list", "lag", 0.5, 1.0),
        Fault("webhook", "lost", 0.5),
    )
    mischief = Mischief([one, *others], 0)
    seen = []
    for _ in range(1000):
        mischief.strike("deployments.list", "answer")
        mischief.strike("deployments.list", "lag")
        mischief.strike("webhook", "webhook")
        seen.append(fault.kind if (fault := mischief.strike(DEPLOY, "answer")) else "")
    assert seen == strikes([one])


def test_what_has_struck_is_counted_and_what_is_left_is_told() -> None:
    mischief = Mischief(
        [
            *Fault.script("deploy", "cut-after", "ok"),
            Fault("stop", "408-before", times=3),
        ],
        0,
    )
    assert mischief.strike(DEPLOY, "answer") == Fault("deploy", "cut-after", times=1)
    assert mischief.strike("deployments.stop", "answer")
    assert mischief.faults == (
        Fault("deploy", "ok", times=1),
        Fault("stop", "408-before", times=2),
    )
    assert mischief.strike(DEPLOY, "answer") is None
    assert mischief.struck() == {"cut-after": 1, "408-before": 1}
    mischief.faults = [*mischief.faults, Fault("deploy", "502-after")]
    assert mischief.strike(DEPLOY, "answer") == Fault("deploy", "502-after")
    assert mischief.struck() == {"cut-after": 1, "408-before": 1, "502-after": 1}


def test_a_fault_of_fields_strikes_only_who_filters_by_one_of_them() -> None:
    mischief = Mischief(
        [Fault("list", "filters-empty", fields=("tags", "status"), times=1)], 0
    )
    assert mischief.strike("deployments.list", "filters", ["request_id"]) is None
    assert mischief.strike("deployments.list", "filters", ["request_id", "tags"])
    assert mischief.struck() == {"filters-empty": 1}
