"""Each sample of the reference page decodes without loss, and almost every field of it
may be missing.
"""

import copy
import json
import pickle
from collections.abc import Iterator, Mapping
from datetime import datetime
from types import NoneType
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.reference import BY_KEY, OPERATIONS
from support.samples import STATUS, STRUCTS, differences, read, status

from edgegap_async import DeploymentState, endpoints
from edgegap_async.models.location import Location

# An answer must have the identity of its deployment, host or tag, and a list must have
# its rows.
REQUIRED = {"request_id", "host_id", "name", "data", "locations", "tags", "host"}
# The newer operations, of which an answer may have no rows.
PROFILE = "/v1/storage/endpoint/{endpoint_name}/pull-profile/{pull_profile_name}"
WITHOUT_ROWS = {
    ("GET /v1/locations/beacons", ("locations",)),
    ("GET /v1/container-registry/images/{image_name}/tags", ("data",)),
}


def key_paths(sample: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Return the path to each value that has a key, at any depth."""
    for key, item in sample.items() if isinstance(sample, dict) else enumerate(sample):
        if isinstance(key, str):
            yield (*path, key)
        if isinstance(item, dict | list):
            yield from key_paths(item, (*path, key))


def with_value(sample: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Copy the sample with another value at `path`, or without the key (`...`)."""
    sample = copy.deepcopy(sample)
    inner = sample
    for key in path[:-1]:
        inner = inner[key]
    if value is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return sample


def is_required(key: str, path: tuple[Any, ...]) -> bool:
    inside_port = "ports" in path or "relay" in path
    if path[-1] == "session_id":
        # Also a field of the sessions in a status.
        return "/relays/" in key
    if path[-1] == "tag":
        # A result of a deletion is not found by its tag.
        return path[0] == "data"
    own_tags = path != ("tags",) or "tags" not in BY_KEY[key].path
    return (
        path[-1] in REQUIRED
        and (key, path) not in WITHOUT_ROWS
        and not inside_port
        and not (path[-1] == "tags" and own_tags)
    )


def test_the_reference_has_each_operation_once_with_complete_samples() -> None:
    rows = {row.call for row in endpoints.OPERATIONS}
    assert len(OPERATIONS) == len(BY_KEY) == len(rows), (
        "reference.txt and endpoints.py have different operations"
    )
    for operation in OPERATIONS:
        length = operation.headers.get("Content-Length")
        assert (operation.body is None) == (length is None)
        # The reference page counts the bytes of compact JSON.
        if length:
            assert len(json.dumps(operation.body, separators=(",", ":"))) == int(length)
    assert [key for key, operation in BY_KEY.items() if operation.answer is None] == [
        "DELETE /v1/deployments/{request_id}/tags/{tag_name}",
        "POST /v1/deployments/{request_id}:report",
        "DELETE /v1/app/{app_name}",
        "DELETE /v1/relays/sessions/{session_id}",
        "POST /v1/relays/sessions:revoke-user",
        "DELETE /v1/storage/endpoint/{endpoint_name}",
        f"DELETE {PROFILE}",
        f"DELETE {PROFILE}/app/{{app_name}}/version/{{version_name}}",
    ]


@pytest.mark.parametrize("key", STRUCTS)
def test_a_sample_decodes_without_loss(key: str) -> None:
    assert list(differences(BY_KEY[key].answer, read(key, BY_KEY[key].answer))) == []


def decoding_problems(key: str, path: tuple[Any, ...]) -> Iterator[str]:
    """Describe each problem if the value at `path` is absent, null or empty."""
    sample = BY_KEY[key].answer
    place = "$" + "".join(
        f"[{step}]" if isinstance(step, int) else f".{step}" for step in path
    )
    for nothing in (..., None, ""):
        try:
            answer = read(key, with_value(sample, path, nothing))
        except msgspec.ValidationError as error:
            yield f"{place} = {nothing!r}: {error}"
            continue
        missed = list(differences(sample, answer))
        yield from (
            f"{place} = {nothing!r} also removed {item}"
            for item in missed
            if not item.startswith(place)
        )
        if nothing != "" and not missed:
            yield f"{place} = {nothing!r}: the comparison does not see it"


@pytest.mark.parametrize("key", STRUCTS)
def test_an_absent_null_or_empty_field_affects_no_other_field(
    key: str,
) -> None:
    every = list(key_paths(BY_KEY[key].answer))
    required = [path for path in every if is_required(key, path)]
    # The keys of `ports` are data and not fields, so they have a test of their own.
    fields = [
        path for path in every if path not in required and path[-2:-1] != ("ports",)
    ]
    assert [
        problem for path in fields for problem in decoding_problems(key, path)
    ] == []
    for path in required:
        with pytest.raises(msgspec.ValidationError):
            read(key, with_value(BY_KEY[key].answer, path, ...))


@pytest.mark.parametrize("form", ["Status.{}", "{}"])
@pytest.mark.parametrize(
    "state",
    [state for state in DeploymentState if state is not DeploymentState.UNKNOWN],
)
def test_a_state_is_recognized_in_each_form(form: str, state: DeploymentState) -> None:
    for raw in (form.format(state.name), form.format(state.name.lower())):
        seen = status(current_status=raw)
        assert (seen.state, seen.current_status) == (state, raw)


@pytest.mark.parametrize(
    "raw",
    ["Status.HIBERNATING", "HIBERNATING", "Status.", "", None, ..., "Status.UNKNOWN"],
)
def test_an_unknown_state_keeps_its_text(raw: Any) -> None:
    seen = status(current_status=raw)
    assert (seen.state, seen.current_status) == (
        DeploymentState.UNKNOWN,
        None if raw is ... else raw,
    )


@pytest.mark.parametrize("key", STRUCTS)
def test_answers_are_frozen_picklable_and_ignore_unknown_fields(key: str) -> None:
    sample = BY_KEY[key].answer
    answer = read(key, sample | {"brand_new": [{}]})
    assert answer == read(key, sample)
    assert pickle.loads(pickle.dumps(answer)) == answer  # noqa: S301 (our own bytes)
    with pytest.raises(AttributeError):
        setattr(answer, next(iter(sample)), None)


# A slow machine must not fail a test.
NO_DEADLINE = settings(deadline=None)
LENIENT = {
    "sockets": int,
    "elapsed_time": int,
    "start_time": datetime,
    "removal_time": datetime,
    "running": bool,
    "location": Location,
    "sessions": tuple,
    "fqdn": str,
    "tags": tuple,
    "ports": Mapping,
}
# A fixed alphabet: Hypothesis needs a second to build its table of all of Unicode.
TEXTS = st.text("019-+:.eTZ aé\n\U0001f600", max_size=8)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS
)
ALMOST_VALID = st.sampled_from(
    [
        "",
        "5",
        "-1.5",
        "1e999",
        "nan",
        "2025-11-29 22:35:31",
        "9999-12-31T23:59:59+23:59",
        "Montreal",
    ]
)
VALUES = st.recursive(
    SCALARS | ALMOST_VALID,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["external", "name", "latitude", "user_count"]), inner
        )
        | st.dictionaries(TEXTS, inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.mark.slow
@NO_DEADLINE
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(LENIENT, VALUES)))
def test_a_status_with_random_values_is_rejected_or_has_the_declared_types(
    changes: dict[str, Any],
) -> None:
    try:
        seen = status(**changes)
    except msgspec.ValidationError:
        return
    for name, kind in LENIENT.items():
        never_none = (tuple, Mapping) if name in ("tags", "ports") else ()
        assert isinstance(getattr(seen, name), never_none or (kind, NoneType)), name
    assert isinstance(seen.state, DeploymentState)
    try:
        host, port = seen.address("external")
    except LookupError:
        return
    assert host
    assert isinstance(port, int)


ALL_PATHS = [(key, path) for key in STRUCTS for path in key_paths(BY_KEY[key].answer)]


@NO_DEADLINE
@given(st.sampled_from(ALL_PATHS), VALUES)
def test_an_answer_with_any_value_anywhere_is_rejected_or_decoded(
    at: tuple[str, Any], value: Any
) -> None:
    key, path = at
    try:
        answer = read(key, with_value(BY_KEY[key].answer, path, value))
    except msgspec.ValidationError:
        return
    assert type(answer) is STRUCTS[key]


@NO_DEADLINE
@given(
    st.fixed_dictionaries(
        {}, optional=dict.fromkeys(LENIENT, st.sampled_from([None, ""]))
    )
)
def test_null_and_empty_values_never_reject_a_status(
    changes: dict[str, Any],
) -> None:
    assert status(**changes).request_id == BY_KEY[STATUS].answer["request_id"]


@NO_DEADLINE
@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_equals_its_text_form(number: float) -> None:
    assert status(sockets=str(number)).sockets == status(sockets=number).sockets
