"""`client.chat.completions` and `client.completions`, for asyncio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from penstock.aio_transport import AsyncTransport
from penstock.embeddings import EmbedReply
from penstock.openai_shape.async_streams import AsyncChatCompletionStream, AsyncCompletionStream
from penstock.openai_shape.create import (
    Create,
    EmbeddingCreate,
    chat_create,
    completion_create,
    embedding_create,
    parsed_create,
    streamed_create,
)
from penstock.openai_shape.embedding_types import CreateEmbeddingResponse
from penstock.openai_shape.embeddings import embedding_response
from penstock.openai_shape.event_streams import AsyncChatEventStreamManager
from penstock.openai_shape.parsed_types import ParsedChatCompletion
from penstock.openai_shape.raw_responses import AsyncRawResponses
from penstock.openai_shape.results import chat_completion, completion
from penstock.openai_shape.signatures import (
    ChatParameters,
    CompletionParameters,
    EmbeddingParameters,
    Messages,
    ParsedChatParameters,
    Prompt,
)
from penstock.openai_shape.stream_state import ChatCompletionStreamState
from penstock.openai_shape.types import ChatCompletion, Completion
from penstock.stream import AsyncStream
from penstock.terms import Terms
from penstock.v1.generation_pb2 import GenerateRequest

if TYPE_CHECKING:
    from typing_extensions import Unpack


T = TypeVar("T")


class AsyncChatCompletions:
    """`client.chat.completions`."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    @overload
    def create(
        self, *, messages: Messages, stream: Literal[False] | None = None, **parameters: Unpack[ChatParameters]
    ) -> Coroutine[Any, Any, ChatCompletion]: ...

    @overload
    def create(
        self, *, messages: Messages, stream: Literal[True], **parameters: Unpack[ChatParameters]
    ) -> AsyncChatCompletionStream: ...

    def create(self, **keywords: Any) -> Coroutine[Any, Any, ChatCompletion] | AsyncChatCompletionStream:
        """Answer a conversation, as OpenAI's function of this name does.

        With `stream=True` the result can be awaited, entered with `async with`, or iterated at once; the first two wait
        for the first piece, so that a refusal is raised there. Raises TypeError for a keyword that OpenAI does not
        have, BadRequestError for one that cannot be honoured, and what `generate` raises.
        """
        create = chat_create(keywords)
        request = create.call.requests[0]
        if not create.call.stream:
            return self._whole(create)
        return AsyncChatCompletionStream(_opener(self._transport, create), request, _now(), create.call.include_usage)

    async def _whole(self, create: Create) -> ChatCompletion:
        reply = await self._transport.generate(create.call.requests[0], _terms(self._transport, create))
        return chat_completion(reply, _now())

    async def parse(self, *, messages: Messages, **parameters: Unpack[ParsedChatParameters]) -> ParsedChatCompletion:
        """Answer a conversation, and parse the answer: `.choices[0].message.parsed` is of the type `response_format`.

        Tools must be `strict`; the arguments of their calls are in `.function.parsed_arguments`. Raises
        LengthFinishReasonError if a limit cut the answer, what the type's own parser raises, and what `create` raises.
        """
        parser, keywords = parsed_create({"messages": messages, **parameters})
        return parser.completion(await self.create(**keywords))

    def stream(self, *, messages: Messages, **parameters: Unpack[ParsedChatParameters]) -> AsyncChatEventStreamManager:
        """Answer a conversation piece by piece, as openai-python's events: enter it with `async with`, and iterate.

        The call begins when it is entered, so that a refusal is raised there. Otherwise like `parse`, but for tools,
        which need not be strict.
        """
        parser, keywords = streamed_create({"messages": messages, **parameters})
        create: Callable[..., Any] = self.create
        return AsyncChatEventStreamManager(create(**keywords), ChatCompletionStreamState(parser=parser))

    @property
    def with_raw_response(self) -> AsyncRawResponses:
        """The same functions, whose results tell more of the call: `.parse()` is the result itself."""
        return AsyncRawResponses(self, self._transport.observers)


class AsyncChat:
    """`client.chat`."""

    def __init__(self, transport: AsyncTransport) -> None:
        self.completions = AsyncChatCompletions(transport)


class AsyncCompletions:
    """`client.completions`."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    @overload
    def create(
        self, *, prompt: Prompt, stream: Literal[False] | None = None, **parameters: Unpack[CompletionParameters]
    ) -> Coroutine[Any, Any, Completion]: ...

    @overload
    def create(
        self, *, prompt: Prompt, stream: Literal[True], **parameters: Unpack[CompletionParameters]
    ) -> AsyncCompletionStream: ...

    def create(self, **keywords: Any) -> Coroutine[Any, Any, Completion] | AsyncCompletionStream:
        """Continue one or more prompts, as OpenAI's function of this name does; several are done at the same time.

        `max_tokens` is 16 unless given, as OpenAI has it. Otherwise like `chat.completions.create`.
        """
        create = completion_create(keywords)
        if not create.call.stream:
            return self._whole(create)
        opener = _opener(self._transport, create)
        return AsyncCompletionStream(opener, create.call.requests, _now(), create.call.include_usage)

    async def _whole(self, create: Create) -> Completion:
        terms = _terms(self._transport, create)
        return completion(await _all([self._transport.generate(each, terms) for each in create.call.requests]), _now())

    @property
    def with_raw_response(self) -> AsyncRawResponses:
        """The same functions, whose results tell more of the call: `.parse()` is the result itself."""
        return AsyncRawResponses(self, self._transport.observers)


class AsyncEmbeddings:
    """`client.embeddings`."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def create(self, *, input: Prompt, **parameters: Unpack[EmbeddingParameters]) -> CreateEmbeddingResponse:
        """Turn texts into vectors, as OpenAI's function of this name does.

        An input that fails fails the call. Otherwise like `chat.completions.create`.
        """
        create = embedding_create({"input": input, **parameters})
        terms = _terms(self._transport, create)
        calls = [self._transport.embed(each, terms) for each in create.call.requests]
        return embedding_response([EmbedReply(proto) for proto in await _all(calls)], create.call.as_base64)

    @property
    def with_raw_response(self) -> AsyncRawResponses:
        """The same functions, whose results tell more of the call: `.parse()` is the result itself."""
        return AsyncRawResponses(self, self._transport.observers)


def _opener(transport: AsyncTransport, create: Create) -> Callable[[GenerateRequest], AsyncStream]:
    terms = _terms(transport, create)
    return lambda request: transport.stream(request, terms)


def _terms(transport: AsyncTransport, create: Create | EmbeddingCreate) -> Terms:
    """One deadline over all requests of a call."""
    return transport.terms(**create.beside)


async def _all(calls: list[Coroutine[Any, Any, T]]) -> list[T]:
    """What the calls return; if one fails, the others are cancelled."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


def _now() -> int:
    return int(time.time())
