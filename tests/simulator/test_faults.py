"""Fault values, and which requests they hit."""

from typing import Any

import pytest

from edgegap_async.endpoints import OPERATIONS
from edgegap_async.simulator import Fault, Simulator
from edgegap_async.simulator.faults.effects import EFFECTS
from edgegap_async.simulator.faults.injector import FaultInjector
from edgegap_async.simulator.faults.kinds import KINDS, WEBHOOK

DEPLOY = "deployments.deploy"


def hits(
    faults: list[Fault], requests: int = 1000, operation: str = DEPLOY, seed: int = 0
) -> list[str]:
    """Return the kind of fault that hits each request; "" means none."""
    injector = FaultInjector(faults, seed)
    return [
        fault.kind if (fault := injector.pick(operation, "response")) else ""
        for _ in range(requests)
    ]


def test_every_kind_has_an_effect_and_a_description() -> None:
    assert {*EFFECTS, "ok"} == {
        name for name, kind in KINDS.items() if kind.stage == "response"
    }
    assert all(kind.about for kind in KINDS.values())
    docstring = Fault.__doc__ or ""
    for name in KINDS:
        stem, _, side = name.rpartition("-")
        assert (stem if side in ("before", "after") else name) in docstring


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_accepts_only_its_operations(kind: str) -> None:
    seconds = 1.0 if KINDS[kind].detail == "seconds" else None
    for target in (*(row.call for row in OPERATIONS), WEBHOOK):
        if target in KINDS[kind].operations:
            assert Fault(target, kind, seconds=seconds).operation == target
        else:
            with pytest.raises(ValueError, match=f"{kind} can't hit {target}"):
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
def test_an_operation_has_a_short_name(short: str, call: str) -> None:
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
        ("stop:processed-late::1.5", Fault("stop", "processed-late", 1.0, 1.5)),
        ("list:filters-empty", Fault("list", "filters-empty")),
        ("webhook:lost:0.1", Fault("webhook", "lost", 0.1)),
        ("webhook:reordered::5", Fault("webhook", "reordered", seconds=5.0)),
        (
            "list:filters-empty:0.5:tags,status",
            Fault("list", "filters-empty", 0.5, fields=["tags", "status"]),
        ),
    ],
)
def test_a_fault_can_be_parsed_from_text(text: str, fault: Fault) -> None:
    assert Fault.parse(text) == fault


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("deploy", "operation:kind"),
        ("deploy:late:1:2:3", "operation:kind"),
        ("depoly:cut-after", r"'depoly': did you mean deploy\?"),
        ("webhok:lost", r"'webhok': did you mean webhook\?"),
        ("tags.crate:ok", r"'tags.crate': did you mean tags\.create\?"),
        ("explode:ok", r"'explode'.*deployments\.deploy.*tags\.delete"),
        ("deploy:cut-aftr", r"'cut-aftr': did you mean cut-after\?"),
        ("deploy:melted", r"'melted'.*cut-before.*filters-empty"),
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
            (
                "422 can't hit deployments.list, only deployments.deploy, "
                "private_fleets.deploy"
            ),
        ),
        ("list:filters-empty:1:tags,,status", "fields"),
        ("webhook:reordered", "seconds: reordered takes a number"),
        ("webhook:cut-after", "cut-after can't hit webhook, only deployments.deploy"),
        ("deploy:lost", "lost can't hit deployments.deploy, only webhook"),
    ],
)
def test_an_invalid_text_is_a_value_error_that_says_why(
    text: str, message: str
) -> None:
    with pytest.raises(ValueError, match=f"{text}.*{message}"):
        Fault.parse(text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"times": 0}, "times"),
        ({"fields": ("tags",)}, "fields: cut-after takes none"),
        ({"kind": "filters-empty", "operation": "list", "fields": "tags"}, "fields"),
    ],
)
def test_an_invalid_argument_is_a_value_error_that_names_it(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Fault(**{"operation": "deploy", "kind": "cut-after", **arguments})


def test_a_script_hits_one_request_after_another() -> None:
    script = Fault.script("deploy", "cut-after", "ok", "late:20", "502-after")
    assert script[2] == Fault("deploy", "late", seconds=20.0, times=1)
    assert hits([*script], 6) == ["cut-after", "", "late", "502-after", "", ""]
    then = Fault("deploy", "504-before")
    assert hits([*Fault.script("deploy", "ok", "422"), then], 4) == [
        "",
        "422",
        "504-before",
        "504-before",
    ]
    assert hits([*script], 6, operation="private_fleets.deploy") == [""] * 6


def test_a_script_of_several_stages_is_refused() -> None:
    with pytest.raises(ValueError, match=r"lag:1, 500-before"):
        Fault.script("list", "lag:1", "500-before")
    with pytest.raises(ValueError, match="cut-aftr"):
        Fault.script("deploy", "cut-aftr")


def test_shares_are_respected_and_add_up() -> None:
    kinds = hits(
        [Fault("deploy", "cut-before", 0.3), Fault("deploy", "cut-after", 0.6)], 10_000
    )
    assert kinds.count("cut-before") == pytest.approx(3000, abs=200)
    assert kinds.count("cut-after") == pytest.approx(6000, abs=200)
    assert hits([Fault("deploy", "cut-after", 0.0)]) == [""] * 1000
    assert hits([Fault("deploy", "cut-after", 1 / 10)] * 10).count("") == 0


def test_shares_above_one_are_refused() -> None:
    both = [Fault("deploy", "cut-after", 0.6), Fault("deploy", "502-after", 0.6)]
    with pytest.raises(ValueError, match=r"deployments\.deploy add up to 1\.2"):
        Simulator(faults=both)
    sim = Simulator(faults=both[:1])
    with pytest.raises(ValueError, match="add up"):
        sim.faults = both
    assert sim.faults == (both[0],)
    with pytest.raises(ValueError, match="not 'deploy:cut-after'"):
        Simulator(faults=["deploy:cut-after"])  # type: ignore[list-item]
    ignored, refused = (
        Fault("list", f"filters-{how}", fields=(how,)) for how in ("ignored", "refused")
    )
    assert Simulator(
        faults=[
            ignored,
            refused,
            Fault("list", "lag", seconds=1),
            Fault("list", "500-after"),
        ]
    ).faults
    with pytest.raises(ValueError, match=r"faults in webhook add up to 1\.2"):
        Simulator(
            faults=[Fault("webhook", "lost", 0.6), Fault("webhook", "late", 0.6, 1.0)]
        )


def test_the_same_seed_hits_the_same_requests() -> None:
    faults = [Fault("deploy", "cut-after", 0.1)]
    assert hits(faults, seed=1) == hits(faults, seed=1)
    assert hits(faults, seed=1) != hits(faults, seed=2)


def test_a_fault_does_not_change_earlier_faults_or_other_operations() -> None:
    one, other = Fault("deploy", "cut-after", 0.1), Fault("deploy", "502-after", 0.2)
    both = hits([one, other])
    assert ["" if kind == "502-after" else kind for kind in both] == hits([one])
    others = (
        Fault("list", "500-before", 0.5),
        Fault("list", "lag", 0.5, 1.0),
        Fault("webhook", "lost", 0.5),
    )
    injector = FaultInjector([one, *others], 0)
    seen = []
    for _ in range(1000):
        injector.pick("deployments.list", "response")
        injector.pick("deployments.list", "lag")
        injector.pick("webhook", "webhook")
        seen.append(fault.kind if (fault := injector.pick(DEPLOY, "response")) else "")
    assert seen == hits([one])


def test_hits_are_counted_and_remaining_faults_are_returned() -> None:
    injector = FaultInjector(
        [
            *Fault.script("deploy", "cut-after", "ok"),
            Fault("stop", "408-before", times=3),
        ],
        0,
    )
    assert injector.pick(DEPLOY, "response") == Fault("deploy", "cut-after", times=1)
    assert injector.pick("deployments.stop", "response")
    assert injector.faults == (
        Fault("deploy", "ok", times=1),
        Fault("stop", "408-before", times=2),
    )
    assert injector.pick(DEPLOY, "response") is None
    assert injector.hits() == {"cut-after": 1, "408-before": 1}
    injector.faults = [*injector.faults, Fault("deploy", "502-after")]
    assert injector.pick(DEPLOY, "response") == Fault("deploy", "502-after")
    assert injector.hits() == {"cut-after": 1, "408-before": 1, "502-after": 1}


def test_a_fault_with_fields_hits_only_lists_that_filter_by_them() -> None:
    injector = FaultInjector(
        [Fault("list", "filters-empty", fields=("tags", "status"), times=1)], 0
    )
    assert injector.pick("deployments.list", "filters", ["request_id"]) is None
    assert injector.pick("deployments.list", "filters", ["request_id", "tags"])
    assert injector.hits() == {"filters-empty": 1}
