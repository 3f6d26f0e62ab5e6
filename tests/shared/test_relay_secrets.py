"""While the secret of webhooks is changed, processes have other secrets or another order of
them, and webhooks still reach the process that waits.
"""

import asyncio
from typing import Any

import pytest
from support.raw_server import failure
from support.relaying import relaying
from support.webhook_samples import SECRET, path
from support.webhook_session import new_deployment, send_webhook

from edgegap_async import ReadyDeployment
from edgegap_async._shared.relay_messages import Ignored, Message, Sealer

OLD, NEW, OLDEST = SECRET, "0ther-5ec4e7-c0ffee", "0lde5t-5ec4e7-c0ffee"
NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("waits", "other"),
    [
        ([NEW, OLD], [OLD, NEW]),
        ([OLD, NEW], [NEW, OLD]),
        # The first and the last step of a change.
        (OLD, [OLD, NEW]),
        ([NEW, OLD], NEW),
    ],
)
async def test_a_webhook_reaches_a_process_with_the_secrets_in_another_order(
    store_url: str, waits: Any, other: Any
) -> None:
    async with relaying(store_url, secrets=(waits, other)) as both:
        nonce, request_id = await new_deployment(both.waits)
        waiting = asyncio.ensure_future(
            both.waits.deployments.wait_until_ready(request_id, timeout=300)
        )
        assert both.other_hooks.is_signed(path(both.hooks, "ready", nonce))
        await send_webhook(both.other_hooks, "ready", nonce, request_id)
        assert isinstance(await waiting, ReadyDeployment)


@pytest.mark.full
@pytest.mark.slow
async def test_a_message_that_is_signed_with_no_common_secret_is_ignored(
    one_store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with relaying(one_store_url, secrets=([OLD], [NEW, OLDEST])) as both:
        nonce, request_id = await new_deployment(both.waits)
        waiting = asyncio.ensure_future(
            both.waits.deployments.wait_until_ready(request_id, timeout=30)
        )
        await send_webhook(both.other_hooks, "ready", nonce, request_id)
        assert await failure(waiting)
    assert "is not signed with the secret" in caplog.text


def test_a_message_is_signed_with_the_first_key_and_verified_with_all() -> None:
    new, old = b"n" * 32, b"o" * 32
    message = Message("once-0", b"{}")
    sealed = Sealer([new, old]).seal(message, NOW)
    assert sealed == Sealer([new]).seal(message, NOW)
    for keys in ([new], [old, new]):
        assert Sealer(keys).unseal(sealed or b"", NOW) == message
    assert Sealer([old]).unseal(sealed or b"", NOW) is Ignored.NOT_SIGNED
