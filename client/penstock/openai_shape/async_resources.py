"""`client.chat.completions` and `client.completions`, for asyncio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from penstock.aio_transport import AsyncTransport
from penstock.embeddings import EmbedReply
from penstock.openai_shape.async_streams import AsyncChatCompletionStream, AsyncCompletionStream
from penstock.openai_shape.create import Create, chat_create, completion_create, embedding_create
from penstock.openai_shape.embedding_types import CreateEmbeddingResponse
from penstock.openai_shape.embeddings import embedding_response
from penstock.openai_shape.results import chat_completion, completion
from penstock.openai_shape.signatures import ChatParameters, CompletionParameters, EmbeddingParameters, Messages, Prompt
from penstock.openai_shape.types import ChatCompletion, Completion
from penstock.stream import AsyncStream
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
        reply = await self._transport.generate(create.call.requests[0], create.timeout, create.metadata)
        return chat_completion(reply, _now())


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
        requests = create.call.requests
        return completion(
            await _all([self._transport.generate(each, create.timeout, create.metadata) for each in requests]), _now()
        )


class AsyncEmbeddings:
    """`client.embeddings`."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def create(self, *, input: Prompt, **parameters: Unpack[EmbeddingParameters]) -> CreateEmbeddingResponse:
        """Turn texts into vectors, as OpenAI's function of this name does.

        An input that fails fails the call. Otherwise like `chat.completions.create`.
        """
        create = embedding_create({"input": input, **parameters})
        calls = [self._transport.embed(each, create.timeout, create.metadata) for each in create.call.requests]
        return embedding_response([EmbedReply(proto) for proto in await _all(calls)], create.call.as_base64)


def _opener(transport: AsyncTransport, create: Create) -> Callable[[GenerateRequest], AsyncStream]:
    return lambda request: transport.stream(request, create.timeout, create.metadata)


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
