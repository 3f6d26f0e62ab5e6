"""`SharedState` says what is wrong with it, and shows no secret."""

import copy
import pickle
import traceback
from dataclasses import replace
from typing import Any

import pytest

from edgegap_async import EdgegapSession
from edgegap_async._shared.config import SharedState


def test_a_file_of_sqlite_has_an_absolute_path() -> None:
    assert (
        SharedState("sqlite:////var/lib/a b/edgegap.db").path
        == "/var/lib/a b/edgegap.db"
    )
    for relative in ("sqlite:///edgegap.db", "sqlite:///./x.db", "sqlite:///../x.db"):
        with pytest.raises(
            ValueError, match="url must have an absolute path, with four slashes"
        ):
            SharedState(relative)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "edgegap.db",
        "sqlite:",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:////x.db?mode=ro",
        "mysql://u:hunter2@h/db",
        "redis:hunter2",
        "http://:hunter2@host",
        "hunter2",
    ],
)
def test_other_urls_are_refused_without_showing_them(url: str) -> None:
    with pytest.raises(
        ValueError, match="url must be sqlite:////absolute/path"
    ) as caught:
        SharedState(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://",
        "redis://:hunter2@",
        "redis://h:hunter2",
        "rediss://:hunter2@h:0",
        "unix://",
    ],
)
def test_urls_of_redis_have_a_host_and_a_port(url: str) -> None:
    with pytest.raises(ValueError, match="url must have a host and a port") as caught:
        SharedState(url)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "url",
    [
        "redis://10.0.0.5:6379/0",
        "rediss://u:hunter2@h/1",
        "REDIS://:hunter2@h",
        "valkey://:hunter2@h:1",
        "unix:///run/hunter2.sock",
        "valkey+unix:///run/hunter2.sock?db=1",
    ],
)
def test_no_repr_shows_a_url(url: str) -> None:
    shared = SharedState(url, key="studio")
    assert "hunter2" not in repr(shared) + str(shared) + repr(shared.url)
    assert shared.path is None
    assert "studio" in repr(shared)
    assert pickle.loads(pickle.dumps(shared)) == shared  # noqa: S301
    assert hash(shared) == hash(SharedState(url, key="studio"))


def test_exactly_one_of_url_and_client_is_given() -> None:
    assert repr(SharedState(client=object)) == "SharedState(<client>)"
    for arguments in ({}, {"url": "redis://h", "client": object}):
        with pytest.raises(
            ValueError, match="url or client must be given, and not both"
        ):
            SharedState(**arguments)
    with pytest.raises(ValueError, match="client must be callable"):
        SharedState(client=3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="url must be a string, not int"):
        SharedState(3)  # type: ignore[arg-type]


def test_the_other_arguments_are_checked() -> None:
    for key in ("", "a\nb", "a{b}"):
        with pytest.raises(ValueError, match="key must"):
            SharedState("redis://h", key=key)
    for lease in (0.5, -1, 3601, float("nan"), "60", True):
        with pytest.raises(
            ValueError, match="owner_lease must be a number from 1 to 3600"
        ):
            SharedState("redis://h", owner_lease=lease)  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        SharedState("redis://h").key = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("redis://:hunter2@h:99999999", {}),
        ("hunter2", {}),
        ("redis://:hunter2@h", {"owner_lease": 0}),
        ("redis://:hunter2@h", {"key": "{"}),
        ("redis://:hunter2@h", {"client": object}),
        ("redis://:hunter2@h", {"client": 3}),
    ],
)
def test_no_frame_of_an_error_shows_the_url(url: str, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must") as caught:
        SharedState(url, **options)
    assert "hunter2" not in shown(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://:hunter2@h/0?db=first",
        "redis://:hunter2@h?socket_timeout=hunter2",
        "redis://:hunter2@h?no_such_option=1",
        "rediss://:hunter2@h?ssl_cert_reqs=hunter2",
        "unix:///hunter2.sock?db=x",
    ],
)
def test_options_that_the_client_cannot_use_are_refused(url: str) -> None:
    shared = SharedState(url)
    with pytest.raises(ValueError, match="shared has a URL with an option") as caught:
        EdgegapSession("made-up", shared=shared)
    assert "hunter2" not in shown(caught.value)


def test_options_of_the_client_are_used() -> None:
    for query in ("?db=3", "?socket_timeout=0.5&client_name=matchmaker", ""):
        EdgegapSession("made-up", shared=SharedState(f"redis://:hunter2@h{query}"))


def shown(error: BaseException) -> str:
    """What an error tracker shows, but for the frame of the test, which has the URL."""
    trace = error.__traceback__
    assert trace
    text = traceback.TracebackException(
        type(error), error, trace.tb_next, capture_locals=True
    )
    return "".join(text.format())


def test_a_copy_with_another_lease() -> None:
    shared = SharedState("redis://:hunter2@h", key="studio")
    other = replace(shared, owner_lease=5)
    assert (other.url, other.key, other.owner_lease) == (shared.url, "studio", 5)
    assert copy.deepcopy(other) == other
