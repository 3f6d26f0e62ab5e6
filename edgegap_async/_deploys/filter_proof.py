"""Whether a filter of the list works, as far as lists can show it.

A server may ignore a filter, refuse it, match nothing, or read only some of its values.
So a filter has to show nothing for values that do not exist, and a deployment that has
the first or the last of as many values as will be asked for. It can't show that for each
value, so tags with characters that servers may read wrongly are not asked for at all.
"""

import re
from collections.abc import Iterable, Sequence
from uuid import uuid4

from .._transport.client import Transport
from .._transport.deadlines import Deadline
from .._transport.queries import TAGS_PER_CALL, ask_in_chunks, read_page
from ..errors import BadRequest
from ..models.deployment import DeploymentSummary
from ..models.paging import ListFilter, ListQuery

# Values of a filter that are tried, as the deployments that have them may end meanwhile.
MOST_WITNESSES = 3
_PLAIN = re.compile(r"[\w.:-]+", re.ASCII)


class FilterProof:
    """Asks for lists that show whether filters work.

    Args:
        size: how many values will be asked for.
        deadline: of all requests together.
    """

    def __init__(self, transport: Transport, deadline: Deadline, size: int = 1) -> None:
        self._transport, self._deadline = transport, deadline
        self._size = min(size, TAGS_PER_CALL)

    async def of_tags(self, newest: Sequence[DeploymentSummary]) -> bool:
        """Whether the filter on tags works.

        Args:
            newest: deployments that exist.
        """
        counts: dict[str, int] = {}
        for tag in [tag for row in newest for tag in row.tags if is_plain((tag,))]:
            counts[tag] = counts.get(tag, 0) + 1
        if counts:
            # Rare ones first: their lists are short.
            return await self.of("tags", sorted(counts, key=lambda tag: counts[tag]))
        # No deployment can show it. Then lists of values must work for another field,
        # and the filter on tags must tell "none of these" from "any of these".
        ids = [row.request_id for row in newest]
        try:
            return (
                await self.of("request_id", ids)
                and not await self._shows_any("tags", self._unknown())
                and await self._shows_any("tags", self._unknown(), "nin")
            )
        except BadRequest:
            return False

    async def of(self, field: str, existing: Sequence[str]) -> bool:
        """Whether the filter on a field works.

        Args:
            existing: values that deployments have.
        """
        try:
            if not existing or await self._shows_any(field, self._unknown()):
                return False
            for value in existing[:MOST_WITNESSES]:
                others = self._unknown()
                if await self._shows_any(field, [*others, value]):
                    return self._size == 1 or await self._shows_any(
                        field, [value, *others]
                    )
        except BadRequest:
            pass
        return False

    async def _shows_any(
        self, field: str, values: Sequence[str], operator: str = "in"
    ) -> bool:
        """Whether lists with these values show a row."""

        async def ask(some: Sequence[str]) -> bool:
            query = ListQuery(filters=(ListFilter(field, operator, some),))
            page = await read_page(self._transport, query, 1, self._deadline, limit=1)
            return bool(page.data or page.skipped)

        return any(await ask_in_chunks(values, ask))

    def _unknown(self) -> Sequence[str]:
        """Values that nothing has."""
        return [f"none-{uuid4().hex}" for _ in range(self._size)]


def is_plain(tags: Iterable[str]) -> bool:
    """Whether no server can read these tags wrongly in the value of a filter."""
    return all(map(_PLAIN.fullmatch, tags))
