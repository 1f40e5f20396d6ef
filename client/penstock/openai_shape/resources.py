"""`client.chat.completions` and `client.completions`, blocking."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, overload

from penstock.embeddings import EmbedReply
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
from penstock.openai_shape.event_streams import ChatEventStreamManager
from penstock.openai_shape.parsed_types import ParsedChatCompletion
from penstock.openai_shape.raw_responses import RawResponses
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
from penstock.openai_shape.streams import ChatCompletionStream, CompletionStream
from penstock.openai_shape.types import ChatCompletion, Completion
from penstock.stream import Stream
from penstock.terms import Terms
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
        reply = self._transport.generate(request, _terms(self._transport, create))
        return chat_completion(reply, _now())

    def parse(self, *, messages: Messages, **parameters: Unpack[ParsedChatParameters]) -> ParsedChatCompletion:
        """Answer a conversation, and parse the answer: `.choices[0].message.parsed` is of the type `response_format`.

        Tools must be `strict`; the arguments of their calls are in `.function.parsed_arguments`. Raises
        LengthFinishReasonError if a limit cut the answer, what the type's own parser raises, and what `create` raises.
        """
        parser, keywords = parsed_create({"messages": messages, **parameters})
        return parser.completion(self.create(**keywords))

    def stream(self, *, messages: Messages, **parameters: Unpack[ParsedChatParameters]) -> ChatEventStreamManager:
        """Answer a conversation piece by piece, as openai-python's events: enter it with `with`, and iterate.

        The call begins when it is entered, so that a refusal is raised there. Otherwise like `parse`, but for tools,
        which need not be strict.
        """
        parser, keywords = streamed_create({"messages": messages, **parameters})
        create: Callable[..., Any] = self.create
        return ChatEventStreamManager(lambda: create(**keywords), ChatCompletionStreamState(parser=parser))

    @property
    def with_raw_response(self) -> RawResponses:
        """The same functions, whose results tell more of the call: `.parse()` is the result itself."""
        return RawResponses(self, self._transport.observers)


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
        terms = _terms(self._transport, create)
        replies = [self._transport.generate(request, terms) for request in requests]
        return completion(replies, _now())

    @property
    def with_raw_response(self) -> RawResponses:
        """The same functions, whose results tell more of the call: `.parse()` is the result itself."""
        return RawResponses(self, self._transport.observers)


class Embeddings:
    """`client.embeddings`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(self, *, input: Prompt, **parameters: Unpack[EmbeddingParameters]) -> CreateEmbeddingResponse:
        """Turn texts into vectors, as OpenAI's function of this name does.

        An input that fails fails the call. Otherwise like `chat.completions.create`.
        """
        create = embedding_create({"input": input, **parameters})
        terms = _terms(self._transport, create)
        replies = [EmbedReply(self._transport.embed(each, terms)) for each in create.call.requests]
        return embedding_response(replies, create.call.as_base64)

    @property
    def with_raw_response(self) -> RawResponses:
        """The same functions, whose results tell more of the call: `.parse()` is the result itself."""
        return RawResponses(self, self._transport.observers)


def _opener(transport: Transport, create: Create) -> Callable[[GenerateRequest], Stream]:
    terms = _terms(transport, create)
    return lambda request: transport.stream(request, terms)


def _terms(transport: Transport, create: Create | EmbeddingCreate) -> Terms:
    """One deadline over all requests of a call."""
    return transport.terms(**create.beside)


def _now() -> int:
    return int(time.time())
