"""`wait`: waits until deployments are ready."""

from collections.abc import Sequence

import click

from ..errors import EdgegapError
from ..session import EdgegapSession
from .addresses import address
from .advice import explained
from .common import EXIT_CODES, Common, common_options
from .operate import operate
from .streams import FAILED

# Seconds for all of them.
TIMEOUT = 300.0


@click.command(short_help="Wait until deployments are ready.", epilog=EXIT_CODES)
@click.argument("request_ids", nargs=-1, required=True, metavar="ID...")
@common_options(timeout=TIMEOUT, timeout_of="all of it", shared=True)
def wait(common: Common, request_ids: Sequence[str]) -> None:
    """Wait until deployments are READY, and print each with its address as soon as it is.

    A thousand of them cost a few requests per second. Those that failed, have ended or
    are not READY in time are named, and the exit code is 1. None is stopped.

    \b
    Examples:
      edgegap wait c065a3f1b2e4 && echo ready
      edgegap wait $(edgegap ps --tag ranked --quiet) --timeout 60
    """
    output = common.output

    async def wait_for_all(edgegap: EdgegapSession) -> int:
        code = 0
        waiting = edgegap.deployments.wait_many(request_ids, timeout=common.timeout)
        async with waiting as outcomes:
            async for request_id, outcome in outcomes:
                if isinstance(outcome, EdgegapError):
                    code = FAILED
                    text = explained(outcome)
                    output.problem(f"{request_id}: {text}")
                    if output.json:
                        output.record({"request_id": request_id, "error": text})
                elif output.json:
                    output.record(outcome)
                else:
                    output.text(f"{request_id}  {address(outcome)}".rstrip())
        return code

    operate(common, wait_for_all)
