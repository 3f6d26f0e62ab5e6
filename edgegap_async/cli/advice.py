"""What the user of a command can do about an error."""

import re
from collections.abc import Mapping

from ..errors import (
    ApiError,
    DeadlineExceeded,
    EdgegapError,
    NotFound,
    QueueTooLong,
    ServerError,
    TransportError,
    is_gone,
)

# The options and arguments behind the SDK's names.
_OPTIONS: Mapping[str, str] = {
    "application": "--application",
    "base_url": "--base-url",
    "end_time": "--until",
    "fleet_name": "NAME",
    "name": "NAME",
    "older_than": "--older-than",
    "request_id": "ID",
    "request_ids": "ID",
    "start_time": "--since",
    "steps": "--step",
    "tag_name": "NAME",
    "tags": "--tag",
    "timeout": "--timeout",
    "token": "EDGEGAP_API_TOKEN",
    "users": "--user",
    "version": "--version",
}


def as_option(problem: str) -> str:
    """Name the option behind the argument at the beginning of a text."""
    return re.sub(r"^\w+", lambda found: _OPTIONS.get(found[0], found[0]), problem)


def explained(error: EdgegapError) -> str:
    """The text of an error, with what to do."""
    text, advice = str(error), _advice(error)
    return f"{text}; {advice}" if advice else text


def _advice(error: EdgegapError) -> str:
    match error:
        case ApiError() if is_gone(error) and "{request_id}" in error.operation:
            return "it has ended, or the ID is wrong: see `edgegap ps`"
        case NotFound():
            return "check the name, and --base-url"
        case ServerError():
            return "try again later"
        case QueueTooLong():
            return "give a longer --timeout"
        case TransportError() if error.permanent:
            return "check SSL_CERT_FILE and the proxy"
        case TransportError():
            return "check the network, --base-url and --proxy"
        case DeadlineExceeded(__cause__=TransportError()):
            return "check the network, --base-url and --proxy"
        case DeadlineExceeded():
            return "give a longer --timeout"
        case _:
            return ""
