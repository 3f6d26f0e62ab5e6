"""The files of the simulator's page, as the simulator serves them."""

import json
import re
from importlib.resources import files

import pytest
from support.plain_client import plain

from edgegap_async.simulator import Simulator

FILES = {
    each.name: each.read_text()
    for each in files("edgegap_async.simulator").joinpath("page").iterdir()
}
SCRIPTS = {name: text for name, text in FILES.items() if name.endswith(".js")}


@pytest.mark.parametrize("name", ["", *sorted(FILES)])
async def test_each_file_is_served_with_its_type_and_a_strict_policy(name: str) -> None:
    types = {
        "css": "text/css",
        "html": "text/html",
        "js": "text/javascript",
        "json": "application/json",
        "svg": "image/svg+xml",
    }
    path = f"/_simulator/page/{name}" if name else "/"
    async with plain(Simulator(token="right")) as api, api.http.get(path) as response:
        assert response.status == 200
        assert await response.text() == FILES[name or "index.html"]
        assert response.content_type == types[(name or "index.html").split(".")[1]]
        policy = response.headers["Content-Security-Policy"].split("; ")
        assert "default-src 'none'" in policy
        assert {"frame-ancestors 'none'", "base-uri 'none'"} <= {*policy}
        assert "unsafe" not in " ".join(policy)


@pytest.mark.parametrize(
    "path",
    [
        "/_simulator/page/nothing.js",
        "/_simulator/page/",
        "/_simulator/page/..%2Fserver.py",
        "/_simulator/page/%2E%2E",
        "/_simulator/page/__init__.py",
    ],
)
async def test_no_other_file_is_served(path: str) -> None:
    async with plain(Simulator()) as api, api.http.get(path) as response:
        assert response.status == 404
        assert "message" in await response.json()


def test_the_page_needs_no_other_server() -> None:
    for name, text in FILES.items():
        # Names of XML, the source of the coastline, and the URLs that `page_of` shows.
        found = re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s'\"]*", text)
        assert {each for each in found if "w3.org" not in each} <= {
            "https://www.naturalearthdata.com,"
        }, name


def test_scripts_insert_text_as_text_only() -> None:
    for name, text in SCRIPTS.items():
        assert not re.findall(
            r"(?:inner|outer)HTML|insertAdjacentHTML|document\.write|DOMParser"
            r"|\beval\b|new Function|setHTML|createContextualFragment|srcdoc",
            text,
        ), name


def test_the_page_refers_to_files_that_exist() -> None:
    for text in FILES.values():
        for name in re.findall(r"/_simulator/page/([\w.]+)|from '\./([\w.]+)'", text):
            assert "".join(name) in FILES
    ids = {*re.findall(r'id="([\w-]+)"', FILES["index.html"])}
    for name, text in SCRIPTS.items():
        assert {*re.findall(r"\$\('([\w-]+)'\)", text)} <= ids, name


def test_the_coastline_is_one_small_path_of_a_named_source() -> None:
    world = json.loads(FILES["world.json"])
    assert re.fullmatch(r"M[\d\s.lMz-]*", world["land"])
    assert 10_000 < len(world["land"]) <= 40_000
    assert "Natural Earth" in world["source"]
    assert "public domain" in world["source"]
