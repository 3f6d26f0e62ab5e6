"""The options that choose deployments, and how the deployments are found."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import wraps
from typing import Any

import click

from ..models.deployment import DeploymentSummary, ReadyDeployment
from ..models.paging import ListQuery, OrderBy
from ..session import EdgegapSession
from .ages import older_than_option

_NEWEST_FIRST = ListQuery(order_by=[OrderBy("created_at", "desc")])


@dataclass(frozen=True, slots=True)
class Wanted:
    """What deployments must have.

    Attributes:
        tags: any of them. Empty: it does not matter.
        application: the name of their application. None: it does not matter.
        older_than: seconds since they were READY. None: it does not matter.
    """

    tags: Sequence[str] = ()
    application: str | None = None
    older_than: float | None = None

    @property
    def everything(self) -> bool:
        """Whether all deployments are wanted."""
        return self == Wanted()


def wanted_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options `--tag`, `--application` and `--older-than`, for
    `wanted`.
    """

    @wraps(command)
    def collected(*args: Any, **given: Any) -> None:
        names = ("tags", "application", "older_than")
        wanted = Wanted(*(given.pop(name) for name in names))
        command(*args, wanted=wanted, **given)

    tag = click.option(
        "--tag",
        "tags",
        multiple=True,
        metavar="TAG",
        help="Only those with this tag; may be repeated, for any of them.",
    )
    application = click.option(
        "--application", metavar="NAME", help="Only those of this application."
    )
    return tag(application(older_than_option(collected)))


def found(
    edgegap: EdgegapSession, wanted: Wanted, timeout: float | None
) -> AsyncIterator[DeploymentSummary]:
    """Find deployments to stop: each of them, whether or not the filters of the API work.

    Args:
        timeout: seconds for all of it. None: no end.
    """
    return edgegap.deployments.find(
        tags=wanted.tags or None,
        application=wanted.application,
        older_than=wanted.older_than,
        timeout=timeout,
    )


async def listed(
    edgegap: EdgegapSession, wanted: Wanted
) -> AsyncIterator[DeploymentSummary]:
    """Find deployments to show. If rows tell what is wanted, the list is read only once."""
    if wanted.tags or wanted.application is not None:
        async for row in found(edgegap, wanted, None):
            yield row
        return
    async for row in edgegap.deployments.iterate(_NEWEST_FIRST):
        if wanted.older_than is None or (age_of(row) or 0.0) > wanted.older_than:
            yield row


def age_of(server: ReadyDeployment) -> float | None:
    """Seconds since a deployment was READY. None: it is not, or does not tell."""
    if server.start_time is None:
        return None
    return (datetime.now(UTC) - server.start_time).total_seconds()
