"""Errors of the API have the headers of the answer, and the ID that the API has given to
the request.
"""

import pickle

import pytest
from support.raw_server import GET, TOKEN, answer, deploy, failure, scripted

from edgegap_async import ApiError, DeployOutcomeUnknown, Retry, ServerError

NO = {"message": "no"}


@pytest.mark.parametrize("status", [400, 401, 404, 409, 422, 429, 500, 503])
async def test_an_error_has_the_headers_of_its_answer(status: int) -> None:
    act = answer(status, NO, X_Request_Id="ab-12", Server="gateway")
    async with scripted(act, retry=Retry(tries=1)) as (edgegap, _):
        error = await failure(GET(edgegap))
    assert isinstance(error, ApiError)
    assert error.headers["server"] == "gateway"
    assert error.headers["content-length"] == "17"
    assert error.api_request_id == "ab-12"
    again = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert (again.headers, again.api_request_id) == (error.headers, "ab-12")


@pytest.mark.parametrize(
    "name",
    ["request-id", "X-Correlation-ID", "X-Amzn-RequestId", "CF-Ray", "X-TRACE-ID"],
)
async def test_the_id_of_a_request_has_several_names(name: str) -> None:
    async with scripted(answer(404, NO, **{name: "ab-12"})) as (edgegap, _):
        error = await failure(GET(edgegap))
    assert isinstance(error, ApiError)
    assert error.api_request_id == "ab-12"


async def test_the_ids_own_header_comes_before_that_of_a_gateway() -> None:
    act = answer(404, NO, cf_ray="gateway", x_request_id="own")
    async with scripted(act) as (edgegap, _):
        error = await failure(GET(edgegap))
    assert isinstance(error, ApiError)
    assert error.api_request_id == "own"


async def test_an_answer_without_such_a_header_has_no_id() -> None:
    async with scripted(answer(404, NO, x_request_id="")) as (edgegap, _):
        error = await failure(GET(edgegap))
    assert isinstance(error, ApiError)
    assert error.api_request_id is None
    assert ApiError("operation", 404, "made by hand").headers == {}


async def test_headers_hold_neither_cookies_nor_the_token() -> None:
    act = answer(
        404,
        NO,
        **{
            "Set-Cookie": "session=s3cret",
            f"X-{TOKEN}": "1",
            "X-Echo": f"token {TOKEN}",
            "Location": f"https://a.example/ready/n/{'ab' * 32}",
        },
    )
    async with scripted(act) as (edgegap, _):
        error = await failure(GET(edgegap))
    assert isinstance(error, ApiError)
    assert "set-cookie" not in error.headers
    assert error.headers["x-echo"] == "token ***"
    shown = repr(vars(error))
    assert not any(secret in shown for secret in ("s3cret", TOKEN, "abab"))


async def test_the_cause_of_an_unknown_outcome_has_the_headers() -> None:
    async with scripted(answer(503, NO, x_request_id="ab-12")) as (edgegap, _):
        error = await failure(deploy(edgegap))
    assert isinstance(error, DeployOutcomeUnknown)
    assert isinstance(error.__cause__, ServerError)
    assert error.__cause__.api_request_id == "ab-12"
