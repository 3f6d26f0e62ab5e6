"""The options of a deploy and of pages, each spelled once."""

from collections.abc import Sequence
from typing import TypedDict

from ..models._check import whole_number
from ..models.deploy import EnvironmentVariables, Resources, Webhook

# Seconds to wait for READY: an image that is not cached takes minutes.
READY_TIMEOUT = 300.0


class DeployOptions(TypedDict, total=False):
    """What a deploy may ask for.

    Attributes:
        environment_variables: a mapping, or `EnvironmentVariable` structs. A value holds
            up to 4 KB.
        tags: at most 40 characters each.
        require_cached_locations: deploy only where the image is cached: quicker, with
            fewer locations.
        resources: CPU and memory, in place of the version's.
        webhook_on_ready, webhook_on_error, webhook_on_terminated: URLs that Edgegap
            calls once each, unsigned.
    """

    environment_variables: EnvironmentVariables | None
    tags: Sequence[str] | None
    require_cached_locations: bool | None
    resources: Resources | None
    webhook_on_ready: Webhook | str | None
    webhook_on_error: Webhook | str | None
    webhook_on_terminated: Webhook | str | None


def page_query(page: int | None, limit: int | None) -> dict[str, str | None]:
    """The parameters of a page: `page` and `limit`, from 1."""
    return {
        "page": None if page is None else str(whole_number("page", page, 1)),
        "limit": None if limit is None else str(whole_number("limit", limit, 1)),
    }
