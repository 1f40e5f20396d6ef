"""openai-python, unmodified, against the gateway."""

import asyncio
from collections.abc import Iterator

import grpc
import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from penstock.v1.generation_pb2 import FINISH_REASON_LENGTH
from tests.gateway.scripted_upstream import MODEL, SLASHED_MODEL, Failure, Script, ScriptedUpstream

MESSAGES: list[ChatCompletionMessageParam] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "Tell me a story."}]},
]


@pytest.fixture
def blocking(gateway: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{gateway}/v1", api_key="EMPTY", max_retries=0) as client:
        yield client


async def test_a_chat(ai: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    reply = await ai.chat.completions.create(model=MODEL, messages=MESSAGES, max_completion_tokens=9, temperature=0)

    assert reply.object == "chat.completion"
    assert reply.model == MODEL
    assert reply.choices[0].message.role == "assistant"
    assert reply.choices[0].message.content == "Once upon a time"
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage is not None
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.usage.total_tokens) == (7, 3, 10)
    assert upstream.requests[0].stopping.max_tokens == 9
    assert upstream.requests[0].sampling.temperature == 0
    assert upstream.requests[0].conversation.messages[1].content[0].text == "Tell me a story."


async def test_a_streamed_chat(ai: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    stream = await ai.chat.completions.create(
        model=MODEL, messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == "Once upon a time"
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 10
    assert all(chunk.usage is None for chunk in chunks[:-1])


async def test_the_stream_helper(ai: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    async with ai.chat.completions.stream(model=MODEL, messages=MESSAGES) as stream:
        kinds = [event.type async for event in stream]
        reply = await stream.get_final_completion()

    assert "content.delta" in kinds
    assert reply.choices[0].message.role == "assistant"
    assert reply.choices[0].message.content == "Once upon a time"
    assert reply.choices[0].finish_reason == "stop"


async def test_a_completion(ai: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    upstream.script = Script(finish=FINISH_REASON_LENGTH)

    reply = await ai.completions.create(model=MODEL, prompt="Once", max_tokens=3, stop=["\n"], seed=1)

    assert reply.object == "text_completion"
    assert reply.choices[0].text == "Once upon a time"
    assert reply.choices[0].finish_reason == "length"
    assert upstream.requests[0].prompt == "Once"
    assert list(upstream.requests[0].stopping.stop) == ["\n"]


async def test_a_streamed_completion(ai: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    stream = await ai.completions.create(model=MODEL, prompt="Once", stream=True)
    chunks = [chunk async for chunk in stream]

    assert "".join(chunk.choices[0].text for chunk in chunks) == "Once upon a time"
    assert chunks[-1].usage is not None


async def test_several_prompts_at_once(ai: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    whole = await ai.completions.create(model=MODEL, prompt=["One", "Two"])
    stream = await ai.completions.create(model=MODEL, prompt=["One", "Two"], stream=True)
    texts = {0: "", 1: ""}
    async for chunk in stream:
        texts[chunk.choices[0].index] += chunk.choices[0].text

    assert [choice.index for choice in whole.choices] == [0, 1]
    assert texts == {0: "Once upon a time", 1: "Once upon a time"}


async def test_the_blocking_client(blocking: openai.OpenAI, upstream: ScriptedUpstream) -> None:
    def converse() -> tuple[str | None, str, list[str]]:
        whole = blocking.chat.completions.create(model=MODEL, messages=MESSAGES)
        stream = blocking.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
        streamed = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
        return whole.choices[0].message.content, streamed, [model.id for model in blocking.models.list()]

    assert await asyncio.to_thread(converse) == ("Once upon a time", "Once upon a time", [MODEL, SLASHED_MODEL])


async def test_a_model_with_a_slash_in_its_name(ai: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    model = await ai.models.retrieve(SLASHED_MODEL)

    assert (model.id, model.object) == (SLASHED_MODEL, "model")


async def test_a_second_chat_while_the_first_streams(ai: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    upstream.script = Script(after=1, hold=True)
    async with await ai.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True) as first:
        await anext(first)
        await upstream.held.wait()
        upstream.script = Script()

        second = await ai.chat.completions.create(model=MODEL, messages=MESSAGES)

        upstream.released.set()
        assert second.choices[0].message.content == "Once upon a time"
        assert len([chunk async for chunk in first]) >= 2


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("failure", "expected", "status"),
    [
        (Failure(grpc.StatusCode.INVALID_ARGUMENT, reason="INVALID_FIELD"), openai.BadRequestError, 400),
        (Failure(grpc.StatusCode.FAILED_PRECONDITION, reason="FEATURE_OFF"), openai.BadRequestError, 400),
        (Failure(grpc.StatusCode.UNAUTHENTICATED), openai.AuthenticationError, 401),
        (Failure(grpc.StatusCode.PERMISSION_DENIED), openai.PermissionDeniedError, 403),
        (Failure(grpc.StatusCode.NOT_FOUND, reason="MODEL_NOT_FOUND"), openai.NotFoundError, 404),
        (Failure(grpc.StatusCode.ALREADY_EXISTS), openai.ConflictError, 409),
        (Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, reason="TOO_LARGE"), openai.APIStatusError, 413),
        (
            Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, reason="OVERLOADED", retry_delay_ms=1500),
            openai.RateLimitError,
            429,
        ),
        (Failure(grpc.StatusCode.INTERNAL, reason="INTERNAL"), openai.InternalServerError, 500),
        (Failure(grpc.StatusCode.UNIMPLEMENTED), openai.InternalServerError, 501),
        (
            Failure(grpc.StatusCode.UNAVAILABLE, reason="LOADING", retry_delay_ms=5000),
            openai.InternalServerError,
            503,
        ),
        (Failure(grpc.StatusCode.DEADLINE_EXCEEDED, reason="DEADLINE"), openai.InternalServerError, 504),
    ],
    ids=lambda value: value.code.name if isinstance(value, Failure) else None,
)
async def test_a_failure_is_the_exception_that_callers_catch(
    ai: openai.AsyncOpenAI,
    upstream: ScriptedUpstream,
    failure: Failure,
    expected: type[openai.APIStatusError],
    status: int,
    stream: bool,
) -> None:
    upstream.script = Script(failure=failure)

    with pytest.raises(expected) as raised:
        await ai.chat.completions.create(model=MODEL, messages=MESSAGES, stream=stream)

    assert raised.value.status_code == status
    assert failure.message in raised.value.message


async def test_a_wrong_field_is_named(ai: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    violations = [("sampling.temperature", "must be at most 2, got 3")]
    upstream.script = Script(failure=Failure(grpc.StatusCode.INVALID_ARGUMENT, "bad", "INVALID_FIELD", violations))

    with pytest.raises(openai.BadRequestError) as raised:
        await ai.chat.completions.create(model=MODEL, messages=MESSAGES, temperature=3)

    assert raised.value.param == "temperature"


async def test_a_prompt_that_is_too_long_has_openais_code(ai: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    upstream.script = Script(failure=Failure(grpc.StatusCode.INVALID_ARGUMENT, "too long", "CONTEXT_LENGTH"))

    with pytest.raises(openai.BadRequestError) as raised:
        await ai.chat.completions.create(model=MODEL, messages=MESSAGES)

    assert raised.value.code == "context_length_exceeded"


async def test_an_error_in_mid_stream_is_raised_by_the_iteration(
    ai: openai.AsyncOpenAI, upstream: ScriptedUpstream
) -> None:
    upstream.script = Script(after=2, failure=Failure(grpc.StatusCode.INTERNAL, "it broke", "INTERNAL"))
    stream = await ai.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
    text = ""

    with pytest.raises(openai.APIError, match="it broke"):  # noqa: PT012 - the loop is what raises
        async for chunk in stream:
            text += chunk.choices[0].delta.content or ""

    assert text == "Once upon"


async def test_a_full_server_says_when_to_come_back(ai: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    overloaded = Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", "OVERLOADED", retry_delay_ms=1500)
    upstream.script = Script(failure=overloaded)

    with pytest.raises(openai.RateLimitError) as raised:
        await ai.chat.completions.create(model=MODEL, messages=MESSAGES)

    assert raised.value.response.headers["retry-after-ms"] == "1500"
    assert raised.value.response.headers["retry-after"] == "2"


async def test_the_clients_own_retries_are_not_wasted_on_what_cannot_succeed(
    ai: openai.AsyncOpenAI, upstream: ScriptedUpstream
) -> None:
    upstream.script = Script(failure=Failure(grpc.StatusCode.UNIMPLEMENTED))

    with pytest.raises(openai.InternalServerError):
        await ai.with_options(max_retries=3).chat.completions.create(model=MODEL, messages=MESSAGES)

    assert len(upstream.requests) == 1


async def test_a_request_id_is_the_callers_to_read(ai: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    reply = await ai.completions.create(model=MODEL, prompt="Hi")

    assert reply._request_id == upstream.requests[0].request_id
