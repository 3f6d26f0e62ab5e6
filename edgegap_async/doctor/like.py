"""What was found, as arguments of a `Simulator`."""

from collections.abc import Mapping
from typing import Any, get_args

from ..models._check import fail
from ..simulator import Fault
from ..simulator.http.responses import RetryAfterForm
from ..simulator.rate_limits import Enforcement
from .findings import Diagnosis, Value

FIELDS = ("request_id", "tags", "application", "version", "status")
# The kind of fault that stands for what was found of a filter.
FILTERS: Mapping[str, str | None] = {
    "honoured": None,
    "ignored": "filters-ignored",
    "refused": "filters-refused",
    "empty": "filters-empty",
}
# Faults of lists, by a finding that is False.
MISSING = {"row_tags": "tags-missing", "total_count": "total-missing"}
GONE = ("404", "410", "400", "terminated")
FLEET = ("page", "renamed", "both")
# Seconds. What is shorter is the time of the calls that have found it.
LEAST_LAG = 1.0
ENFORCEMENTS: tuple[str, ...] = get_args(Enforcement)
# The header, if it can be read.
RETRY_AFTER: tuple[str, ...] = get_args(RetryAfterForm)
UNUSABLE = ("none", "unreadable")


def simulator_options(*diagnoses: Diagnosis) -> Mapping[str, Any]:
    """Return the arguments of a `Simulator` that behaves as what was found. What was not
    found out, and what a simulator can't do, is left out.

    Args:
        diagnoses: of `examine`, `life` and `limits`.

    Raises:
        ValueError: a finding has a value that there is not; the message names it.
    """
    found = {it.name: it.found for each in diagnoses for it in each.findings}
    options: dict[str, Any] = {"faults": [*_faults(found)]}
    if (size := _whole(found, "largest_page")) is not None:
        options["max_page_size"] = size
    if (newest := found.get("newest_first")) is not None:
        options["newest_first"] = _flag("newest_first", newest)
    gone = found.get("gone")
    if gone is None and found.get("not_found") == 400:
        gone = "400"
    if gone is not None:
        options["gone"] = _one_of("gone", gone, GONE)
    if (path := found.get("fleet_deploy")) not in (None, "none"):
        options["fleet_deploy"] = _one_of("fleet_deploy", path, FLEET)
    for name in ("ready_after", "stop_takes"):
        if (seconds := _number(found, name)) is not None:
            options[name] = (seconds, seconds) if name == "ready_after" else seconds
    if (lag := _number(found, "status_after")) is not None and lag >= LEAST_LAG:
        options["replica_lag"] = lag
    return {**options, **_limits(found)}


def _limits(found: Mapping[str, Value]) -> Mapping[str, Any]:
    options: dict[str, Any] = {}
    if (way := found.get("enforcement")) is not None:
        options["enforcement"] = _one_of("enforcement", way, ENFORCEMENTS)
    if (rate := _number(found, "list_rate", "requests per second")) is not None:
        if rate == 0:
            fail("list_rate", "must be above 0")
        options["rates"] = {"list": rate}
    form = found.get("retry_after_form")
    if form is not None:
        _one_of("retry_after_form", form, (*RETRY_AFTER, *UNUSABLE))
    wait = _number(found, "retry_after")
    if wait is not None and form in RETRY_AFTER:
        options |= {"retry_after": wait, "retry_after_form": form}
    return options


def _faults(found: Mapping[str, Value]) -> list[Fault]:
    faults: list[Fault] = []
    by_kind: dict[str, list[str]] = {}
    for field in FIELDS:
        name = f"filter_{field}"
        if (value := found.get(name)) is None:
            continue
        if kind := FILTERS[_one_of(name, value, tuple(FILTERS))]:
            by_kind.setdefault(kind, []).append(field)
    for kind, fields in by_kind.items():
        faults.append(Fault("list", kind, fields=tuple(fields)))
    if (lag := _number(found, "listed_after")) is not None and lag >= LEAST_LAG:
        faults.append(Fault("list", "lag", seconds=lag))
    for name, kind in MISSING.items():
        value = found.get(name)
        if value is not None and not _flag(name, value):
            faults.append(Fault("list", kind))
    return faults


def _one_of(name: str, value: Value, known: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in known:
        fail(name, f"must be one of {', '.join(known)}, not {value!r}")
    return value


def _flag(name: str, value: Value) -> bool:
    if not isinstance(value, bool):
        fail(name, f"must be true or false, not {value!r}")
    return value


def _whole(found: Mapping[str, Value], name: str) -> int | None:
    value = found.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        fail(name, f"must be a number of rows, not {value!r}")
    return value


def _number(
    found: Mapping[str, Value], name: str, unit: str = "seconds"
) -> float | None:
    value = found.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        fail(name, f"must be a number of {unit}, not {value!r}")
    return float(value)
