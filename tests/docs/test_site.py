"""The documentation: its code is correct, and every public name is in the reference."""

import asyncio
import importlib
import inspect
import re
import signal
import subprocess
import sys
import threading
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.paths import ROOT

import edgegap_async
from edgegap_async._transport.client import DEPLOY_TIMEOUT_FACTOR
from edgegap_async.resources.deployments import Deployments
from edgegap_async.simulator import Simulator

DOCS = ROOT / "docs"
PAGES = sorted(
    path
    for path in (ROOT / "README.md", *DOCS.rglob("*.md"))
    if "_build" not in path.parts
)
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
# A program that runs until Ctrl-C has it.
ENDLESS = "while True:"
DIRECTIVE = re.compile(r"^\.\. (currentmodule|module|auto\w+):: ([\w.]+)", re.MULTILINE)


def blocks(page: Path) -> list[str]:
    return BLOCK.findall(page.read_text())


def test_every_page_is_found() -> None:
    assert len(PAGES) > 20
    assert sum(len(blocks(page)) for page in PAGES) > 15


@pytest.mark.full
@pytest.mark.slow
def test_the_code_of_every_page_passes_the_type_checker(tmp_path: Path) -> None:
    for page in PAGES:
        for number, code in enumerate(blocks(page)):
            name = "_".join(page.relative_to(ROOT).with_suffix("").parts)
            path = tmp_path / f"{name.replace('-', '_')}_{number}.py"
            path.write_text(code)
    checked = subprocess.run(  # noqa: S603 - our own pages
        [
            *(sys.executable, "-m", "mypy", "--config-file="),
            *("--check-untyped-defs", "--ignore-missing-imports", str(tmp_path)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize(
    "page",
    [
        "quickstart.md",
        "cookbook/matchmaker.md",
        pytest.param("cookbook/jobs.md", marks=pytest.mark.slow),
    ],
)
@pytest.mark.edgegap_simulator(ready_after=(0, 0), stop_takes=0.0)
def test_the_programs_of_a_page_run(
    page: str,
    edgegap_simulator: Simulator,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("EDGEGAP_API_TOKEN", "made-up")
    monkeypatch.setenv("EDGEGAP_BASE_URL", edgegap_simulator.url)
    # They wait for the end of their servers, which run for an hour.
    waiting = "await server.wait_ended(timeout=3600)"
    programs = [
        code.replace(waiting, "pass")
        for code in blocks(DOCS / page)
        if "run(" in code and ENDLESS not in code
    ]
    assert programs
    for code in programs:
        exec(compile(code, page, "exec"), {"__name__": "page"})  # noqa: S102 - our page
    out = capsys.readouterr().out
    assert {
        "quickstart.md": out.count("ready:") == 2,
        "cookbook/matchmaker.md": all(f"match-{n} " in out for n in range(3)),
        "cookbook/jobs.md": "40 deploys in the busiest second" in out,
    }[page], out


@pytest.mark.skipif(sys.platform == "win32", reason="needs pthread_kill")
@pytest.mark.real_time
@pytest.mark.edgegap_simulator(ready_after=(0, 0), stop_takes=0.0, env=True)
def test_the_tasks_of_a_matchmaker_stop_their_servers_at_ctrl_c(
    edgegap_simulator: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = (it for it in blocks(DOCS / "cookbook/matchmaker.md") if ENDLESS in it)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    main_thread = threading.main_thread().ident
    assert main_thread is not None

    def interrupt() -> None:
        asyncio.run(
            edgegap_simulator.until(lambda: len(edgegap_simulator.running()) == 2)
        )
        signal.pthread_kill(main_thread, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            exec(compile(code, "matchmaker.md", "exec"), {"__name__": "page"})  # noqa: S102 - our page
    finally:
        thread.join()
        signal.signal(signal.SIGINT, before)
    assert len(edgegap_simulator.deployed()) == 2
    assert edgegap_simulator.stopped() == {*edgegap_simulator.deployed()}


def documented() -> Iterator[object]:
    """What the reference has."""
    for page in (DOCS / "reference").glob("*.md"):
        module = ""
        for directive, name in DIRECTIVE.findall(page.read_text()):
            if directive in ("currentmodule", "module"):
                module = name
            elif directive == "automodule":
                members = vars(importlib.import_module(name))
                yield from (
                    member
                    for key, member in members.items()
                    if not key.startswith("_")
                    and getattr(member, "__module__", name) == name
                )
            else:
                path, _, last = (
                    name if "." in name else f"{module}.{name}"
                ).rpartition(".")
                yield getattr(importlib.import_module(path), last)


@pytest.mark.parametrize(
    "name", [it for it in edgegap_async.__all__ if it != "__version__"]
)
def test_every_public_name_is_in_the_reference(name: str) -> None:
    wanted: Any = getattr(edgegap_async, name)
    assert any(found is wanted for found in documented()), f"docs/reference: {name}"


def test_every_public_module_is_in_the_reference() -> None:
    text = "".join(page.read_text() for page in (DOCS / "reference").glob("*.md"))
    for name, home in edgegap_async._MODULES.items():
        if name == home and not name.startswith("_"):
            assert f":: edgegap_async.{name}" in text, name


def shown_members() -> Iterator[tuple[str, Any]]:
    """The methods and functions that the reference shows, with their names."""
    for page in (DOCS / "reference").glob("*.md"):
        for part in re.split(r"\n(?=\.\. )", page.read_text()):
            excluded = re.search(r":exclude-members: (.+)", part)
            hidden = set(excluded[1].split(", ")) if excluded else set[str]()
            named = re.match(r"\.\. (autoclass|automodule):: ([\w.]+)", part)
            if not named or ":members:" not in part:
                continue
            if named[1] == "automodule":
                owner: Any = importlib.import_module(named[2])
            else:
                owner = next(
                    it
                    for it in documented()
                    if getattr(it, "__name__", "") == named[2].split(".")[-1]
                )
            for name, member in public_members(owner, hidden):
                yield f"{named[2]}.{name}", member
                if inspect.isclass(member):
                    for inner, method in public_members(member, hidden):
                        yield f"{named[2]}.{name}.{inner}", method


def public_members(owner: object, hidden: set[str]) -> Iterator[tuple[str, Any]]:
    home = getattr(owner, "__module__", getattr(owner, "__name__", ""))
    for name, member in vars(owner).items():
        member = member.fget if isinstance(member, property) else member
        member = getattr(member, "__func__", member)
        if name.startswith("_") or name in hidden:
            continue
        if getattr(member, "__module__", None) == home and callable(member):
            yield name, member


def classes_in(hint: object) -> Iterator[type]:
    if isinstance(hint, type) and not typing.get_args(hint):
        yield hint
    for part in typing.get_args(hint):
        yield from classes_in(part)


# The docstring of `Deployments` says what it is.
EXPLAINED = "HasRequestId"


def is_public(kind: type) -> bool:
    if kind.__name__ == EXPLAINED:
        return True
    public = [getattr(edgegap_async, name) for name in edgegap_async.__all__]
    hidden = any(part.startswith("_") for part in kind.__module__.split("."))
    return kind in public or not (
        kind.__module__.startswith("edgegap_async") and hidden
    )


def test_the_reference_shows_nothing_that_takes_or_returns_internals() -> None:
    shown = dict(shown_members())
    assert len(shown) > 150
    for name, member in shown.items():
        if inspect.isclass(member):
            continue
        # Not by `get_type_hints`: some names exist for type checkers only.
        for hint in member.__annotations__.values():
            for kind in classes_in(hint):
                assert is_public(kind), f"docs/reference: {name} shows {kind}"


def default(call: object, name: str) -> float:
    return float(inspect.signature(call).parameters[name].default)  # type: ignore[arg-type]


def test_the_page_of_timeouts_has_the_defaults() -> None:
    lines = (DOCS / "guide" / "timeouts.md").read_text().splitlines()
    rows = {
        cells[1].strip(): cells[2]
        for line in lines
        if len(cells := line.split("|")) == 5
    }
    session, deployments = edgegap_async.EdgegapSession, Deployments
    expected = {
        "`EdgegapSession(timeout=)`": (default(session, "timeout"),),
        "`EdgegapSession(attempt_timeout=)`": (
            default(session, "attempt_timeout"),
            DEPLOY_TIMEOUT_FACTOR * default(session, "attempt_timeout"),
        ),
        "`wait_until_ready(timeout=)`": (
            default(deployments.wait_until_ready, "timeout"),
        ),
        "`wait_until_stopped(timeout=)`": (
            default(deployments.wait_until_stopped, "timeout"),
        ),
        "`pool(max_age=)`": (
            default(deployments.pool, "check_every"),
            default(deployments.pool, "check_timeout"),
        ),
        "`pool.take(timeout=)`": (default(edgegap_async.Pool.take, "timeout"),),
        "`EdgegapSession(cleanup_timeout=)`": (default(session, "cleanup_timeout"),),
        "`SharedState(lease=)`": (default(edgegap_async.SharedState, "lease"),),
        "`SharedState(owner_lease=)`": (
            default(edgegap_async.SharedState, "owner_lease"),
        ),
        "`Retry(tries=, backoff=)`": (
            default(edgegap_async.Retry, "tries"),
            default(edgegap_async.Retry, "backoff"),
        ),
    }
    for begin, values in expected.items():
        (shown,) = (text for name, text in rows.items() if name.startswith(begin))
        numbers = [float(each) for each in re.findall(r"[0-9.]+", shown)]
        assert numbers == [*values], begin
