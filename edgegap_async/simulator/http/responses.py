"""Responses: JSON of any status, and 429 with its `Retry-After`."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from aiohttp import web
from msgspec import json

from ..world.clock import Clock

Json: TypeAlias = Mapping[str, object]
_SCHEME = "token "
RetryAfterForm: TypeAlias = Literal["seconds", "date"]


@dataclass(frozen=True, slots=True)
class JsonResponse:
    """A status and a JSON body."""

    status: int
    body: Json | None = None


@dataclass(frozen=True, slots=True)
class RetryAfter:
    """The `Retry-After` of a 429: its seconds and its form. None means no header."""

    seconds: float | None = None
    form: RetryAfterForm = "seconds"

    def __post_init__(self) -> None:
        if self.seconds is not None and not 0 <= self.seconds < math.inf:
            raise ValueError(
                f"retry_after must be a number of seconds or None, not {self.seconds!r}"
            )
        if self.form not in get_args(RetryAfterForm):
            raise ValueError(
                f"retry_after_form must be seconds or date, not {self.form!r}"
            )

    def headers(self, now: float, clock: Clock) -> dict[str, str]:
        """Return the headers of a 429.

        Clients compare a date in it with the `Date` of the response, so that header is
        set too.
        """
        if self.seconds is None:
            return {}
        if self.form == "seconds":
            return {"Retry-After": f"{self.seconds:g}"}
        return {
            "Date": clock.http(now),
            "Retry-After": clock.http(now + math.ceil(self.seconds)),
        }


def token_of(authorization: str) -> str:
    """Return the token of an `Authorization` header; an empty text if it has none."""
    scheme = authorization[: len(_SCHEME)].lower()
    return authorization[len(_SCHEME) :].strip() if scheme == _SCHEME else ""


def to_aiohttp(
    response: JsonResponse, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Convert a response to one of aiohttp."""
    if response.body is None:
        return web.Response(status=response.status, headers=headers)
    return web.Response(
        status=response.status,
        headers=headers,
        body=json.encode(response.body),
        content_type="application/json",
    )


def too_many_requests(
    reason: str, retry_after: RetryAfter, now: float, clock: Clock
) -> web.Response:
    """Make a 429."""
    response = JsonResponse(429, {"message": f"Too many requests: {reason}"})
    return to_aiohttp(response, retry_after.headers(now, clock))
