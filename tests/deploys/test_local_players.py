"""A player's address by which no server can be placed is a warning, once per session."""

import logging

import pytest
from support.deploy_many import outcomes_of, requests
from support.owning import owning

from edgegap_async import DeployRequest

LOCAL = [
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.17",
    "169.254.7.7",
    # A carrier's.
    "100.64.0.1",
    "0.0.0.0",  # noqa: S104 (nothing is bound)
    "::1",
    "fd00::7",
    "fe80::1%eth0",
    "::ffff:10.0.0.1",
]
PUBLIC = [
    "203.0.113.7",
    "172.32.0.1",
    "192.169.0.1",
    "100.128.0.1",
    "2001:db8::1",
    "::ffff:203.0.113.7",
    (45.5, -73.6),
]


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING
    ]


@pytest.mark.parametrize("address", LOCAL)
async def test_a_local_address_is_a_warning_that_names_it(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with owning() as (edgegap, _):
        await edgegap.deployments.deploy("game", "1", users=["203.0.113.7", address])
    (text,) = warnings(caplog)
    assert address in text
    assert "X-Forwarded-For" in text


async def test_there_is_one_warning_per_session(
    caplog: pytest.LogCaptureFixture,
) -> None:
    local = [DeployRequest("game", "1", users=LOCAL) for _ in range(5)]
    for sessions in (1, 2):
        async with owning() as (edgegap, _):
            await outcomes_of(edgegap, local)
            async with edgegap.deployments.running("game", "1", users=LOCAL):
                pass
            await edgegap.private_fleets.deploy(
                "game", "1", users=LOCAL, private_host_ids=["host"]
            )
        assert len(warnings(caplog)) == sessions


async def test_public_addresses_and_coordinates_are_no_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with owning() as (edgegap, _):
        await edgegap.deployments.deploy("game", "1", users=PUBLIC)  # type: ignore[arg-type]
        await outcomes_of(edgegap, requests(3))
    assert warnings(caplog) == []
