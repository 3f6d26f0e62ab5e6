"""While the secret of webhooks is changed, a receiver has several: the first one signs, and
all verify.
"""

import logging
from itertools import permutations
from typing import Any

import pytest
from support.webhook_samples import BASE, BODY, EVENTS, SECRET, path, receiver, signed

OLD, NEW, OLDEST = SECRET, "0ther-5ec4e7-c0ffee", "0lde5t-5ec4e7-c0ffee"


@pytest.mark.parametrize("event", EVENTS)
async def test_urls_are_signed_with_the_first_secret_and_verified_with_all(
    event: str,
) -> None:
    both = receiver(secret=[NEW, OLD])
    assert signed(both, event) == signed(receiver(secret=NEW), event)
    for secret in (NEW, OLD):
        made = path(receiver(secret=secret), event)
        assert both.is_signed(made)
        assert await both.handle(made, BODY)
    assert not both.is_signed(path(receiver(secret=OLDEST), event))
    assert not receiver(secret=OLD).is_signed(path(both, event))


async def test_receivers_with_the_secrets_in_any_order_verify_each_others_urls() -> (
    None
):
    orders = [receiver(secret=each) for each in permutations((OLD, NEW, OLDEST))]
    for one in orders:
        for other in orders:
            assert await one.handle(path(other), BODY)


@pytest.mark.parametrize("secret", [[OLD], (OLD,), [OLD.encode()]])
def test_one_secret_in_a_list_is_that_secret(secret: Any) -> None:
    alone = receiver(secret=OLD)
    hooks = receiver(secret=secret)
    assert (signed(hooks), hooks.relay_keys) == (signed(alone), alone.relay_keys)


def test_a_list_is_read_when_the_receiver_is_made() -> None:
    secrets = [NEW, OLD]
    hooks = receiver(secret=secrets)
    made = path(hooks)
    secrets.clear()
    assert path(hooks) == made


async def test_a_secret_that_no_receiver_has_any_more_is_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    hooks = receiver(secret=[NEW, OLD])
    for _ in range(3):
        assert await hooks.handle(path(receiver(secret=OLDEST)), BODY) is None
    warnings = [it for it in caplog.records if it.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "another secret" in warnings[0].getMessage()
    # What was signed with the second one, and changed on the way, is something else.
    assert await hooks.handle(path(receiver(secret=OLD)) + "/", BODY) is None
    assert "final slash" in caplog.text
    for secret in (OLD, NEW, OLDEST):
        assert secret not in caplog.text


# Wrong secrets


@pytest.mark.parametrize(
    ("secret", "text"),
    [
        ([], "secret must not be an empty list"),
        ((), "secret must not be an empty list"),
        ([NEW, "x" * 15], "secret[1] must have at least 16 bytes"),
        ([b"", OLD], "secret[0] must have at least 16 bytes"),
        ([NEW, None], "secret[1] must be text or bytes, not NoneType"),
        ([[NEW], OLD], "secret[0] must be text or bytes, not list"),
        ([NEW, OLD, NEW], "secret[2] is the same as secret[0]"),
        ([OLD, OLD.encode()], "secret[1] is the same as secret[0]"),
        ({NEW, OLD}, "secret must be text or bytes, not set"),
        ({NEW: OLD}, "secret must be text or bytes, not dict"),
        (iter([NEW, OLD]), "secret must be text or bytes, not list_iterator"),
    ],
)
def test_wrong_lists_are_named_without_showing_a_secret(secret: Any, text: str) -> None:
    with pytest.raises(ValueError, match=r"^secret") as raised:
        receiver(secret=secret)
    assert text in str(raised.value)
    assert NEW not in str(raised.value)
    assert OLD not in str(raised.value)
    # No frame of ours holds one.
    frame = raised.value.__traceback__
    while frame and "edgegap_async/webhooks" not in frame.tb_frame.f_code.co_filename:
        frame = frame.tb_next
    assert frame is not None
    while frame:
        shown = repr(frame.tb_frame.f_locals)
        assert NEW not in shown
        assert OLD not in shown
        frame = frame.tb_next
    assert raised.value.__context__ is raised.value.__cause__ is None


def test_the_secrets_are_not_shown() -> None:
    hooks = receiver(secret=[NEW, OLD])
    assert repr(hooks) == f"<WebhookReceiver at {BASE.removesuffix('/game/hooks')}>"


def test_a_random_secret_is_for_one_process() -> None:
    assert receiver(secret=None).relay_keys == ()
