"""The architecture holds: modules import lower layers only, and paths and rates are
written in one table.
"""

import ast
import importlib
import os
import subprocess
import sys
from collections.abc import Collection, Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TypeAlias

import pytest

import edgegap_async

PACKAGE = Path(edgegap_async.__file__).parent
NAME = PACKAGE.name
# From the lowest layer to the highest: a module may import the modules listed above it.
# The members of a layer with a star may import each other.
LAYERS = [
    ("_version",),
    ("models._check", "models._plain"),
    ("models._wire",),
    ("models._urls",),
    ("models.*",),
    ("endpoints",),
    ("errors", "events"),
    ("_masking",),
    (
        "_limits",
        "_limits.clock",
        "_limits.config",
        "_limits.doubt",
        "_limits.queue",
        "_limits.refusals",
        "_limits.shaper",
    ),
    ("_limits.adaptive", "_limits.measurements"),
    ("_limits.slots",),
    ("_limits.limiter",),
    ("_limits.registry",),
    (
        "_shared",
        "_shared.config",
        "_shared.machine",
        "_shared.messages",
        "_shared.relay_messages",
        "_shared.store",
    ),
    ("_shared.state", "_shared.store_redis", "_shared.store_sqlite", "_shared.thread"),
    ("_shared.goals", "_shared.shared_rate"),
    ("_shared.tokens",),
    ("_shared.clock",),
    ("_shared.ledger", "_shared.lease"),
    ("_shared.beat", "_shared.leased_slots"),
    ("_shared.budget_store", "_shared.tenant"),
    ("_shared.entries", "_shared.owners"),
    ("_shared.journal_store", "_shared.relay_store"),
    ("_shared.ownership", "_shared.stores"),
    ("_shared.budget", "_shared.limit_listing", "_shared.listing"),
    (
        "_transport",
        "_transport.deadlines",
        "_transport.environment",
        "_transport.permits",
    ),
    (
        "_transport.binding",
        "_transport.error_body",
        "_transport.loop_end",
        "_transport.pool",
        "_transport.unasked",
        "_transport.retry",
    ),
    ("_transport.options",),
    (
        "_run",
        "_transport.request",
        "_transport.response",
    ),
    ("_transport.trace",),
    ("_transport.exchange",),
    ("_transport.attempts",),
    ("_transport.client",),
    ("_transport.queries",),
    ("_transport.presence", "_transport.whole_lists"),
    ("webhooks", "probes"),
    ("_records", "_records.state"),
    ("_records.records", "_records.search_tags"),
    ("_records.existence", "_records.lifecycle"),
    (
        "_waiters",
        "_waiters.due_queue",
        "_waiters.filter_health",
        "_waiters.outcomes",
        "_waiters.poll_loop",
        "_waiters.waiter",
    ),
    ("_waiters.schedule",),
    ("_waiters.poller", "_waiters.stream"),
    ("_waiters.end_lists", "_waiters.recent_events"),
    ("_waiters.end_watcher",),
    ("_waiters.watcher",),
    (
        "_deploys",
        "_deploys.batch_plan",
        "_deploys.blocks",
        "_deploys.leftovers",
        "_deploys.row_tags",
    ),
    ("_deploys.tag_lists",),
    (
        "_deploys.capacity",
        "_deploys.leases",
        "_deploys.stopper",
        "_deploys.tag_search",
        "_deploys.webhook_router",
    ),
    (
        "_deploys.open_entries",
        "_deploys.pool",
        "_deploys.relay",
        "_deploys.take_over",
    ),
    ("_deploys.journal",),
    ("_deploys.handled", "_deploys.pending"),
    ("_deploys.filter_proof",),
    ("_deploys.find",),
    ("_deploys.background", "_deploys.reap"),
    ("_deploys.runner",),
    ("_deploys.closing",),
    ("_deploys.manager",),
    ("_deploys.batch",),
    ("resources", "resources._in_use", "resources._options"),
    ("resources.*",),
    ("session",),
    ("container",),
    ("load.plan",),
    ("load.report",),
    (
        "load.figures",
        "load.recording",
        "load.servers",
        "load.words",
        "load.page_style",
    ),
    (
        "load.building",
        "load.page_map",
        "load.placements",
        "load.svg",
        "load.thresholds",
    ),
    ("load.compare",),
    ("load.page_charts",),
    ("load.page",),
    ("load.runner",),
    ("load",),
    ("",),
    ("integrations", "integrations._protocol", "integrations._signals"),
    ("integrations._watched",),
    ("integrations._spans",),
    ("integrations.opentelemetry", "integrations.prometheus"),
    ("integrations._lifespan",),
    ("integrations._webhook_app",),
    ("integrations.asgi",),
    ("simulator.*",),
    ("doctor.findings",),
    ("doctor.counting", "doctor.life", "doctor.like", "doctor.questions"),
    ("doctor.limits",),
    ("doctor",),
    ("integrations._session_fixture",),
    ("integrations.pytest_session",),
    ("cli.*",),
    ("__main__",),
]
# The number of layers that the simulator may import.
VALUE_LAYERS = 6
# `_transport` and `session` use the type of a given HTTP session, `webhooks` only makes
# routes.
WITH_AIOHTTP = {
    "_transport.client",
    "_transport.exchange",
    "_transport.pool",
    "_transport.unasked",
    "session",
    "webhooks",
}


def module_name(path: Path) -> str:
    return (
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        .removesuffix("__init__")
        .rstrip(".")
    )


FILES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


@cache
def parsed(module: str) -> ast.Module:
    """Parse a module. All of them take a second, which each worker would spend before
    its first test.
    """
    return ast.parse(FILES[module].read_text())


def layer(module: str) -> int:
    for number, names in enumerate(LAYERS):
        for name in names:
            if module == name or (
                name.endswith(".*") and f"{module}.".startswith(name[:-1])
            ):
                return number
    raise AssertionError(f"{module} has no layer: add it to LAYERS")


def last_name(node: ast.expr) -> str:
    """The `b` of `b` and of `a.b`."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def statements(tree: ast.AST) -> Iterator[ast.stmt]:
    """All statements that run."""
    # No expression has a statement in it.
    left = [tree]
    while left:
        for node in ast.iter_child_nodes(left.pop()):
            if isinstance(node, ast.If) and last_name(node.test) == "TYPE_CHECKING":
                left += node.orelse
                yield from node.orelse
            elif isinstance(node, ast.stmt):
                left.append(node)
                yield node
            elif isinstance(node, ast.ExceptHandler | ast.match_case):
                left.append(node)


def absolute(module: str, node: ast.ImportFrom) -> str:
    """The absolute name of the module in a `from ... import`."""
    if not node.level:
        return node.module or ""
    package = [NAME, *module.split(".")] if module else [NAME]
    if FILES[module].name != "__init__.py":
        package = package[:-1]
    return ".".join(
        [*package[: len(package) - node.level + 1], *filter(None, [node.module])]
    )


@cache
def imported(module: str) -> Collection[str]:
    """All modules that a module imports, at any depth of its code."""
    return {*_imported(module)}


def _imported(module: str) -> Iterator[str]:
    for node in statements(parsed(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = absolute(module, node)
            for alias in node.names:
                inner = f"{source}.{alias.name}".removeprefix(NAME).lstrip(".")
                is_module = source.split(".")[0] == NAME and inner in FILES
                yield f"{source}.{alias.name}" if is_module else source


def inside(module: str) -> set[str]:
    """The modules of this package that a module imports."""
    found = (name for name in imported(module) if name.split(".")[0] == NAME)
    return {name.removeprefix(NAME).lstrip(".") for name in found}


def test_folders_import_lower_folders_only() -> None:
    """As the layers of a folder lie together. The rest stands beside the SDK."""
    top = [{name.split(".")[0] for name in names} for names in LAYERS]
    internal = {path.name for path in PACKAGE.glob("_*") if path.is_dir()}
    folders = (internal - {"__pycache__"}) | {"models", "resources"}
    for folder in folders:
        layers = [number for number, names in enumerate(top) if folder in names]
        between = set().union(*top[layers[0] : layers[-1] + 1]) & folders
        assert between == {folder}


@pytest.mark.slow
def test_modules_import_lower_layers_only() -> None:
    for module in FILES:
        here = layer(module)
        members_import_each_other = any(name.endswith(".*") for name in LAYERS[here])
        for other in inside(module) - {module}:
            assert layer(other) < here or (
                members_import_each_other and layer(other) == here
            ), f"{module} imports {other}"


def test_the_simulator_imports_values_only() -> None:
    for module in FILES:
        if module.startswith("simulator"):
            seen = {
                other for other in inside(module) if not other.startswith("simulator")
            }
            assert {other for other in seen if layer(other) >= VALUE_LAYERS} <= {""}, (
                module
            )


def test_there_is_no_import_cycle() -> None:
    TopologicalSorter({module: inside(module) - {module} for module in FILES}).prepare()


@pytest.mark.parametrize("folder", ["_deploys", "_waiters", "_records"])
def test_the_architecture_names_each_module_of_a_folder(folder: str) -> None:
    picture = (PACKAGE.parent / "docs" / "architecture.md").read_text().split("```")[1]
    modules = {
        module.removeprefix(f"{folder}.")
        for module in FILES
        if module.startswith(f"{folder}.")
    }
    assert modules - set(picture.split()) == set()


def test_only_the_transport_uses_aiohttp() -> None:
    users = {
        module
        for module in FILES
        if any(name.split(".")[0] == "aiohttp" for name in imported(module))
    }
    # The simulator is a server, and the CLI may pass its own HTTP session.
    assert {
        module for module in users if not module.startswith(("simulator.", "cli."))
    } == WITH_AIOHTTP


def documentation(tree: ast.AST) -> set[ast.AST]:
    """The nodes that are docstrings."""
    found: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(
            node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        ):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                found |= {first, first.value}
    return found


def paths_and_rates(module: str) -> Iterator[str]:
    """Where a module writes a path or a rate of the API."""
    docs = documentation(parsed(module))
    for node in ast.walk(parsed(module)):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and node not in docs
        ):
            if "/v1/" in node.value or "/v2/" in node.value:
                yield f"{module}:{node.lineno} {node.value}"
        elif isinstance(node, ast.Call) and last_name(node.func) in (
            "Limit",
            "Endpoint",
        ):
            numbers = [
                item
                for item in ast.walk(node)
                if isinstance(item, ast.Constant) and type(item.value) is int
            ]
            yield from (
                f"{module}:{number.lineno} {number.value}" for number in numbers
            )


@pytest.mark.slow
def test_paths_and_rates_are_written_in_endpoints_only() -> None:
    assert [
        found
        for module in FILES
        if module != "endpoints"
        for found in paths_and_rates(module)
    ] == []
    assert len(list(paths_and_rates("endpoints"))) > 16, (
        "the search does not find what it is for"
    )


Described: TypeAlias = (
    ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
)


def public(tree: Described, within: str) -> Iterator[tuple[str, Described]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(
            node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        ) and not node.name.startswith("_"):
            yield f"{within}.{node.name}", node
            if isinstance(node, ast.ClassDef):
                yield from public(node, f"{within}.{node.name}")


def test_public_names_have_docstrings() -> None:
    everything = [
        pair
        for module in FILES
        for pair in ((module, parsed(module)), *public(parsed(module), module))
    ]
    assert [name for name, node in everything if not ast.get_docstring(node)] == []


def test_the_public_names_are_sorted_and_can_be_imported() -> None:
    names = edgegap_async.__all__
    assert list(names) == sorted(set(names))
    assert "EdgegapSession" in names
    assert set(names) <= set(dir(edgegap_async))
    for name in dir(edgegap_async):
        assert getattr(edgegap_async, name) is not None
    with pytest.raises(AttributeError, match="nothing_of_ours"):
        _ = edgegap_async.nothing_of_ours


def loaded_by(statement: str) -> set[str]:
    """The top-level names of all modules that a fresh interpreter has loaded after a
    statement.
    """
    code = f"import sys; {statement}; print(*{{name.split('.')[0] for name in sys.modules}})"
    # Coverage would load its own modules in it.
    environment = {
        name: it for name, it in os.environ.items() if "COVERAGE" not in name
    }
    run = subprocess.run(  # noqa: S603 (our own)
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    return set(run.stdout.split())


@pytest.mark.slow
def test_imports_load_no_dependency_before_it_is_needed() -> None:
    heavy = {"aiohttp", "msgspec", "yarl", "aiolimiter", "asyncio"}
    assert not loaded_by("import edgegap_async.simulator.plugin") & heavy
    assert not loaded_by("import edgegap_async") & heavy
    assert heavy <= loaded_by("from edgegap_async import EdgegapSession")
    assert not loaded_by("from edgegap_async import EdgegapSession") & {
        "rich",
        "click",
        "pytest",
        "sqlite3",
        "redis",
        "prometheus_client",
        "opentelemetry",
    }
    assert not loaded_by("from edgegap_async import WebhookReceiver") & {
        "aiohttp",
        "yarl",
        "aiolimiter",
    }


@pytest.mark.slow
def test_a_session_without_shared_state_loads_nothing_of_it() -> None:
    code = (
        "import sys; from edgegap_async import EdgegapSession; EdgegapSession('made-up');"
        "print(*[it for it in sys.modules if '_shared' in it or '.journal' in it])"
    )
    run = subprocess.run(  # noqa: S603 (our own)
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == []


def test_every_module_can_be_imported() -> None:
    for module in FILES:
        if module != "__main__":
            assert importlib.import_module(f"{NAME}.{module}".rstrip("."))
