"""with_raw_response, with_options, the keywords of calls and the attributes of errors, as openai-python has them."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import httpx2
import openai
import pytest

import penstock
from penstock import AsyncClient, Retry
from tests.client.conftest import Caller, MakeCaller
from tests.client.openai_scripts import MESSAGES, refuses
from tests.client.scripted_server import ScriptedServer


@pytest.mark.parametrize("stream", [False, True])
async def test_a_raw_response_tells_of_its_call(make_caller: MakeCaller, server: ScriptedServer, stream: bool) -> None:
    server.refuse(grpc.StatusCode.UNAVAILABLE, "DRAINING")
    caller = make_caller(server.target, retry=Retry(attempts=3, base=0.0))

    def recover(event: Any) -> None:
        server.failure = None

    caller.client.on("retry", recover)
    raw = await caller.call(
        "chat.completions.with_raw_response.create",
        messages=MESSAGES,
        stream=stream,
        extra_body={"request_id": "job-7"},
    )

    assert (raw.attempts, raw.retries_taken) == (2, 1)
    assert raw.headers["x-request-id"] == raw.request_id == "job-7"
    assert raw.elapsed > 0


async def test_a_raw_response_counts_no_other_calls_attempts(server: ScriptedServer) -> None:
    server.refuse(grpc.StatusCode.UNAVAILABLE, "DRAINING")
    assert server.failure is not None
    server.failure.only_prompt = "fails"
    server.block_after = 0
    async with AsyncClient(server.target, retry=Retry(attempts=3, base=0.0)) as client:
        quiet = asyncio.create_task(client.completions.with_raw_response.create(prompt="works"))
        await asyncio.wait_for(server.blocked.wait(), 5)
        with pytest.raises(penstock.ServiceUnavailableError):
            await client.completions.create(prompt="fails")
        server.release.set()

        assert (await quiet).attempts == 1


@pytest.mark.parametrize("how", ["client", "call"])
async def test_max_retries_is_how_often_a_call_is_repeated(
    make_caller: MakeCaller, server: ScriptedServer, how: str
) -> None:
    server.refuse(grpc.StatusCode.UNAVAILABLE, "DRAINING")
    caller = make_caller(server.target, retry=Retry(attempts=3, base=0.0))

    if how == "client":
        caller.client = caller.client.with_options(max_retries=0)
    options = {"max_retries": 0} if how == "call" else {}

    with pytest.raises(penstock.ServiceUnavailableError):
        await caller.chat(messages=MESSAGES, **options)

    assert len(server.requests) == 1


async def test_the_timeouts_of_httpx_and_absent_arguments_are_understood(
    caller: Caller, server: ScriptedServer
) -> None:
    answer = await caller.chat(
        messages=MESSAGES, timeout=httpx2.Timeout(30, connect=5), temperature=openai.omit, seed=openai.NOT_GIVEN
    )

    assert answer.choices
    assert server.seconds_left == [None]  # httpx limits each wait, and no call as a whole
    assert not server.requests[0].sampling.HasField("seed")


async def test_tiers_and_deadlines_are_the_clients(make_caller: MakeCaller, server: ScriptedServer) -> None:
    caller = make_caller(server.target, tiers={"chat": 30})

    await caller.chat(messages=MESSAGES, tier="chat")
    await caller.chat(messages=MESSAGES, tier="chat", deadline=9)
    await caller.complete(prompt="Once", timeout=penstock.Timeout(total=60))

    in_tier, by_deadline, own = (left or 0 for left in server.seconds_left)
    assert by_deadline < 10 < in_tier < 31 < own


async def test_an_answer_of_the_cache_says_so(make_caller: MakeCaller, server: ScriptedServer) -> None:
    server.tiny.digest = "sha256:1"
    caller = make_caller(server.target, cache=penstock.Cache())

    asked = [await caller.chat(messages=MESSAGES, temperature=0) for _ in range(2)]
    apart = await caller.chat(messages=MESSAGES, temperature=0, cache="off")

    assert [answer.cached for answer in (*asked, apart)] == [False, True, False]
    assert asked[0].choices == asked[1].choices
    assert len(server.requests) == 2


async def test_each_prompt_has_an_idempotency_key_of_its_own(caller: Caller, server: ScriptedServer) -> None:
    await caller.complete(prompt=["a", "b"], idempotency_key="job")

    assert {request.prompt: request.idempotency_key for request in server.requests} == {"a": "job", "b": "job-1"}


async def test_errors_have_what_openais_have(caller: Caller, server: ScriptedServer) -> None:
    server.refuse(grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")

    with pytest.raises(penstock.APIStatusError) as caught:
        await caller.chat(messages=MESSAGES)

    error = caught.value
    assert (error.status_code, error.code, error.type) == (404, "model_not_found", "invalid_request_error")
    assert error.body == {
        "message": "scripted MODEL_NOT_FOUND", "type": "invalid_request_error", "param": None, "code": "model_not_found"
    }  # fmt: skip
    assert error.response.json()["error"] == error.body
    assert error.response.headers["x-should-retry"] == "false"


def test_every_error_that_openai_python_raises_for_a_call_has_its_name_here() -> None:
    not_ours = {"APIResponseValidationError", "InvalidWebhookSignatureError", "OAuthError", "SubjectTokenProviderError"}
    theirs = {
        name for name in dir(openai) if name.endswith("Error") and not name.startswith(("WebSocket", "_"))
    } - not_ours

    assert not [name for name in theirs if not hasattr(penstock, name)]
    for name in theirs:
        bases = {base.__name__ for base in getattr(openai, name).__mro__} & theirs
        assert bases <= {base.__name__ for base in getattr(penstock, name).__mro__}, name


async def test_the_list_of_models_can_be_awaited_and_iterated(server: ScriptedServer) -> None:
    async with AsyncClient(server.target) as client:
        awaited = (await client.models.list()).data
        iterated = [model async for model in client.models.list()]

    assert [model.id for model in awaited] == [model.id for model in iterated] == ["tiny"]


async def test_a_failing_stream_of_completions_is_told_with_what_came(caller: Caller, server: ScriptedServer) -> None:
    refuses(grpc.StatusCode.UNAVAILABLE, "ENGINE_DEAD", after=1)(server)

    with pytest.raises(penstock.StreamInterrupted) as caught:
        await caller.complete(prompt="Once", stream=True)

    assert caught.value.partial.text == "Hello"
    assert caught.value.status_code == 503
