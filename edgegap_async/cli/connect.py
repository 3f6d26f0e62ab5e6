"""Opens the session of a command."""

import os
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

import click

from ..session import TOKEN_VARIABLE, EdgegapSession
from ..simulator import Simulator
from .common import Common
from .verbose import show_requests

# What an embedded simulator shows: the deployments of neighbours.
NEIGHBOURS = 12
# It accepts any token.
SIMULATED = "simulated"
# The names that Python reads first, and those that would forbid a proxy.
_PROXY_VARIABLES = ("https_proxy", "http_proxy")
_DIRECT_VARIABLES = ("no_proxy", "NO_PROXY")


def require_token(common: Common) -> None:
    """Check that there is a token.

    Raises:
        click.UsageError: there is none.
    """
    if not common.simulate and not os.environ.get(TOKEN_VARIABLE, "").strip():
        raise click.UsageError(
            f"{TOKEN_VARIABLE} is not set: set it to your API token; a simulator takes any"
        )


@asynccontextmanager
async def connected(common: Common) -> AsyncGenerator[EdgegapSession]:
    """Open a session, and with `--simulate` a simulator.

    Raises:
        ValueError: an option or the environment is wrong.
        ModuleNotFoundError: `--shared` needs the extra `redis`.
    """
    async with AsyncExitStack() as stack:
        token, base_url = None, common.base_url
        if common.simulate:
            simulator = Simulator(neighbours=NEIGHBOURS, faults=common.faults)
            await stack.enter_async_context(simulator)
            common.output.say("simulated: no real server is shown, started or stopped")
            token, base_url = SIMULATED, simulator.url
        with _proxy_in_environment(common.proxy):
            session = EdgegapSession(
                token,
                base_url=base_url,
                limits=common.limits,
                timeout=common.timeout,
                trust_env=True,
                shared=None if common.simulate else common.shared,
                on_event=show_requests(common.output, common.timeout),
            )
        yield await stack.enter_async_context(session)


@contextmanager
def _proxy_in_environment(url: str | None) -> Generator[None, None, None]:
    """Let the environment name a proxy within the block. A session reads it when it is
    made, with its password, and certificates.
    """
    if url is None:
        yield
        return
    changed = (*_PROXY_VARIABLES, *_DIRECT_VARIABLES)
    before = {name: os.environ.pop(name, None) for name in changed}
    os.environ.update(dict.fromkeys(_PROXY_VARIABLES, url))
    try:
        yield
    except ValueError as error:
        text = (
            str(error)
            .replace("HTTPS_PROXY", "--proxy")
            .replace("HTTP_PROXY", "--proxy")
        )
        raise ValueError(text) from None
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
