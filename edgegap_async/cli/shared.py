"""The options that name what several processes share."""

from collections.abc import Callable
from typing import TypeVar

import click

from .._shared.config import SharedState
from ..session import BASE_URL_VARIABLE, TOKEN_VARIABLE

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
        raise click.UsageError(str(error)) from None
