"""chat.completions and completions over a real server, field for field what openai-python's own types accept."""

import asyncio
from typing import Any

import grpc
import pytest
from openai.types import Completion as OpenAICompletion
from openai.types import Model as OpenAIModel
from openai.types.chat import ChatCompletion as OpenAIChatCompletion
from openai.types.chat import ChatCompletionChunk as OpenAIChunk

from penstock import AsyncClient, BadRequestError, Client, NotFoundError, ServiceUnavailableError, StreamInterrupted
from penstock.v1 import generation_pb2 as pb
from tests.client.conftest import Caller, in_thread
from tests.client.scripted_server import ScriptedServer

MESSAGES = [{"role": "user", "content": "Hi"}]


async def seen(event: asyncio.Event) -> None:
    await asyncio.wait_for(event.wait(), 5)


async def test_a_chat_answer_has_openais_shape(caller: Caller, server: ScriptedServer) -> None:
    answer = await caller.chat(model="tiny", messages=MESSAGES, max_tokens=9, temperature=0)

    theirs = OpenAIChatCompletion.model_validate(answer.model_dump(), strict=True)
    assert theirs.choices[0].message.content == answer.choices[0].message.content == "Hello wörld"
    assert theirs.choices[0].finish_reason == "stop"
    assert theirs.usage is not None
    assert theirs.usage.total_tokens == 5
    assert theirs.usage.prompt_tokens_details is not None
    assert theirs.usage.prompt_tokens_details.cached_tokens == 1
    assert (theirs.id, theirs.model) == ("chatcmpl-gen-1", "tiny")
    assert answer._request_id == "gen-1"
    assert answer.timings.time_to_first_token_ms == 1.5
    assert server.requests[0].stopping.max_tokens == 9


async def test_a_streamed_chat_keeps_openais_rules(caller: Caller) -> None:
    pieces = await caller.chat(model="tiny", messages=MESSAGES, stream=True)

    sent = [piece.to_dict() for piece in pieces]
    for piece in pieces:
        OpenAIChunk.model_validate(piece.model_dump(), strict=True)
    assert [piece["choices"][0]["delta"] for piece in sent] == [
        {"role": "assistant", "content": ""},
        {"content": "Hello"},
        {"content": " wörld"},
        {},
    ]
    assert [piece["choices"][0]["finish_reason"] for piece in sent] == [None, None, None, "stop"]
    assert {piece["object"] for piece in sent} == {"chat.completion.chunk"}
    assert len({(piece["id"], piece["created"], piece["model"]) for piece in sent}) == 1
    assert [("usage" in piece) for piece in sent] == [False, False, False, True]
    assert sent[-1]["usage"]["completion_tokens"] == 2


@pytest.mark.parametrize("usage_apart", [False, True])
async def test_usage_comes_alone_and_last_when_it_is_asked_for(
    caller: Caller, server: ScriptedServer, usage_apart: bool
) -> None:
    server.usage_apart = usage_apart

    pieces = await caller.chat(messages=MESSAGES, stream=True, stream_options={"include_usage": True})

    *before, last = [piece.to_dict() for piece in pieces]
    assert all(piece["usage"] is None and len(piece["choices"]) == 1 for piece in before)
    assert before[-1]["choices"][0]["finish_reason"] == "stop"
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] == 5
    OpenAIChunk.model_validate(last, strict=True)


async def test_usage_in_a_chunk_of_its_own_still_rides_on_the_finish_piece(
    caller: Caller, server: ScriptedServer
) -> None:
    server.usage_apart = True

    pieces = await caller.chat(messages=MESSAGES, stream=True)

    assert all(piece.choices for piece in pieces)
    assert pieces[-1].choices[0].finish_reason == "stop"
    assert pieces[-1].usage.total_tokens == 5


@pytest.mark.parametrize("reason", [pb.FINISH_REASON_LENGTH, pb.FINISH_REASON_CONTEXT_LENGTH])
@pytest.mark.parametrize("stream", [False, True])
async def test_both_kinds_of_length_are_openais_length(
    caller: Caller, server: ScriptedServer, reason: pb.FinishReason, stream: bool
) -> None:
    server.finish = pb.Finish(reason=reason)

    answer = await caller.chat(messages=MESSAGES, stream=stream)

    last = answer[-1] if stream else answer
    assert last.choices[0].finish_reason == "length"


async def test_a_completion_has_openais_shape_and_default_length(caller: Caller, server: ScriptedServer) -> None:
    answer = await caller.complete(model="tiny", prompt="Once")

    theirs = OpenAICompletion.model_validate(answer.model_dump(), strict=True)
    assert (theirs.choices[0].text, theirs.choices[0].finish_reason) == ("Hello wörld", "stop")
    assert theirs.id == "cmpl-gen-1"
    assert server.requests[0].stopping.max_tokens == 16


@pytest.mark.parametrize(
    ("prompt", "inputs"),
    [
        (["a", "b"], ["a", "b"]),
        ([1, 2], [[1, 2]]),
        ([[1], [2, 3]], [[1], [2, 3]]),
    ],
)
async def test_each_prompt_gets_a_choice_and_usage_is_the_sum(
    caller: Caller, server: ScriptedServer, prompt: Any, inputs: list[Any]
) -> None:
    answer = await caller.complete(prompt=prompt)

    OpenAICompletion.model_validate(answer.model_dump(), strict=True)
    assert [choice.index for choice in answer.choices] == list(range(len(inputs)))
    assert answer.usage.total_tokens == 5 * len(inputs)
    arrived = [request.prompt or list(request.token_ids.ids) for request in server.requests]
    assert sorted(map(str, arrived)) == sorted(map(str, inputs))


@pytest.mark.parametrize("include_usage", [False, True])
async def test_streamed_prompts_are_told_apart_by_index(caller: Caller, include_usage: bool) -> None:
    pieces = await caller.complete(prompt=["a", "b", "c"], stream=True, stream_options={"include_usage": include_usage})

    texts = ["", "", ""]
    for piece in pieces:
        for choice in piece.choices:
            texts[choice.index] += choice.text
    assert texts == ["Hello wörld"] * 3
    assert [piece.usage.total_tokens for piece in pieces if piece.usage] == [15]
    assert pieces[-1].usage
    assert bool(pieces[-1].choices) is not include_usage
    assert len({(piece.id, piece.created) for piece in pieces}) == 1


async def test_an_unsupported_parameter_is_refused_by_name_and_nothing_is_sent(
    caller: Caller, server: ScriptedServer
) -> None:
    with pytest.raises(BadRequestError, match="functions") as caught:
        await caller.chat(messages=MESSAGES, functions=[{"name": "add"}])
    with pytest.raises(TypeError, match="tempreture"):
        await caller.chat(messages=MESSAGES, tempreture=1)

    assert caught.value.param == "functions"
    assert not server.requests


async def test_extras_headers_and_timeout_go_where_they_belong(caller: Caller, server: ScriptedServer) -> None:
    await caller.chat(
        messages=MESSAGES,
        extra_body={"top_k": 5, "ignore_eos": True, "request_id": "job"},
        extra_headers={"X-Tenant": "a"},
        extra_query={"v": "1"},
        timeout=30,
    )

    assert server.requests[0].sampling.top_k == 5
    assert server.requests[0].stopping.ignore_eos
    assert server.requests[0].request_id == "job"
    assert server.metadata[0]["x-tenant"] == "a"
    assert server.seconds_left[0] is not None


async def test_a_refusal_is_raised_by_create_before_the_stream_is_read(server: ScriptedServer) -> None:
    server.refuse(grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")

    async with AsyncClient(server.target) as client:
        with pytest.raises(NotFoundError):
            await client.chat.completions.create(messages=MESSAGES, stream=True)
        with pytest.raises(NotFoundError):
            async with client.completions.create(prompt=["a", "b"], stream=True):
                pass
    with Client(server.target) as blocking, pytest.raises(NotFoundError):
        await in_thread(blocking.chat.completions.create, messages=MESSAGES, stream=True)


async def test_an_async_stream_can_be_awaited_entered_or_iterated(server: ScriptedServer) -> None:
    async with AsyncClient(server.target) as client:
        create = client.chat.completions.create

        awaited = [piece async for piece in await create(messages=MESSAGES, stream=True)]
        iterated = [piece async for piece in create(messages=MESSAGES, stream=True)]
        async with create(messages=MESSAGES, stream=True) as stream:
            entered = [piece async for piece in stream]
        async with await create(messages=MESSAGES, stream=True) as stream:
            both = [piece async for piece in stream]

    texts = [[piece.choices[0].delta.content for piece in pieces] for pieces in (awaited, iterated, entered, both)]
    assert texts == [["", "Hello", " wörld", None]] * 4


async def test_a_stream_that_is_never_used_sends_nothing(server: ScriptedServer) -> None:
    async with AsyncClient(server.target) as client:
        client.chat.completions.create(messages=MESSAGES, stream=True)
        await client.generate("Once")

    assert len(server.requests) == 1


@pytest.mark.parametrize("prompts", [1, 3])
async def test_leaving_an_async_stream_early_cancels_all_its_calls(server: ScriptedServer, prompts: int) -> None:
    server.block_after = 1
    server.crowd = prompts
    async with AsyncClient(server.target) as client:
        async for piece in client.completions.create(prompt=["a"] * prompts, stream=True):
            assert piece.choices[0].text == "Hello"
            await seen(server.crowded)
            break

        while server.cancellations < prompts:
            await seen(server.cancelled)
            server.cancelled.clear()


async def test_cancelling_a_reader_of_several_prompts_cancels_all_calls(server: ScriptedServer) -> None:
    server.block_after = 0
    server.crowd = 3
    async with AsyncClient(server.target) as client:

        async def consume() -> None:
            await client.completions.create(prompt=["a", "b", "c"], stream=True)

        task = asyncio.create_task(consume())
        await seen(server.crowded)

        task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await task
        while server.cancellations < 3:
            await seen(server.cancelled)
            server.cancelled.clear()


async def test_leaving_a_blocking_stream_early_cancels(server: ScriptedServer) -> None:
    server.block_after = 1

    def leave() -> str:
        with Client(server.target) as client:
            for piece in client.chat.completions.create(messages=MESSAGES, stream=True):
                if piece.choices[0].delta.content:
                    return piece.choices[0].delta.content
        raise AssertionError("no text")

    assert await in_thread(leave) == "Hello"
    await seen(server.cancelled)


async def test_final_is_the_whole_answer(server: ScriptedServer) -> None:
    with Client(server.target) as client:
        stream = await in_thread(client.chat.completions.create, messages=MESSAGES, stream=True)
        final = await in_thread(stream.final)  # type: ignore[attr-defined]  # the first overload was taken
    async with AsyncClient(server.target) as async_client:
        async_final = await async_client.completions.create(prompt=["a", "b"], stream=True).final()

    assert final.choices[0].message.content == "Hello wörld"
    assert [choice.text for choice in async_final.choices] == ["Hello wörld"] * 2
    assert async_final.usage is not None
    assert async_final.usage.total_tokens == 10


async def test_a_failure_after_output_is_stream_interrupted(caller: Caller, server: ScriptedServer) -> None:
    server.refuse(grpc.StatusCode.UNAVAILABLE, "ENGINE_DEAD", after=1)

    with pytest.raises(StreamInterrupted) as caught:
        await caller.chat(messages=MESSAGES, stream=True)

    assert caught.value.partial.text == "Hello"


@pytest.mark.parametrize("stream", [False, True])
async def test_one_of_several_prompts_failing_fails_the_call_and_cancels_the_rest(
    server: ScriptedServer, stream: bool
) -> None:
    server.refuse(grpc.StatusCode.UNAVAILABLE, "DRAINING")
    assert server.failure is not None
    server.failure.only_prompt = "b"
    server.block_after = 0
    server.crowd = 3  # the others are open when it fails

    async with AsyncClient(server.target) as client:
        with pytest.raises(ServiceUnavailableError):
            await client.completions.create(prompt=["a", "b", "c"], stream=stream)  # type: ignore[call-overload]
        while server.cancellations < 2:
            await seen(server.cancelled)
            server.cancelled.clear()


async def test_models_have_openais_shape(caller: Caller) -> None:
    models = await caller.models()

    theirs = OpenAIModel.model_validate(models.data[0].model_dump(), strict=True)
    assert (theirs.id, theirs.object, theirs.owned_by) == ("tiny", "model", "penstock")
    assert models.to_dict()["object"] == "list"
