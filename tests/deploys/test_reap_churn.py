"""Pages shift while servers of others come and go: nothing is missed silently."""

import random

import pytest
from support.list_server import Json, ListServer, ids

from edgegap_async.errors import Incomplete

ORDERS = ["as asked", "oldest first", "newest first", "shuffled"]


class ChurningServer(ListServer):
    """Servers of others start and end before each list.

    Args:
        order: of the lists.
        churn: how many start, and how many end.
    """

    def __init__(
        self, seed: int, mine: int, others: int, churn: tuple[int, int], order: str
    ) -> None:
        self._random = random.Random(seed)
        names = [*(f"m{n}" for n in range(mine)), *(f"o{n}" for n in range(others))]
        self._random.shuffle(names)
        super().__init__({it: ["a"] if it[0] == "m" else ["b"] for it in names})
        self._others = {it for it in names if it[0] == "o"}
        self._born, self._churn, self._order = 0, churn, order
        self.listing = lambda _: self._change()
        self.matches = lambda _, __: True

    def _change(self) -> None:
        for it in self._random.sample(sorted(self._others), self._churn[1]):
            self._others.discard(it)
            self.servers.pop(it)
        for _ in range(self._churn[0]):
            name = f"o9{self._born}"
            self._born += 1
            self._others.add(name)
            self.servers[name] = ["b"]

    def ordered(self, found: list[str], query: Json) -> list[str]:
        match self._order:
            case "oldest first":
                return found
            case "newest first":
                return found[::-1]
            case "shuffled":
                return sorted(found, key=hash)
        return super().ordered(found, query)


@pytest.mark.slow
@pytest.mark.parametrize("churn", [(0, 3), (3, 3)], ids=str)
@pytest.mark.parametrize("order", ORDERS)
async def test_no_server_is_missed_silently_while_others_come_and_go(
    order: str, churn: tuple[int, int]
) -> None:
    """The filter on tags is ignored, so all pages are read."""
    for seed in range(2):
        server = ChurningServer(seed, mine=40, others=700, churn=churn, order=order)
        mine = {it for it in server.servers if it[0] == "m"}
        async with server.session(limits=None) as edgegap:
            found = set[str]()
            try:
                async for row in edgegap.deployments.find(tags=["a"]):
                    found.add(row.request_id)
            except Incomplete:
                pass
            else:
                assert found == mine
            try:
                stopped = ids(await edgegap.deployments.reap(["a"]))
            except Incomplete as error:
                stopped = ids(error.stopped)
            else:
                assert stopped == mine
        assert {*server.stopped} == stopped <= mine
