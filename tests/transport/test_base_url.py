"""Base URLs as people write them: one API, and one budget."""

import asyncio

import pytest
from support.limiter_model import now
from support.raw_server import GOOD, RawServer

from edgegap_async import EdgegapSession, Limits

SPELLINGS = ["", "/", "//", "/v1", "/v2", "/v2/", "/V2", "/v2/v1", " \n", "\ufeff"]


@pytest.mark.parametrize("end", SPELLINGS, ids=repr)
async def test_a_version_in_the_base_url_is_dropped(end: str) -> None:
    async with RawServer(GOOD) as server:
        url = server.url + end
        async with EdgegapSession("made-up", base_url=url) as edgegap:
            await edgegap.deployments.status("c065")
        assert [arrival.path for arrival in server.arrivals] == ["/v1/status/c065"]


@pytest.mark.parametrize(
    "path",
    [
        "/v2/.",
        "/%76%32",
        "/v2/deployments",
        "/v1/status",
        "/v1.0",
        "/v2;",
        "/v2%2F",
        "/v1beta1",
        "/v2/swagger",
        "/a/../v2/x",
        "\\v2",
    ],
)
def test_a_path_under_which_each_call_is_a_404_is_refused_by_name(path: str) -> None:
    with pytest.raises(ValueError, match="base_url"):
        EdgegapSession("made-up", base_url=f"https://api.example{path}")


async def test_the_prefix_of_a_proxy_is_kept() -> None:
    async with RawServer(GOOD) as server:
        url = f"{server.url}/edgegap/v2/"
        async with EdgegapSession("made-up", base_url=url) as edgegap:
            await edgegap.deployments.status("c065")
        assert [arrival.path for arrival in server.arrivals] == [
            "/edgegap/v1/status/c065"
        ]


def test_the_variable_is_read_in_the_same_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEGAP_BASE_URL", "https://api.edgegap.com/v2")
    assert "https://api.edgegap.com " in repr(EdgegapSession("made-up"))


@pytest.mark.parametrize(
    "spelling",
    [
        "https://api.example/v1/",
        "HTTPS://API.example",
        "https://api.example:443",
        "https://api.example.",
        "https://api.example.:443/v2",
    ],
)
def test_all_spellings_name_one_api(spelling: str) -> None:
    session = EdgegapSession("made-up", base_url=spelling)
    assert repr(session) == "<EdgegapSession https://api.example open>"


def test_an_international_name_is_that_of_its_ascii_form() -> None:
    pair = ("https://bücher.example", "https://xn--bcher-kva.example")
    one, other = (repr(EdgegapSession("made-up", base_url=url)) for url in pair)
    assert one == other


async def test_two_spellings_share_one_budget() -> None:
    async with RawServer(GOOD) as server:
        limits, began = Limits(status=5, burst=5), now()
        spellings = [server.url, f"{server.url}/v2", f"{server.url}/"]
        sessions = [
            EdgegapSession("made-up", base_url=url, limits=limits) for url in spellings
        ]
        calls = [each.deployments.status("c065") for each in sessions for _ in range(4)]
        await asyncio.gather(*calls)
        assert now() - began > 2
        for each in sessions:
            await each.aclose()
