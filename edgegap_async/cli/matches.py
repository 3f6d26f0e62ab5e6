"""Reads a file of matches, one per line.

All lines are checked before any server is started.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from ..models.deploy import DeployRequest, GeoCoordinatesUser
from .lines import BadLine, numbered_lines


@dataclass(frozen=True, slots=True)
class Match:
    """A match, and its checked deploy request."""

    match_id: str
    request: DeployRequest


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    # Unknown fields are refused: a misspelt "tags" would start servers without tags.
    match_id: str
    players: tuple[str | GeoCoordinatesUser, ...]
    tags: tuple[str, ...] | None = None
    environment_variables: Mapping[str, str] | None = None


_decoder = msgspec.json.Decoder(_Line)


def read(
    lines: Iterable[bytes], application: str, version: str
) -> tuple[list[Match], list[BadLine]]:
    """Read all matches. Blank lines are skipped.

    Args:
        lines: the lines of the file.
        application, version: what the deploys run.

    Returns:
        The matches, and the lines that can't be used.
    """
    matches: list[Match] = []
    bad: list[BadLine] = []
    first_on: dict[str, int] = {}
    for number, line in numbered_lines(lines):
        try:
            match = _match(line, application, version)
            if (first := first_on.setdefault(match.match_id, number)) != number:
                raise ValueError(
                    f"match_id: {match.match_id!r} is already on line {first}"
                )
        except (ValueError, msgspec.DecodeError) as error:
            # A UnicodeDecodeError is a ValueError.
            bad.append(BadLine(number, _with_field_names(str(error))))
        else:
            matches.append(match)
    return matches, bad


def _match(line: bytes, application: str, version: str) -> Match:
    parsed = _decoder.decode(line)
    if not parsed.match_id.strip():
        raise ValueError("match_id: must not be empty")
    request = DeployRequest(
        application,
        version,
        users=parsed.players,
        environment_variables=parsed.environment_variables,
        tags=parsed.tags,
    )
    return Match(parsed.match_id, request)


def _with_field_names(problem: str) -> str:
    """Name the field of the file: `players` are the `users` of the SDK."""
    return (
        problem.replace("users", "players", 1)
        if problem.startswith("users")
        else problem
    )
