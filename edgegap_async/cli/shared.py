"""The options that name what several processes share."""

import os
from collections.abc import Callable
from typing import TypeVar

import click

from .._shared.config import SharedState
from ..models._urls import api_base_url
from ..session import BASE_URL, BASE_URL_VARIABLE, TOKEN_VARIABLE, bare_token
from .advice import as_option

F = TypeVar("F", bound=Callable[..., object])
SHARED_VARIABLE = "EDGEGAP_SHARED_URL"


def shared_options(*, required: bool) -> Callable[[F], F]:
    """Return the options `--shared` and `--key`, for `url` and `key`."""
    url = click.option(
        "--shared",
        "url",
        envvar=SHARED_VARIABLE,
        required=required,
        metavar="URL",
        help="The URL that the sessions have: sqlite:////absolute/path or redis://host/0. "
        "Other users of the machine see the arguments of a program: if it has a password, "
        f"set {SHARED_VARIABLE} instead.",
    )
    key = click.option(
        "--key",
        help="The key that the sessions have; without it, the one of the token in "
        f"{TOKEN_VARIABLE}, at {BASE_URL_VARIABLE} or Edgegap's own.",
    )
    return lambda command: url(key(command))


def shared_state(url: str, key: str | None) -> SharedState:
    """What the options name.

    Raises:
        click.UsageError: one is wrong.
    """
    try:
        return SharedState(url, key=key)
    except ValueError as error:
        raise click.UsageError(as_option(str(error))) from None


def optional_shared_state(url: str | None, key: str | None) -> SharedState | None:
    """What the options name. None: they were not given.

    Raises:
        click.UsageError: one is wrong, or one is missing.
    """
    if url is not None:
        return shared_state(url, key)
    if key is not None:
        raise click.UsageError("--key names what --shared has, so it requires that")
    return None


def organization(shared: SharedState) -> str:
    """The name of the organization in the store: the one that was given, or that of the
    token and the base URL.

    Raises:
        click.UsageError: there is neither, or the base URL is wrong.
    """
    token = os.environ.get(TOKEN_VARIABLE)
    if shared.key is None and not token:
        raise click.UsageError(f"give --key, or set {TOKEN_VARIABLE}")
    base_url = os.environ.get(BASE_URL_VARIABLE) or BASE_URL
    try:
        # Nothing is sent there. The sessions may have `allow_insecure`.
        base_url = api_base_url(BASE_URL_VARIABLE, base_url, allow_insecure=True)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    return shared.key_for(base_url, bare_token(token or ""))
