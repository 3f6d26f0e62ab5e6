"""What the README and the guide show is correct. `python tests/docs/test_readme.py` writes
the tables of operations in the README and in the reference.
"""

import asyncio
import re
import socket
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from edgegap_async import EdgegapSession
from edgegap_async.endpoints import OPERATIONS, OTHER_LIMIT, Endpoint
from edgegap_async.simulator import Simulator

# Not from `support.paths`, which this file can't import when it runs as a program.
README = Path(__file__).parent.parent.parent / "README.md"
GUIDE = README.parent / "docs" / "guide"
REFERENCE = README.parent / "docs" / "reference" / "operations.md"
MARKERS = re.compile(
    r"(<!-- operations: .*? -->\n)(.*?)(<!-- /operations -->)", re.DOTALL
)


def namespaces() -> Iterator[str]:
    """The lines of the table in the README."""
    yield "| namespace | methods for one operation each |"
    yield "|---|---|"
    methods: dict[str, dict[str, None]] = {}
    for endpoint in OPERATIONS:
        namespace, _, method = endpoint.call.partition(".")
        # Each once: an operation may have two paths.
        methods.setdefault(namespace, {})[method] = None
    for namespace, names in methods.items():
        yield f"| `{namespace}` | {', '.join(f'`{name}`' for name in names)} |"


def operations() -> Iterator[str]:
    """The lines of the table in the reference."""
    yield "| call | request | limit |"
    yield "|---|---|---|"
    renamed = {endpoint.renamed for endpoint in OPERATIONS if endpoint.renamed}
    for endpoint in OPERATIONS:
        note = (
            ", its newer path: tried where the other answers 404 or 405"
            if endpoint in renamed
            else ""
        )
        yield f"| `{endpoint.call}`{note} | `{endpoint.method} {endpoint.path}` | {limit(endpoint)} |"


def limit(endpoint: Endpoint[Any, Any]) -> str:
    """A limit as text."""
    return f"{endpoint.limit.rate:g}/s{', ours: none is documented' if endpoint.limit is OTHER_LIMIT else ''}"


TABLES = {README: namespaces, REFERENCE: operations}


def with_current_table(page: Path) -> str:
    """The text of a page with its current table."""
    table = "\n".join([*TABLES[page](), ""])
    return MARKERS.sub(lambda found: found[1] + table + found[3], page.read_text())


def blocks(language: str, text: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def section(title: str) -> str:
    """The text under a heading."""
    _, _, rest = README.read_text().partition(f"\n## {title}\n")
    return rest.partition("\n## ")[0]


@pytest.mark.parametrize("page", TABLES)
def test_the_tables_of_operations_are_current(page: Path) -> None:
    assert MARKERS.search(page.read_text())
    assert page.read_text() == with_current_table(page), (
        "run: python tests/docs/test_readme.py"
    )


@pytest.mark.parametrize(
    ("title", "extra"), [("Run it", "cli"), ("Test it", "cli,test")]
)
def test_each_command_is_one_line_that_installs_its_extra(
    title: str, extra: str
) -> None:
    (block,) = blocks("sh", section(title))

    (line,) = block.splitlines()
    assert line.startswith(
        f"python3 -m venv .venv && .venv/bin/pip install -q -e '.[{extra}]' && .venv/bin/"
    )


def test_the_run_command_is_simulated() -> None:
    (block,) = blocks("sh", section("Run it"))

    assert block.strip().endswith(
        "python -m edgegap_async launch examples/matches.jsonl --simulate"
    )


@pytest.fixture
def account(edgegap_simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Simulator:
    monkeypatch.setenv("EDGEGAP_API_TOKEN", "made-up")
    monkeypatch.setenv("EDGEGAP_BASE_URL", edgegap_simulator.url)
    return edgegap_simulator


def example(part: str, page: Path = README) -> dict[str, Any]:
    """Run the one Python example that contains this text."""
    (code,) = (block for block in blocks("python", page.read_text()) if part in block)
    # The names of a module include its own name.
    names: dict[str, Any] = {"__name__": page.stem}
    exec(compile(code, page.name, "exec"), names)  # noqa: S102 - our page
    return names


@pytest.mark.edgegap_simulator(ready_after=(0, 0))
def test_the_first_example_deploys_a_server(
    account: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    example("(latitude, longitude)")

    assert len(account.running()) == 1
    assert capsys.readouterr().out.startswith(f"{account.deployed()[0]}.")


def test_the_simulator_example_runs() -> None:
    example("token-bucket", GUIDE / "testing.md")


@pytest.mark.edgegap_simulator(ready_after=(0.2, 0.2))
def test_the_webhook_example_waits_without_polling(account: Simulator) -> None:
    names = example("receiver.routes()", GUIDE / "webhooks.md")

    async def serve() -> str:
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            app = names["application"](f"http://127.0.0.1:{bound.getsockname()[1]}")
            runner = web.AppRunner(app, shutdown_timeout=0.001)
            await runner.setup()
            try:
                await web.SockSite(runner, bound).start()
                deployments = app[names["EDGEGAP"]].deployments
                accepted = await deployments.deploy(
                    "my-game", "1.0", users=["203.0.113.7"]
                )
                # By then the server is ready and the webhook has arrived.
                await asyncio.sleep(2)
                ready = await deployments.wait_until_ready(accepted.request_id)
                return str(ready.request_id)
            finally:
                await runner.cleanup()

    assert asyncio.run(serve()) == account.deployed()[0]
    assert account.webhooks()["answered"] == 1
    assert account.arrivals("status") == 0
    # The tag of the deploy is looked at, in case a proxy sent it twice.
    assert account.arrivals("list") <= 2


def test_the_fixture_example_passes(edgegap_simulator: Simulator) -> None:
    names = example("test_my_matchmaker", GUIDE / "testing.md")
    names["test_my_matchmaker"](edgegap_simulator)


@pytest.mark.real_time
async def test_the_example_with_a_session_passes(
    edgegap_session: EdgegapSession, edgegap_simulator: Simulator
) -> None:
    names = example("test_a_match_has_a_server", GUIDE / "testing.md")
    await names["test_a_match_has_a_server"](edgegap_session, edgegap_simulator)


@pytest.mark.real_time
def test_the_example_with_unittest_passes() -> None:
    case = example("IsolatedAsyncioTestCase", GUIDE / "testing.md")["Matches"]
    result = unittest.TestResult()
    case("test_a_match_starts_a_server").run(result)
    assert result.testsRun == 1
    assert result.wasSuccessful(), [*result.errors, *result.failures]


def test_every_linked_file_exists() -> None:
    for path in re.findall(
        r"\]\((?!https?:)([^)#]+)\)|`python ([\w/]+\.py)`", README.read_text()
    ):
        assert (README.parent / "".join(path)).exists(), path


if __name__ == "__main__":
    for page in TABLES:
        page.write_text(with_current_table(page))
