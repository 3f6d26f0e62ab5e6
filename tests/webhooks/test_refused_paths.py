"""A webhook that was changed on its way, or signed with another secret, is one warning
that says what to set.
"""

import logging

import pytest
from support.webhook_samples import BODY, SECRET, path, receiver, split_path

from edgegap_async import WebhookReceiver

# What happens to a path, with the words that tell it.
CHANGES = {
    "a prefix": (
        lambda path: f"/api{path}",
        "begins with '/api/game/hooks', and that of base_url is '/game/hooks'",
    ),
    "another prefix": (
        lambda path: f"/x{path[path.index('/', 1) :]}",
        "begins with '/x/hooks'",
    ),
    "the whole URL": (lambda path: f"https://me.example{path}", "begins with 'https:"),
    "a query": (lambda path: f"{path}?a=1", "goes on after the signature"),
    "a slash": (lambda path: f"{path}/", "goes on after the signature"),
    "a prefix and a query": (lambda path: f"/api{path}?a=1", "goes on after the"),
}


def records(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    return [(each.levelno, each.getMessage()) for each in caplog.records]


@pytest.mark.parametrize("name", CHANGES)
async def test_a_path_that_was_changed_is_one_warning(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "edgegap_async")
    change, text = CHANGES[name]
    hooks = receiver()
    changed = change(path(hooks))
    for _ in range(3):
        assert await hooks.handle(changed, BODY) is None
    levels, texts = zip(*records(caplog), strict=True)
    assert levels == (logging.WARNING, logging.DEBUG, logging.DEBUG)
    assert text in texts[0]
    *_, nonce, signature = split_path(path(hooks))
    for secret in (SECRET, signature, nonce):
        assert secret not in caplog.text
    # A webhook that arrives as it was sent is still an event.
    assert await hooks.handle(path(hooks), BODY)


async def test_another_secret_is_one_warning_however_many_webhooks_there_are(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "edgegap_async")
    mine, other = receiver(), WebhookReceiver("https://other.example/hooks")
    for event in ("ready", "error", "ready"):
        assert await mine.handle(path(other, event), BODY) is None
    assert [level for level, _ in records(caplog)] == [
        logging.WARNING,
        logging.DEBUG,
        logging.DEBUG,
    ]
    assert "another secret" in caplog.text
    assert "secret=" in caplog.text
    assert split_path(path(other))[3] not in caplog.text


async def test_each_kind_of_problem_is_a_warning_of_its_own(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "edgegap_async")
    hooks, other = receiver(), WebhookReceiver("https://other.example/hooks")
    for _ in range(2):
        for refused in (
            path(other),
            f"/api{path(hooks)}",
            f"{path(hooks)}?a",
        ):
            assert await hooks.handle(refused, BODY) is None
    assert len(caplog.records) == 3


@pytest.mark.parametrize(
    "junk", ["", "/", "/hooks/ready", "/wp-login.php", "/hooks/ready/n/" + "0" * 63]
)
async def test_what_no_receiver_has_made_is_no_warning(
    junk: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "edgegap_async")
    assert await receiver().handle(junk, BODY) is None
    assert records(caplog) == [
        (logging.DEBUG, "webhook refused: its path has no valid signature")
    ]
