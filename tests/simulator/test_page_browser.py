"""The simulator's page in a browser: what a developer sees and does."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from support.browser import PATIENCE, chromium, client, deploy, page_of, served, stop
from support.programs import until

from edgegap_async.simulator import Fault, Simulator

pytestmark = [pytest.mark.full, pytest.mark.slow]
# A name of an attacker, which resolves to this machine.
REBOUND = "rebound.example"
HARMFUL = "<img src=x onerror=window.harmed=1>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium(f"--host-resolver-rules=MAP {REBOUND} 127.0.0.1") as started:
        yield started


@pytest.fixture
def page(browser: Any, edgegap_simulator: Simulator) -> Iterator[Any]:
    with page_of(browser, edgegap_simulator.url) as opened:
        yield opened


def chip(page: Any, group: str, count: str) -> None:
    """Wait until a chip shows a count."""
    page.locator(f".chip[data-group='{group}'] b").get_by_text(
        count, exact=True
    ).wait_for()


# A busy machine takes seconds for the deploys, and all are pending at a time.
@pytest.mark.edgegap_simulator(ready_after=(6, 7), enforcement="off", stop_takes=1)
def test_500_deployments_are_shown_as_they_change(
    page: Any, edgegap_simulator: Simulator
) -> None:
    page.get_by_text("Nothing is running yet.").wait_for()
    made = deploy(edgegap_simulator, 500)
    chip(page, "pending", "500")
    chip(page, "ready", "500")
    chip(page, "", "500")
    assert page.locator("#shown").inner_text() == "500"
    places = page.locator(".place:not([hidden]) b").all_inner_texts()
    assert sum(int(each) for each in places) == 500
    stop(edgegap_simulator, made[:100])
    chip(page, "terminating", "100")
    chip(page, "", "400")
    assert page.locator(".rowline:not([hidden])").count() < 40


@pytest.mark.edgegap_simulator(ready_after=(0, 0), enforcement="off")
def test_with_5000_deployments_few_nodes_exist(
    page: Any, edgegap_simulator: Simulator
) -> None:
    for _ in range(10):
        deploy(edgegap_simulator, 500)
    chip(page, "ready", "5,000")
    assert page.locator(".rowline").count() < 40
    assert page.evaluate("document.querySelectorAll('*').length") < 2000
    page.locator("#scroll").focus()
    page.keyboard.press("End")
    page.wait_for_function(
        "document.querySelector('.rowline.active')?.ariaRowIndex === '5001'"
    )
    page.fill("#filter", edgegap_simulator.deployed()[4321])
    page.get_by_text("1 of 5,000").wait_for()


@pytest.mark.edgegap_simulator(ready_after=(0, 0))
def test_a_fault_that_is_switched_on_changes_what_a_client_sees(
    page: Any, edgegap_simulator: Simulator
) -> None:
    get = ("GET", "/v1/status/none", None)
    row = page.locator(".fault", has_text="status:502-before")
    row.locator(".switch").check()
    page.get_by_text('"share":0.05,"replace":true').wait_for()
    row.locator("input[type=range]").press("End")
    until(lambda: [each.share for each in edgegap_simulator.faults] == [1])
    assert edgegap_simulator.faults == (Fault("status", "502-before"),)
    with pytest.raises(json.JSONDecodeError):
        client(edgegap_simulator, get)
    row.get_by_text("injected 1", exact=True).wait_for()
    row.locator(".switch").uncheck()
    until(lambda: not edgegap_simulator.faults)
    assert client(edgegap_simulator, get)[0][0] == 404


def test_a_fault_of_another_program_appears_and_can_be_cleared(
    page: Any, edgegap_simulator: Simulator
) -> None:
    edgegap_simulator.faults = [Fault("list", "late", 0.25, seconds=2)]
    row = page.locator(".fault.on", has_text="list: late")
    row.get_by_text("25 %").wait_for()
    assert row.locator("input[type=number]").input_value() == "2"
    row.locator("input[type=number]").fill("7")
    row.locator("input[type=number]").press("Tab")
    until(lambda: edgegap_simulator.faults[0].seconds == 7)
    row.locator(".switch").uncheck()
    until(lambda: not edgegap_simulator.faults)


def test_any_fault_can_be_added_and_a_wrong_one_is_explained(
    page: Any, edgegap_simulator: Simulator
) -> None:
    page.get_by_label("Operation of another fault").select_option("tags.create")
    page.get_by_label("Kind of another fault").select_option("stalled")
    page.get_by_role("button", name="Add").click()
    until(lambda: edgegap_simulator.faults == (Fault("tags.create", "stalled", 0.05),))
    edgegap_simulator.faults = [Fault("deploy", "empty", 1)]
    page.locator(".fault", has_text="deploy:422").locator(".switch").click()
    page.locator("#toast", has_text="which is more than 1").wait_for()
    assert (
        not page.locator(".fault", has_text="deploy:422")
        .locator(".switch")
        .is_checked()
    )


@pytest.mark.edgegap_simulator(ready_after=(0, 0), stop_takes=0.1)
def test_a_server_is_crashed_and_stopped_from_its_details(
    page: Any, edgegap_simulator: Simulator
) -> None:
    (made,) = deploy(
        edgegap_simulator,
        tags=["ranked"],
        webhook_on_error={"url": "http://127.0.0.1:9/s3cret"},
        environment_variables=[
            {"key": "MODE", "value": "fast", "is_hidden": False},
            {"key": "API_KEY", "value": "s3cret", "is_hidden": True},
        ],
    )
    page.get_by_text(made).click()
    drawer = page.locator("#drawer")
    for text in ("Listening on 7777/UDP", "ranked", "MODE", "fast", "READY"):
        drawer.get_by_text(text, exact=False).first.wait_for()
    drawer.get_by_role("button", name="Crash").click()
    drawer.get_by_text("ERROR", exact=True).wait_for()
    drawer.get_by_text("Segmentation fault").wait_for()
    drawer.get_by_text("ClientConnectorError").wait_for()
    assert client(edgegap_simulator, ("GET", f"/v1/status/{made}", None))[0][1]["error"]
    assert "s3cret" not in page.content()
    drawer.get_by_role("button", name="Stop").click()
    drawer.get_by_text("Terminated").wait_for()
    assert edgegap_simulator.running() == set()
    chip(page, "", "0")


@pytest.mark.edgegap_simulator(ready_after=(0, 0), stop_takes=0.1, keep=0)
def test_details_of_a_deployment_that_is_forgotten_say_so(
    page: Any, edgegap_simulator: Simulator
) -> None:
    (made,) = deploy(edgegap_simulator)
    page.get_by_text(made).click()
    page.locator("#drawer").get_by_text("Listening on").wait_for()
    stop(edgegap_simulator, [made])
    page.locator("#d-state", has_text="no longer remembered").wait_for()
    assert page.locator("#d-stop").is_disabled()


@pytest.mark.edgegap_simulator(ready_after=(0, 0), stop_takes=0.1)
def test_stop_all_and_reset_ask_first(page: Any, edgegap_simulator: Simulator) -> None:
    deploy(edgegap_simulator, 3)
    chip(page, "ready", "3")
    page.get_by_role("button", name="Stop all…").click()
    page.get_by_role("button", name="Cancel").click()
    assert len(edgegap_simulator.running()) == 3
    page.get_by_role("button", name="Stop all…").click()
    page.get_by_role("button", name="Stop all", exact=True).click()
    chip(page, "", "0")
    assert (len(edgegap_simulator.stopped()), edgegap_simulator.running()) == (3, set())
    page.get_by_role("button", name="Reset…").click()
    page.get_by_role("button", name="Reset", exact=True).click()
    page.locator("#f-deployed", has_text="0").wait_for()
    until(lambda: edgegap_simulator.counts()["deployed"] == 0)


def test_a_limit_is_changed(page: Any, edgegap_simulator: Simulator) -> None:
    page.get_by_role("tab", name="Limits").click()
    page.get_by_label("List, requests per second").fill("2")
    page.get_by_label("List, requests per second").press("Enter")
    page.get_by_label("Enforced by").select_option("fixed-window")
    page.locator("#enforcement", has_text="fixed window").wait_for()
    page.locator(".limit", has_text="List").get_by_text("of 2/s").wait_for()
    answers = client(edgegap_simulator, *[("GET", "/v1/deployments", None)] * 9)
    assert [status for status, _ in answers].count(429) >= 5
    refused = str(edgegap_simulator.refused("list"))
    page.locator(".limit", has_text="List").locator(".bad").get_by_text(
        refused, exact=True
    ).wait_for()
    page.get_by_label("List, requests per second").fill("-1")
    page.get_by_label("List, requests per second").press("Tab")
    page.locator("#toast", has_text="must be a number above 0").wait_for()
    assert page.get_by_label("List, requests per second").input_value() == "2"


@pytest.mark.edgegap_simulator(ready_after=(0, 0))
def test_names_with_html_do_no_harm(page: Any, edgegap_simulator: Simulator) -> None:
    (made,) = deploy(
        edgegap_simulator,
        application=HARMFUL,
        version=HARMFUL,
        tags=[HARMFUL],
        # No environment has a key with "=".
        environment_variables=[
            {"key": HARMFUL.replace("=", ""), "value": HARMFUL, "is_hidden": False}
        ],
    )
    page.get_by_text(made).click()
    page.locator("#drawer .env", has_text=HARMFUL).wait_for()
    page.fill("#filter", HARMFUL)
    assert page.locator(".rowline .tag").first.inner_text() == HARMFUL
    assert page.locator("img").count() == 0
    assert page.evaluate("window.harmed") is None


@pytest.mark.edgegap_simulator(ready_after=(0, 0))
def test_all_works_by_keyboard(page: Any, edgegap_simulator: Simulator) -> None:
    made = deploy(edgegap_simulator, 5)
    chip(page, "ready", "5")
    page.keyboard.press("/")
    page.keyboard.type(made[2])
    page.get_by_text("1 of 5").wait_for()
    page.keyboard.press("Tab")
    reached = set[str]()
    for _ in range(60):
        reached.add(
            page.evaluate(
                "(e => e.id || e.dataset.sort || e.className || e.tagName)"
                "(document.activeElement)"
            )
        )
        if (
            "scroll" in reached
            and page.evaluate("document.activeElement.id") == "scroll"
        ):
            page.keyboard.press("ArrowDown")
            page.keyboard.press("Enter")
            page.locator("#d-id", has_text=made[2]).wait_for()
            assert page.evaluate("document.activeElement.id") == "d-close"
            page.keyboard.press("Escape")
            assert page.evaluate("document.activeElement.id") == "scroll"
        page.keyboard.press("Tab")
    for each in (
        "copy-url", "pause", "theme", "stop-all", "reset", "chip", "place", "plot",
        "filter", "state", "age", "scroll", "t-faults", "switch", "copy-curl",
    ):  # fmt: skip
        assert any(each in name for name in reached), each
    page.locator("#t-faults").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#p-limits").is_visible()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    until(lambda: len(edgegap_simulator.faults) == 1)


@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.edgegap_simulator(ready_after=(0, 1), error_share=0.3)
def test_contrast_names_and_roles_pass_wcag_aa(
    browser: Any, edgegap_simulator: Simulator, scheme: str, width: int
) -> None:
    pytest.importorskip("axe_playwright_python")
    from axe_playwright_python.sync_playwright import Axe

    deploy(edgegap_simulator, 30, tags=["ranked"])
    # The policy of the page would not let axe in.
    options: dict[str, Any] = {"color_scheme": scheme, "bypass_csp": True}
    with page_of(browser, edgegap_simulator.url, **options) as page:
        page.set_viewport_size({"width": width, "height": 900})
        chip(page, "pending", "0")
        page.locator(".fault .switch").first.check()

        def check(where: str) -> None:
            # The drawer slides in.
            page.wait_for_timeout(300)
            violations = Axe().run(page).response["violations"]
            told = [
                (each["id"], [node["target"] for node in each["nodes"]])
                for each in violations
            ]
            assert told == [], where

        check("the page")
        page.get_by_role("tab", name="Limits").click()
        check("the limits")
        page.locator(".rowline").first.click()
        page.locator("#d-body .env").wait_for()
        check("the details")
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Reset…").click()
        check("the question")


def test_the_page_pauses_and_comes_back(
    page: Any, edgegap_simulator: Simulator
) -> None:
    page.get_by_role("button", name="Pause").click()
    deploy(edgegap_simulator, 2)
    page.locator("#live-text", has_text="Paused").wait_for()
    assert page.locator(".chip[data-group=''] b").inner_text() == "0"
    page.get_by_role("button", name="Resume").click()
    chip(page, "", "2")


@pytest.mark.edgegap_simulator(
    host="0.0.0.0",  # noqa: S104
    token="made-up",
    ready_after=(0, 0),
)
def test_off_loopback_the_page_asks_for_the_token(
    browser: Any, edgegap_simulator: Simulator
) -> None:
    (made,) = deploy(
        edgegap_simulator,
        environment_variables=[{"key": "MODE", "value": "fast", "is_hidden": False}],
    )
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(edgegap_simulator.url)
    page.get_by_text(made).click()
    page.locator("#drawer .env", has_text="MODE").wait_for()
    assert page.get_by_text("fast", exact=True).count() == 0
    page.locator("#d-crash").click()
    page.get_by_label("Token", exact=True).fill("made-up")
    page.get_by_role("button", name="Use", exact=True).click()
    page.locator("#drawer").get_by_text("ERROR", exact=True).wait_for()
    page.get_by_text("fast", exact=True).wait_for()
    context.close()


def test_after_a_restart_the_page_is_live_again(browser: Any) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    before = Simulator()
    with served(before):
        page.goto(before.url)
        deploy(before)
        chip(page, "", "1")
    page.wait_for_selector("#banner", state="visible")
    assert page.locator(".chip[data-group=''] b").inner_text() == "1"
    after = Simulator(port=int(before.url.rpartition(":")[2]))
    with served(after):
        deploy(after, 2)
        chip(page, "", "2")
        page.wait_for_selector("#banner", state="hidden")
    context.close()


ATTACK = """<!doctype html><script>
const url = '%s/_simulator/'
const tries = [
  fetch(url + 'stop-all', { method: 'POST', mode: 'no-cors', body: '{}' }),
  fetch(url + 'stop-all', { method: 'POST', mode: 'no-cors',
    headers: { 'Content-Type': 'text/plain' }, body: '{}' }),
  fetch(url + 'stop-all', { method: 'POST', headers: { 'Content-Type': 'application/json' } }),
  fetch(url + 'faults', { method: 'DELETE' }),
  fetch(url + 'counts').then((answer) => answer.text()).then((text) => { window.read = text }),
  new Promise((done) => { const it = new EventSource(url + 'events'); it.onerror = done
    it.onmessage = () => { window.read = 1 } }),
  new Promise((done) => { navigator.sendBeacon(url + 'reset',
    new Blob(['{}'], { type: 'text/plain' })); done() }),
]
Promise.allSettled(tries).then(() => { document.title = 'done' })
</script><form method="post" enctype="text/plain" action="%s/_simulator/reset" target="x">
</form><iframe name="x"></iframe>"""


@pytest.mark.edgegap_simulator(ready_after=(0, 0), faults=[Fault("list", "empty", 0.5)])
def test_a_page_of_another_origin_changes_and_reads_nothing(
    browser: Any, edgegap_simulator: Simulator
) -> None:
    sim = edgegap_simulator

    class Attacker(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write((ATTACK % (sim.url, sim.url)).encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    deploy(sim, 2)
    with ThreadingHTTPServer(("127.0.0.1", 0), Attacker) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        # Both are the same site as the simulator, the first is the same host.
        for host in ("127.0.0.1", "localhost"):
            context = browser.new_context()
            page = context.new_page()
            page.goto(f"http://{host}:{server.server_port}/")
            page.wait_for_function("document.title === 'done'")
            page.evaluate("document.forms[0].submit()")
            page.wait_for_timeout(500)
            assert page.evaluate("window.read") is None
            context.close()
        server.shutdown()
        thread.join()
    assert (len(sim.running()), sim.stopped(), len(sim.faults)) == (2, frozenset(), 1)


def test_a_name_that_resolves_to_this_machine_reads_nothing(
    browser: Any, edgegap_simulator: Simulator
) -> None:
    port = edgegap_simulator.url.rpartition(":")[2]
    context = browser.new_context()
    page = context.new_page()
    for path in ("/", "/_simulator/counts"):
        answer = page.goto(f"http://{REBOUND}:{port}{path}")
        assert answer.status == 403
    context.close()
