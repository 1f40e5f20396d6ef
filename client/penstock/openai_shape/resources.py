"""`client.chat.completions` and `client.completions`, blocking."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, overload

from penstock.call_options import TimeoutLike
from penstock.embeddings import EmbedReply
from penstock.openai_shape.create import Create, chat_create, completion_create, embedding_create
from penstock.openai_shape.embedding_types import CreateEmbeddingResponse
from penstock.openai_shape.embeddings import embedding_response
from penstock.openai_shape.results import chat_completion, completion
from penstock.openai_shape.signatures import ChatParameters, CompletionParameters, EmbeddingParameters, Messages, Prompt
from penstock.openai_shape.streams import ChatCompletionStream, CompletionStream
from penstock.openai_shape.types import ChatCompletion, Completion
from penstock.stream import Stream
from penstock.transport import Transport
from penstock.v1.generation_pb2 import GenerateRequest

if TYPE_CHECKING:
    from typing_extensions import Unpack


class ChatCompletions:
    """`client.chat.completions`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    @overload
    def create(
        self, *, messages: Messages, stream: Literal[False] | None = None, **parameters: Unpack[ChatParameters]
    ) -> ChatCompletion: ...

    @overload
    def create(
        self, *, messages: Messages, stream: Literal[True], **parameters: Unpack[ChatParameters]
    ) -> ChatCompletionStream: ...

    def create(self, **keywords: Any) -> ChatCompletion | ChatCompletionStream:
        """Answer a conversation, as OpenAI's function of this name does.

        With `stream=True` it returns once the first piece is there, so that a refusal is raised here. Raises TypeError
        for a keyword that OpenAI does not have, BadRequestError for one that cannot be honoured, and what `generate`
        raises.
        """
        create = chat_create(keywords)
        request = create.call.requests[0]
        if create.call.stream:
            return ChatCompletionStream(_opener(self._transport, create), request, _now(), create.call.include_usage)
        reply = self._transport.generate(request, create.timeout, create.metadata)
        return chat_completion(reply, _now())


class Chat:
    """`client.chat`."""

    def __init__(self, transport: Transport) -> None:
        self.completions = ChatCompletions(transport)


class Completions:
    """`client.completions`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    @overload
    def create(
        self, *, prompt: Prompt, stream: Literal[False] | None = None, **parameters: Unpack[CompletionParameters]
    ) -> Completion: ...

    @overload
    def create(
        self, *, prompt: Prompt, stream: Literal[True], **parameters: Unpack[CompletionParameters]
    ) -> CompletionStream: ...

    def create(self, **keywords: Any) -> Completion | CompletionStream:
        """Continue one or more prompts, as OpenAI's function of this name does; several are done one after the other.

        `max_tokens` is 16 unless given, as OpenAI has it. Otherwise like `chat.completions.create`.
        """
        create = completion_create(keywords)
        requests = create.call.requests
        if create.call.stream:
            return CompletionStream(_opener(self._transport, create), requests, _now(), create.call.include_usage)
        time_left = _time_left(self._transport, create.timeout)
        replies = [self._transport.generate(request, time_left(), create.metadata) for request in requests]
        return completion(replies, _now())


class Embeddings:
    """`client.embeddings`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(self, *, input: Prompt, **parameters: Unpack[EmbeddingParameters]) -> CreateEmbeddingResponse:
        """Turn texts into vectors, as OpenAI's function of this name does.

        An input that fails fails the call. Otherwise like `chat.completions.create`.
        """
        create = embedding_create({"input": input, **parameters})
        time_left = _time_left(self._transport, create.timeout)
        replies = [
            EmbedReply(self._transport.embed(each, time_left(), create.metadata)) for each in create.call.requests
        ]
        return embedding_response(replies, create.call.as_base64)


def _opener(transport: Transport, create: Create) -> Callable[[GenerateRequest], Stream]:
    time_left = _time_left(transport, create.timeout)
    return lambda request: transport.stream(request, time_left(), create.metadata)


def _time_left(transport: Transport, timeout: TimeoutLike) -> Callable[[], float | None]:
    """One deadline over all requests of a call."""
    seconds = transport.options.timeout(timeout)
    if seconds is None:
        return lambda: None
    end = time.monotonic() + seconds
    return lambda: end - time.monotonic()


def _now() -> int:
    return int(time.time())
