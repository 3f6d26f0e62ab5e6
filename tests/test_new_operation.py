"""Every operation has its part in each place that CONTRIBUTING.md lists. A failure names
the place where a part is missing.
"""

import ast
import json
from collections.abc import Callable
from pathlib import Path
from types import NoneType
from typing import Any

import pytest
from support.reference import BY_KEY
from support.samples import STRUCTS

from edgegap_async import EdgegapSession, endpoints
from edgegap_async.endpoints import OPERATIONS, Endpoint
from edgegap_async.simulator.faults.kinds import KINDS
from edgegap_async.simulator.http.handlers import HANDLERS

Row = Endpoint[Any, Any]
TYPES = Path(__file__).with_name("typing_api.py")
# The reference page has a renamed operation once, under its old path.
RENAMED = {row.renamed for row in OPERATIONS if row.renamed}
each_row = pytest.mark.parametrize("row", OPERATIONS, ids=str)
each_documented_row = pytest.mark.parametrize(
    "row", [row for row in OPERATIONS if row not in RENAMED], ids=str
)


def key_of(row: Row) -> str:
    """Return the operation's key in `BY_KEY`: the page writes `{fleet-name}`."""
    return f"{row.method} {row.path}".replace("{fleet_name}", "{fleet-name}")


def test_every_endpoint_is_in_operations() -> None:
    rows = {
        name: row for name, row in vars(endpoints).items() if isinstance(row, Endpoint)
    }
    missing = [name for name, row in rows.items() if row not in OPERATIONS]
    assert not missing, f"add {missing} to OPERATIONS in endpoints.py"
    assert len(rows) == len(OPERATIONS), "OPERATIONS in endpoints.py has a row twice"


@each_row
def test_the_session_has_the_method(row: Row) -> None:
    namespace, _, method = row.call.partition(".")
    found: Callable[..., object] | None = getattr(
        getattr(EdgegapSession("made-up"), namespace, None), method, None
    )
    assert callable(found), f"add the method {method} to resources/{namespace}.py"


@each_row
def test_the_simulator_has_a_handler(row: Row) -> None:
    assert row.call in HANDLERS, (
        f"add {row.call} to HANDLERS in simulator/http/handlers.py"
    )


@each_documented_row
def test_the_reference_page_has_the_operation(row: Row) -> None:
    assert key_of(row) in BY_KEY, (
        f"add the section of {row} to tests/support/reference.txt, as on Edgegap's page, "
        "or to other_operations.txt, if the page does not have it"
    )


@each_documented_row
def test_the_samples_have_the_struct_of_the_answer(row: Row) -> None:
    expected = None if row.returns is NoneType else row.returns
    assert STRUCTS.get(key_of(row)) is expected, (
        f"add {row} to STRUCTS in tests/support/samples.py"
    )


@each_documented_row
def test_an_answer_with_a_request_id_can_lose_it(row: Row) -> None:
    operation = BY_KEY.get(key_of(row))
    has_id = '"request_id"' in json.dumps(operation and operation.answer)
    assert (row.call in KINDS["no-id"].operations) == has_id, (
        f"_WITH_ID in simulator/faults/kinds.py is wrong for {row}"
    )


@each_row
def test_the_type_of_the_answer_is_checked(row: Row) -> None:
    checked = {
        ast.unparse(call.args[1])
        for call in ast.walk(ast.parse(TYPES.read_text()))
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "assert_type"
    }
    name = "None" if row.returns is NoneType else row.returns.__name__
    assert name in checked, f"add a call of {row.call} to tests/typing_api.py"
