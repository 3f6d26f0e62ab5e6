"""Filters and rows that are wrong for some values only hide nothing from `find` and
`reap`, and no server of others is stopped.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any

import pytest
from support.list_server import Json, ListServer, ids, tagged

from edgegap_async import DeploymentSummary, EdgegapSession
from edgegap_async.errors import Incomplete

Rows = AsyncIterator[DeploymentSummary]
Matches = Callable[[ListServer, str, Sequence[str]], bool]


async def found(edgegap: EdgegapSession, **wanted: Any) -> set[str]:
    rows = [row async for row in edgegap.deployments.find(**wanted)]
    assert len(rows) == len(ids(rows))
    return ids(rows)


async def until_incomplete(rows: Rows) -> AsyncIterator[str]:
    """Yield the IDs of these rows, and those that the error at their end names."""
    try:
        async for row in rows:
            yield row.request_id
    except Incomplete as error:
        for name in str(error).rpartition(": ")[2].split(", "):
            yield name


def some_of(part: slice) -> Matches:
    """A filter that reads only some of its values."""
    return lambda server, it, values: not {*values[part]}.isdisjoint(server.servers[it])


FILTERS: dict[str, Matches] = {
    "the first 60 values": some_of(slice(60)),
    "the last 60 values": some_of(slice(-60, None)),
    "the first value": some_of(slice(1)),
    "ignored above 50 values": lambda server, it, values: (
        len(values) > 50 or not {*values}.isdisjoint(server.servers[it])
    ),
    "nothing above 50 values": lambda server, it, values: (
        len(values) <= 50 and not {*values}.isdisjoint(server.servers[it])
    ),
    "without regard to case": lambda server, it, values: any(
        tag.lower() in {value.lower() for value in values} for tag in server.servers[it]
    ),
    "as a prefix": lambda server, it, values: any(
        tag.startswith(tuple(values)) for tag in server.servers[it]
    ),
    "as a part": lambda server, it, values: any(
        value in tag for tag in server.servers[it] for value in values
    ),
}


@pytest.mark.full
@pytest.mark.measured
@pytest.mark.slow
@pytest.mark.parametrize("matches", FILTERS.values(), ids=FILTERS)
async def test_filters_that_work_for_some_values_hide_no_deployment(
    matches: Matches,
) -> None:
    """The tags of others differ from those asked for in their case and their ends."""
    mine = {f"m{number}": [f"tag{number}", "x"] for number in range(120)}
    others = {f"o{number}": [f"TAG{number}", f"tag{number}z"] for number in range(120)}
    server = ListServer({**mine, **others})
    server.matches = lambda it, values: matches(server, it, values)
    async with server.session() as edgegap:
        tags = [f"tag{number}" for number in range(120)]
        assert await found(edgegap, tags=tags) == {*mine}
        assert ids(await edgegap.deployments.reap(tags)) == {*mine}
    assert {*server.stopped} == {*mine}
    assert {*server.servers} == {*others}


@pytest.mark.parametrize(
    "odd", ["a,b", 'a"b', "a b", "é", "a/b", "a+b", "a%2Cb", "\U0001f600"]
)
@pytest.mark.parametrize("newest_is_mine", [True, False])
async def test_a_filter_that_fails_for_odd_characters_hides_no_deployment(
    odd: str, newest_is_mine: bool
) -> None:
    others = tagged(150, "plain")
    mine = {"m": [odd]}
    server = ListServer({**others, **mine} if newest_is_mine else {**mine, **others})
    server.matches = lambda it, values: any(
        value.isalnum() and value.isascii() and value in server.servers[it]
        for value in values
    )
    async with server.session() as edgegap:
        assert await found(edgegap, tags=[odd]) == {"m"}
        assert await found(edgegap, tags=[odd, "nothing"]) == {"m"}


@pytest.mark.parametrize("fails", ["empty", "everything"])
async def test_a_filter_on_tags_alone_that_fails_is_noticed_although_nobody_has_tags(
    fails: str,
) -> None:
    """The other filters work. The newest deployments have no tags."""
    server = ListServer({"m": ["a"], **tagged(150)})

    def passing(found: Iterable[str], each: Json) -> list[str]:
        if each["field"] != "tags":
            return [it for it in found if it in each["value"]]
        return [*found] if fails == "everything" else []

    server._passing = passing  # type: ignore[method-assign]
    async with server.session() as edgegap:
        assert await found(edgegap, tags=["a"]) == {"m"}


ROWS: dict[str, Callable[[list[str]], Json]] = {
    "no tags": lambda _: {"tags": []},
    "the first tag": lambda tags: {"tags": tags[:1]},
    "the last tag": lambda tags: {"tags": tags[-1:]},
    "upper case": lambda tags: {"tags": [tag.upper() for tag in tags]},
    "cut": lambda tags: {"tags": [tag[:4] for tag in tags]},
    "no field": lambda _: {},
    "a text": lambda tags: {"tags": ",".join(tags)},
    "spaces": lambda tags: {"tags": [f" {tag} " for tag in tags]},
}


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize("filter_works", [True, False])
@pytest.mark.parametrize("others", [3, 150])
@pytest.mark.parametrize("shown", ROWS.values(), ids=ROWS)
async def test_rows_with_wrong_tags_hide_no_deployment(
    shown: Callable[[list[str]], Json], others: int, filter_works: bool
) -> None:
    """The newest deployments have no tags, so their rows are right."""
    mine = {"m1": ["once-1", "mine"], "m2": ["mine", "once-2"], "m3": ["mine"]}
    strangers = {"s1": ["MINE"], "s2": ["mine2"], "s3": ["once-3", "minor"]}
    server = ListServer({**mine, **strangers, **tagged(others)})
    server.row = lambda it: shown([*server.servers[it]])
    if not filter_works:
        server.matches = lambda _, __: True
    async with server.session() as edgegap:
        assert await found(edgegap, tags=["mine"]) == {*mine}
        assert await found(edgegap, tags=["minor", "nothing"]) == {"s3"}
        rows = await edgegap.deployments.reap(["mine"])
    assert ids(rows) == {*mine} == {*server.stopped}


@pytest.mark.parametrize("others", [0, 150])
@pytest.mark.parametrize("wanted", ["mine", "MINE", "min"])
async def test_no_row_makes_reap_stop_a_server_without_the_tag(
    wanted: str, others: int
) -> None:
    """The rows are right for the newest deployments, and wrong for one of them."""
    server = ListServer({"s": ["mine"], **tagged(others, "x"), "m": [wanted, "y"]})
    if wanted == "mine":
        server.servers["s"] = ["other"]
    right = server.row
    server.row = lambda it: {"tags": [wanted]} if it == "s" else right(it)
    async with server.session() as edgegap:
        assert ids(await edgegap.deployments.reap([wanted], dry_run=True)) == {"m"}
        assert ids(await edgegap.deployments.reap([wanted])) == {"m"}
    assert server.stopped == ["m"]


PAGE = "<html>not found</html>"
FAILURES: dict[str, Callable[[], Any]] = {
    "404 of a gateway": lambda: (404, PAGE),
    "404 of a router": lambda: (404, {"message": "Not Found"}),
    "410 of a gateway": lambda: (410, ""),
    "503": lambda: (503, PAGE),
    "403": lambda: (403, {"message": "no"}),
    "page": lambda: (200, PAGE),
    "never": lambda: asyncio.sleep(10_000, (200, {})),
}


@pytest.mark.measured
@pytest.mark.slow
@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("tells_tags", [True, False])
async def test_a_status_that_fails_hides_no_deployment(
    tells_tags: bool, failure: Callable[[], Any]
) -> None:
    """Whether or not rows tell tags, the one whose status fails is named, if it may be
    wanted, and the others are found and stopped.
    """
    server = ListServer({**tagged(3, "a"), "s": ["b"], "odd": ["a"]})
    right = server.status
    server.status = lambda it: failure() if it == "odd" else right(it)
    if not tells_tags:
        server.row = lambda _: {}
    async with server.session() as edgegap:
        rows = [
            row async for row in until_incomplete(edgegap.deployments.find(tags=["a"]))
        ]
        assert sorted(rows) == ["c0", "c1", "c2", "odd"]
        with pytest.raises(Incomplete, match="odd") as got:
            await edgegap.deployments.reap(["a"])
    assert ids(got.value.stopped) == {"c0", "c1", "c2"} == {*server.stopped}


@pytest.mark.full
@pytest.mark.measured
@pytest.mark.slow
async def test_servers_of_a_tag_are_stopped_before_its_list_was_read() -> None:
    server = ListServer(tagged(5000, "a"))
    async with server.session() as edgegap:
        with pytest.raises(Incomplete) as got:
            await edgegap.deployments.reap(["a"], timeout=5)
    assert len(got.value.stopped) > 50
    assert ids(got.value.stopped) <= {*server.stopped}


async def test_many_tags_cost_no_more_lists_than_all_deployments_do() -> None:
    server = ListServer({**tagged(150, "x"), "m": ["tag77"]})
    async with server.session() as edgegap:
        tags = [f"tag{number}" for number in range(20_000)]
        assert await found(edgegap, tags=tags) == {"m"}
    assert server.asked["list"] < 10
