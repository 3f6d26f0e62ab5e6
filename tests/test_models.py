"""What the API answers, as structs: every sample of the reference page, with nothing
lost and nothing demanded.
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
from support.samples import STATUS, STRUCTS, lost, read, status

from edgegap_async import DeploymentState
from edgegap_async.models.location import Location

# Without these an answer is no answer: which deployment, which host, which tag; and the
# list in a list.
IDENTITIES = {"request_id", "host_id", "name", "data", "locations", "tags"}


def places(sample: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each value that belongs to a key, at any depth."""
    for key, item in sample.items() if isinstance(sample, dict) else enumerate(sample):
        if isinstance(key, str):
            yield (*path, key)
        if isinstance(item, dict | list):
            yield from places(item, (*path, key))


def changed(sample: Any, path: tuple[Any, ...], value: Any) -> Any:
    """The sample with another value at a place, or with nothing there (`...`)."""
    sample = copy.deepcopy(sample)
    inner = sample
    for key in path[:-1]:
        inner = inner[key]
    if value is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return sample


def is_identity(key: str, path: tuple[Any, ...]) -> bool:
    inside_port = "ports" in path
    own_tags = path != ("tags",) or "tags" not in BY_KEY[key].path
    return (
        path[-1] in IDENTITIES
        and not inside_port
        and not (path[-1] == "tags" and own_tags)
    )


def test_the_page_has_sixteen_operations_and_its_samples_are_whole() -> None:
    assert len(OPERATIONS) == len(BY_KEY) == 16
    for operation in OPERATIONS:
        length = operation.headers.get("Content-Length")
        assert (operation.body is None) == (length is None)
        # the page counts the bytes of the compact form
        if length:
            assert len(json.dumps(operation.body, separators=(",", ":"))) == int(length)
    assert [key for key, operation in BY_KEY.items() if operation.answer is None] == [
        "DELETE /v1/deployments/{request_id}/tags/{tag_name}"
    ]


@pytest.mark.parametrize("key", STRUCTS)
def test_a_sample_decodes_with_nothing_lost(key: str) -> None:
    assert list(lost(BY_KEY[key].answer, read(key, BY_KEY[key].answer))) == []


def unread(key: str, path: tuple[Any, ...]) -> Iterator[str]:
    """What goes wrong where the value at a place of the sample is absent, null or
    empty.
    """
    sample = BY_KEY[key].answer
    place = "$" + "".join(
        f"[{step}]" if isinstance(step, int) else f".{step}" for step in path
    )
    for nothing in (..., None, ""):
        try:
            answer = read(key, changed(sample, path, nothing))
        except msgspec.ValidationError as error:
            yield f"{place} = {nothing!r}: {error}"
            continue
        missed = list(lost(sample, answer))
        yield from (
            f"{place} = {nothing!r} took {item} along"
            for item in missed
            if not item.startswith(place)
        )
        if nothing != "" and not missed:
            yield f"{place} = {nothing!r}: the comparison does not see it"


@pytest.mark.parametrize("key", STRUCTS)
def test_what_is_absent_null_or_empty_is_no_error_and_hides_nothing_else(
    key: str,
) -> None:
    every = list(places(BY_KEY[key].answer))
    identities = [path for path in every if is_identity(key, path)]
    # The keys of `ports` are data, not fields: a port that is not there is another
    # test.
    fields = [
        path for path in every if path not in identities and path[-2:-1] != ("ports",)
    ]
    assert [problem for path in fields for problem in unread(key, path)] == []
    for path in identities:
        with pytest.raises(msgspec.ValidationError):
            read(key, changed(BY_KEY[key].answer, path, ...))


@pytest.mark.parametrize("form", ["Status.{}", "{}"])
@pytest.mark.parametrize(
    "state",
    [state for state in DeploymentState if state is not DeploymentState.UNKNOWN],
)
def test_a_state_is_known_in_each_form(form: str, state: DeploymentState) -> None:
    for raw in (form.format(state.name), form.format(state.name.lower())):
        seen = status(current_status=raw)
        assert (seen.state, seen.current_status) == (state, raw)


@pytest.mark.parametrize(
    "raw",
    ["Status.HIBERNATING", "HIBERNATING", "Status.", "", None, ..., "Status.UNKNOWN"],
)
def test_a_state_that_is_not_known_stays_readable(raw: Any) -> None:
    seen = status(current_status=raw)
    assert (seen.state, seen.current_status) == (
        DeploymentState.UNKNOWN,
        None if raw is ... else raw,
    )


@pytest.mark.parametrize("key", STRUCTS)
def test_answers_are_frozen_ignore_what_is_new_and_survive_pickle(key: str) -> None:
    sample = BY_KEY[key].answer
    answer = read(key, sample | {"brand_new": [{}]})
    assert answer == read(key, sample)
    assert pickle.loads(pickle.dumps(answer)) == answer  # noqa: S301 (our own bytes)
    with pytest.raises(AttributeError):
        setattr(answer, next(iter(sample)), None)


# a busy machine is no failure
UNHURRIED = settings(deadline=None)
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
# A given alphabet: all of Unicode would first be tabulated, for a second, on a machine
# that has never done so.
TEXTS = st.text("019-+:.eTZ aé\n\U0001f600", max_size=8)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS
)
NEARLY = st.sampled_from(
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
    SCALARS | NEARLY,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["external", "name", "latitude", "user_count"]), inner
        )
        | st.dictionaries(TEXTS, inner, max_size=3)
    ),
    max_leaves=8,
)


@UNHURRIED
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(LENIENT, VALUES)))
def test_whatever_comes_is_refused_whole_or_is_of_its_type(
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


EVERYWHERE = [(key, path) for key in STRUCTS for path in places(BY_KEY[key].answer)]


@UNHURRIED
@given(st.sampled_from(EVERYWHERE), VALUES)
def test_whatever_stands_anywhere_the_answer_is_refused_whole_or_read(
    at: tuple[str, Any], value: Any
) -> None:
    key, path = at
    try:
        answer = read(key, changed(BY_KEY[key].answer, path, value))
    except msgspec.ValidationError:
        return
    assert type(answer) is STRUCTS[key]


@UNHURRIED
@given(
    st.fixed_dictionaries(
        {}, optional=dict.fromkeys(LENIENT, st.sampled_from([None, ""]))
    )
)
def test_nothing_where_something_was_never_takes_the_answer_along(
    changes: dict[str, Any],
) -> None:
    assert status(**changes).request_id == BY_KEY[STATUS].answer["request_id"]


@UNHURRIED
@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_means_the_same_as_text(number: float) -> None:
    assert status(sockets=str(number)).sockets == status(sockets=number).sockets
