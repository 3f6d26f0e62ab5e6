"""The reference page, and samples of the other operations in the same form, as data,
parsed from their text. So client and simulator can't share
an error.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAGE = Path(__file__).with_name("reference.txt").read_text()
# What that page does not have.
OTHERS = Path(__file__).with_name("other_operations.txt").read_text()

_REQUEST = re.compile(
    r"^(GET|POST|PUT|PATCH|DELETE) (/\S+) HTTP/1\.1\n((?:[\w-]+: .*\n)+)", re.MULTILINE
)
_QUERY = re.compile(
    r"^Query parameters\n(.*?)^(?:Header parameters|Responses)\n",
    re.MULTILINE | re.DOTALL,
)
_PARAMETER = re.compile(
    r"^(\w+?)(?:string|integer|boolean)(?:Optional|Required)$", re.MULTILINE
)


@dataclass(frozen=True)
class Operation:
    """An operation of the reference page.

    `path` is the path as the page writes it. `query` holds the names of the query
    parameters.
    """

    method: str
    path: str
    query: tuple[str, ...]
    headers: Mapping[str, str]
    # None if the sample request has no body.
    body: Any
    # None if the page says "No content".
    answer: Any

    @property
    def key(self) -> str:
        return f"{self.method} {self.path}"

    def path_with(self, **path_params: str) -> str:
        """Return the path with values for its parameters."""
        path = self.path
        for name, value in path_params.items():
            path = path.replace(
                "{" + name.replace("fleet_name", "fleet-name") + "}", value
            )
        return path


def operations(page: str = PAGE) -> tuple[Operation, ...]:
    """Return the operations in the order of the page."""
    found = []
    end = 0
    for request in _REQUEST.finditer(page):
        before, end = page[end : request.start()], request.end()
        parameters = _QUERY.search(before)
        headers = dict(line.split(": ", 1) for line in request[3].splitlines())
        body = None
        if "Content-Length" in headers:
            body, end = _json(page, end)
        answer, end = (
            (None, end)
            if page[end:].lstrip().startswith("No content")
            else _json(page, end)
        )
        query = tuple(_PARAMETER.findall(parameters[1])) if parameters else ()
        found.append(Operation(request[1], request[2], query, headers, body, answer))
    return tuple(found)


def _json(page: str, start: int) -> tuple[Any, int]:
    start += len(page[start:]) - len(page[start:].lstrip())
    return json.JSONDecoder().raw_decode(page, start)


OPERATIONS = (*operations(), *operations(OTHERS))
BY_KEY = {operation.key: operation for operation in OPERATIONS}
