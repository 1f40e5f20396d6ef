"""openai-python over gRPC: `openai.OpenAI(http_client=penstock.openai.http_client(client))`, in both flavours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import grpc
import openai
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2
from pydantic import BaseModel

from penstock import AsyncClient, Client, Retry
from penstock.openai import http_client
from penstock.v1 import generation_pb2 as pb
from tests.client.conftest import in_thread
from tests.client.scripted_server import ScriptedServer

MESSAGES: Any = [{"role": "user", "content": "Hi"}]
TOOLS: Any = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]


class City(BaseModel):
    name: str


async def seen(event: asyncio.Event) -> None:
    await asyncio.wait_for(event.wait(), 5)


@pytest.fixture
async def client(server: ScriptedServer) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(server.target, timeout=20, retry=Retry(attempts=1)) as client:
        yield client


@pytest.fixture
async def ai(client: AsyncClient) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(http_client=http_client(client), api_key="sk-secret") as ai:
        yield ai


@pytest.fixture
def blocking(server: ScriptedServer) -> Iterator[openai.OpenAI]:
    with Client(server.target, timeout=20, retry=Retry(attempts=1)) as client:
        with openai.OpenAI(http_client=http_client(client), api_key="sk-secret") as ai:
            yield ai


Chat = Callable[..., Awaitable[Any]]


@pytest.fixture(params=["sync", "async"])
def chat(request: pytest.FixtureRequest, ai: openai.AsyncOpenAI, blocking: openai.OpenAI) -> Chat:
    """chat.completions.create of one flavour, with a whole answer."""
    if request.param == "async":
        return ai.chat.completions.create

    async def create(**parameters: Any) -> Any:
        return await in_thread(blocking.chat.completions.create, **parameters)

    return create


async def test_a_chat_goes_through(chat: Chat, server: ScriptedServer) -> None:
    answer = await chat(model="tiny", messages=MESSAGES, max_tokens=9, extra_body={"top_k": 4})

    assert answer.choices[0].message.content == "Hello wörld"
    assert answer.usage.total_tokens == 5
    assert (server.requests[0].stopping.max_tokens, server.requests[0].sampling.top_k) == (9, 4)


async def test_the_call_has_the_id_that_the_answer_tells(chat: Chat, server: ScriptedServer) -> None:
    answer = await chat(model="tiny", messages=MESSAGES)
    named = await chat(model="tiny", messages=MESSAGES, extra_headers={"X-Request-ID": "job-7"})

    assert answer._request_id == server.requests[0].request_id
    assert named._request_id == server.requests[1].request_id == "job-7"


async def test_the_callers_own_headers_become_metadata_and_the_sdks_do_not(chat: Chat, server: ScriptedServer) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    await chat(
        model="tiny",
        messages=MESSAGES,
        extra_headers={"traceparent": trace, "X-Tenant": "a", "Idempotency-Key": "once"},
    )

    metadata = server.metadata[0]
    assert (metadata["traceparent"], metadata["x-tenant"]) == (trace, "a")
    assert "sk-secret" not in str(metadata)
    assert not [name for name in metadata if name.startswith("x-stainless") or name == "authorization"]
    assert server.requests[0].idempotency_key == "once"


async def test_the_sdks_timeout_is_the_deadline_and_without_one_the_clients_holds(
    chat: Chat, server: ScriptedServer
) -> None:
    await chat(model="tiny", messages=MESSAGES, timeout=7)
    await chat(model="tiny", messages=MESSAGES)

    asked, default = server.seconds_left
    assert asked is not None
    assert default is not None
    assert 3 < asked < 8
    assert 15 < default < 21


@pytest.mark.parametrize(
    ("status", "reason", "kind", "http_status"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, "CONTEXT_LENGTH", openai.BadRequestError, 400),
        (grpc.StatusCode.UNAUTHENTICATED, "API_KEY", openai.AuthenticationError, 401),
        (grpc.StatusCode.PERMISSION_DENIED, "TENANT", openai.PermissionDeniedError, 403),
        (grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND", openai.NotFoundError, 404),
        (grpc.StatusCode.ALREADY_EXISTS, "KEY_REUSED", openai.ConflictError, 409),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA", openai.RateLimitError, 429),
        (grpc.StatusCode.INTERNAL, "INTERNAL", openai.InternalServerError, 500),
        (grpc.StatusCode.UNAVAILABLE, "DRAINING", openai.InternalServerError, 503),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE", openai.InternalServerError, 504),
    ],
)
async def test_failures_are_the_sdks_errors(
    chat: Chat,
    server: ScriptedServer,
    status: grpc.StatusCode,
    reason: str,
    kind: type[openai.APIStatusError],
    http_status: int,
) -> None:
    server.refuse(status, reason)

    with pytest.raises(kind) as caught:
        await chat(model="tiny", messages=MESSAGES)

    assert caught.value.status_code == http_status
    assert f"scripted {reason}" in caught.value.message
    assert caught.value.code in (reason.lower(), "context_length_exceeded")
    assert caught.value.request_id == server.requests[0].request_id


async def test_a_full_server_says_when_to_come_back(chat: Chat, server: ScriptedServer) -> None:
    wait = error_details_pb2.RetryInfo(retry_delay=Duration(seconds=90))
    server.refuse(grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA", wait)

    with pytest.raises(openai.RateLimitError) as caught:
        await chat(model="tiny", messages=MESSAGES, timeout=5)

    assert caught.value.response.headers["retry-after"] == "90"
    assert caught.value.response.headers["retry-after-ms"] == "90000"


@pytest.mark.parametrize("attempts", [1, 2])
async def test_the_sdk_does_not_multiply_the_clients_retries(server: ScriptedServer, attempts: int) -> None:
    server.refuse(grpc.StatusCode.UNAVAILABLE, "DRAINING")
    async with AsyncClient(server.target, retry=Retry(attempts=attempts, base=0.001)) as client:
        ai = openai.AsyncOpenAI(http_client=http_client(client), api_key="-", max_retries=5)

        with pytest.raises(openai.InternalServerError):
            await ai.chat.completions.create(model="tiny", messages=MESSAGES)

    assert len(server.requests) == attempts


async def test_an_absent_server_is_a_503_and_tried_no_more_often_than_the_client_says() -> None:
    async with AsyncClient("127.0.0.1:1", retry=Retry(attempts=1)) as client:
        ai = openai.AsyncOpenAI(http_client=http_client(client), api_key="-", max_retries=5)

        with pytest.raises(openai.InternalServerError) as caught:
            await ai.models.list()

    assert caught.value.status_code == 503


async def test_each_piece_comes_as_the_server_sends_it(ai: openai.AsyncOpenAI, server: ScriptedServer) -> None:
    server.block_after = 1

    stream = await ai.chat.completions.create(model="tiny", messages=MESSAGES, stream=True)
    first = await anext(stream)
    second = await anext(stream)  # the server sends no more before it is released
    server.release.set()
    rest = [piece async for piece in stream]

    assert (first.choices[0].delta.role, second.choices[0].delta.content) == ("assistant", "Hello")
    assert [piece.choices[0].delta.content for piece in rest] == [" wörld", None]


@pytest.mark.parametrize("leave", ["break", "close"])
async def test_leaving_a_stream_ends_the_generation(ai: openai.AsyncOpenAI, server: ScriptedServer, leave: str) -> None:
    server.block_after = 1
    stream = await ai.chat.completions.create(model="tiny", messages=MESSAGES, stream=True)

    if leave == "break":
        async with stream:
            async for _ in stream:
                break
    else:
        await anext(stream)
        await stream.close()

    await seen(server.cancelled)


async def test_leaving_a_blocking_stream_ends_the_generation(blocking: openai.OpenAI, server: ScriptedServer) -> None:
    server.block_after = 1

    def leave() -> None:
        with blocking.chat.completions.create(model="tiny", messages=MESSAGES, stream=True) as stream:
            for _ in stream:
                break

    await in_thread(leave)

    await seen(server.cancelled)


async def test_cancelling_the_task_ends_the_call(ai: openai.AsyncOpenAI, server: ScriptedServer) -> None:
    server.block_after = 0
    task = asyncio.create_task(ai.chat.completions.create(model="tiny", messages=MESSAGES))
    await seen(server.blocked)

    task.cancel()

    await seen(server.cancelled)
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_refused_stream_is_refused_by_create(ai: openai.AsyncOpenAI, server: ScriptedServer) -> None:
    server.refuse(grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")

    with pytest.raises(openai.NotFoundError):
        await ai.chat.completions.create(model="tiny", messages=MESSAGES, stream=True)


async def test_a_failure_after_output_is_told_in_the_stream(ai: openai.AsyncOpenAI, server: ScriptedServer) -> None:
    server.refuse(grpc.StatusCode.UNAVAILABLE, "ENGINE_DEAD", after=1)

    stream = await ai.chat.completions.create(model="tiny", messages=MESSAGES, stream=True)
    pieces = [await anext(stream) for _ in range(2)]
    with pytest.raises(openai.APIError, match="broke off") as caught:
        await anext(stream)

    assert pieces[1].choices[0].delta.content == "Hello"
    assert caught.value.code == "engine_dead"


async def test_the_parse_helper_asks_for_the_schema(ai: openai.AsyncOpenAI, server: ScriptedServer) -> None:
    server.texts = ['{"name":', '"Ulm"}']

    answer = await ai.chat.completions.parse(model="tiny", messages=MESSAGES, response_format=City)

    assert answer.choices[0].message.parsed == City(name="Ulm")
    assert '"additionalProperties": false' in server.requests[0].structured_output.json_schema


async def test_the_stream_helper_works(ai: openai.AsyncOpenAI, server: ScriptedServer) -> None:
    server.deltas = [
        [pb.SequenceDelta(tool_calls=[pb.ToolCallDelta(index=0, id="call-1", name="add", arguments="{}")])],
        [pb.SequenceDelta(finish=pb.Finish(reason=pb.FINISH_REASON_TOOL_CALLS))],
    ]

    async with ai.chat.completions.stream(model="tiny", messages=MESSAGES, tools=TOOLS) as stream:
        kinds = [event.type async for event in stream]
        final = await stream.get_final_completion()

    assert "tool_calls.function.arguments.done" in kinds
    assert final.choices[0].message.tool_calls is not None
    assert final.choices[0].message.tool_calls[0].function.name == "add"


async def test_embeddings_and_models_work(ai: openai.AsyncOpenAI, server: ScriptedServer) -> None:
    vector = pb.EmbedResult(embedding=pb.Embedding(values=[0.5, -1.25], prompt_tokens=2))
    server.answers["Embed"] = pb.EmbedResponse(id="emb-1", model="tiny", results=[vector])

    vectors = await ai.embeddings.create(model="tiny", input="a")
    listed = [model.id async for model in ai.models.list()]
    with pytest.raises(openai.NotFoundError) as caught:
        await ai.models.retrieve("org/unknown")

    assert vectors.data[0].embedding == [0.5, -1.25]
    assert listed == ["tiny"]
    assert caught.value.code == "model_not_found"


async def test_other_routes_are_refused(ai: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="there is no such route"):
        await ai.images.generate(prompt="a cat")
