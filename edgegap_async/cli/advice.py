"""What the user of a command can do about an error."""

import re
from collections.abc import Mapping

import click
from click.core import ParameterSource

from ..errors import (
    ApiError,
    DeadlineExceeded,
    DeployOutcomeUnknown,
    EdgegapError,
    NotFound,
    QueueTooLong,
    ReadyTimeout,
    TransportError,
    is_gone,
)

MAY_RUN = "a server may have been started"
_NETWORK = "check the network, --base-url and --proxy"
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
    """Name the option of the current command, or the variable of the environment, behind
    the argument at the beginning of a text.
    """
    return re.sub(r"^\w+", lambda found: _option(found[0]), problem)


def _option(argument: str) -> str:
    context = click.get_current_context(silent=True)
    for option in context.command.params if context else ():
        if context and option.name == argument and isinstance(option, click.Option):
            source = context.get_parameter_source(argument)
            in_environment = source is ParameterSource.ENVIRONMENT
            return str(option.envvar) if in_environment else max(option.opts, key=len)
    return _OPTIONS.get(argument, argument)


def explained(error: EdgegapError) -> str:
    """The text of an error, with what to do."""
    text, cause = str(error), error.__cause__
    if isinstance(error, DeployOutcomeUnknown):
        # Its text tells what a session does that goes on.
        text = text.partition(f"; {MAY_RUN}")[0]
    elif isinstance(error, QueueTooLong) and isinstance(cause, EdgegapError):
        # There was no time for another attempt. What matters is why one is needed.
        text = str(cause)
    advice = _advice(error) or _advice_on_requests(error)
    return f"{text}; {advice}" if advice else text


def _advice(error: EdgegapError) -> str:
    """What to do about the deployment of an error."""
    match error:
        case ApiError() if is_gone(error) and "{tag_name}" in error.operation:
            return "the deployment has no such tag, or has ended: see `edgegap tag ls`"
        case ApiError() if is_gone(error) and "{request_id}" in error.operation:
            return "it has ended, or the ID is wrong: see `edgegap ps`"
        case DeployOutcomeUnknown(tag=str(tag)):
            return (
                f"{MAY_RUN}: `edgegap ps --tag {tag}` shows it, and `edgegap stop --tag "
                f"{tag}` stops it"
            )
        case DeployOutcomeUnknown():
            return f"{MAY_RUN}: see `edgegap ps`"
        case ReadyTimeout(status=None):
            return f"{_last_failure(error)}{_NETWORK}"
        case _:
            return ""


def _last_failure(error: EdgegapError) -> str:
    """Why nothing was seen in time."""
    cause = error.__cause__
    if isinstance(cause, DeadlineExceeded):
        # There is a reason that the request took so long.
        cause = cause.__cause__ or cause
    return f"the last failure: {cause}; " if cause else ""


def _advice_on_requests(error: EdgegapError) -> str:
    match error:
        case NotFound():
            return "check the name, and --base-url"
        case TransportError() if error.permanent:
            return "check SSL_CERT_FILE and the proxy"
        case TransportError() | DeadlineExceeded(__cause__=TransportError()):
            return _NETWORK
        case DeadlineExceeded():
            return "give a longer --timeout"
        case _:
            return ""
