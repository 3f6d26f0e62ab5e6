"""The arguments of `deploy_many`, and the requests that it is given, checked."""

from collections.abc import AsyncIterable, Iterable, Mapping
from typing import TypeAlias

from msgspec import Struct, json
from msgspec.structs import force_setattr

from .._limits.queue import PRIORITIES, Priority
from .._transport.options import CallOptions, checked_headers
from .._transport.retry import Retry
from ..models._check import (
    fail,
    flag,
    instance,
    is_sequence,
    one_of,
    optional_instance,
    optional_seconds,
    whole_number,
)
from ..models.deploy import DeployRequest, FleetDeployRequest

Requests: TypeAlias = Iterable[DeployRequest] | AsyncIterable[DeployRequest]


class Plan(Struct, frozen=True, kw_only=True):
    """The arguments of `deploy_many`, checked.

    Raises:
        ValueError: an argument is wrong; the text names it.
    """

    until_ready: bool
    ready_timeout: float | None
    stop_on_failure: bool
    concurrency: int | None
    max_running: int | None
    priority: Priority
    retry: Retry | None
    headers: Mapping[str, str] | None

    def __post_init__(self) -> None:
        for name in ("until_ready", "stop_on_failure"):
            force_setattr(self, name, flag(name, getattr(self, name)))
        timeout = optional_seconds("ready_timeout", self.ready_timeout)
        force_setattr(self, "ready_timeout", timeout)
        for name in ("concurrency", "max_running"):
            if (given := getattr(self, name)) is not None:
                force_setattr(self, name, whole_number(name, given, 1))
        one_of("priority", self.priority, PRIORITIES)
        optional_instance("retry", self.retry, Retry)
        force_setattr(self, "headers", checked_headers(self.headers))

    @property
    def options(self) -> CallOptions:
        """The options of each deploy. Its time in the queue has no end."""
        return CallOptions(
            timeout=None,
            priority=self.priority,
            retry=self.retry,
            headers=self.headers,
        )


def check_request(request: object, kind: type[DeployRequest]) -> None:
    """Check that a request can be sent to the endpoint for this kind.

    Raises:
        ValueError: it can't; the text says why.
    """
    checked = instance("requests: each", request, kind)
    if isinstance(checked, FleetDeployRequest) and kind is not FleetDeployRequest:
        fail(
            "requests: each",
            "is a FleetDeployRequest, whose hosts would be ignored: use "
            "private_fleets.deploy_many",
        )
    if type(checked) is not kind:
        # A class of the user's may have fields of any type.
        try:
            json.encode(checked)
        except (TypeError, ValueError, OverflowError) as error:
            fail("requests: each", f"can't be encoded as JSON: {error}")


def check_requests(requests: object) -> None:
    """Check that the argument is an iterable, asynchronous or not."""
    if isinstance(requests, AsyncIterable) or is_sequence(requests):
        return
    hint = ""
    if isinstance(requests, DeployRequest):
        hint = ": put it into a list"
    elif callable(requests):
        hint = ": call it"
    kind = type(requests).__name__
    fail("requests", f"must be an iterable, asynchronous or not, not a {kind}{hint}")
