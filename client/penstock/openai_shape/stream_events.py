"""What `chat.completions.stream` gives, field for field as openai-python has it; `type` tells which event it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from penstock.openai_shape.logprob_types import TokenLogprob
from penstock.openai_shape.parsed_types import ParsedChatCompletion
from penstock.openai_shape.shape import Shape
from penstock.openai_shape.types import ChatCompletionChunk


@dataclass(slots=True)
class ChunkEvent(Shape):
    """Every piece of the stream, before the events that it causes. snapshot: the answer so far; it goes on growing."""

    chunk: ChatCompletionChunk
    snapshot: ParsedChatCompletion
    type: Literal["chunk"] = "chunk"


@dataclass(slots=True)
class ContentDeltaEvent(Shape):
    """More text. snapshot: all text so far. parsed: what its JSON says so far, if a `response_format` asks for it."""

    delta: str
    snapshot: str
    parsed: Any = None
    type: Literal["content.delta"] = "content.delta"


@dataclass(slots=True)
class ContentDoneEvent(Shape):
    """The whole text, and what it was parsed into."""

    content: str
    parsed: Any = None
    type: Literal["content.done"] = "content.done"


@dataclass(slots=True)
class FunctionToolCallArgumentsDeltaEvent(Shape):
    """More of a call's arguments: arguments_delta. arguments: their JSON so far; index: which of the answer's calls."""

    name: str
    index: int
    arguments: str
    parsed_arguments: Any
    arguments_delta: str
    type: Literal["tool_calls.function.arguments.delta"] = "tool_calls.function.arguments.delta"


@dataclass(slots=True)
class FunctionToolCallArgumentsDoneEvent(Shape):
    """A call's whole arguments; parsed_arguments is None unless its tool is strict."""

    name: str
    index: int
    arguments: str
    parsed_arguments: Any
    type: Literal["tool_calls.function.arguments.done"] = "tool_calls.function.arguments.done"


@dataclass(slots=True)
class LogprobsContentDeltaEvent(Shape):
    """The log probabilities of further tokens. snapshot: those of all so far."""

    content: list[TokenLogprob]
    snapshot: list[TokenLogprob]
    type: Literal["logprobs.content.delta"] = "logprobs.content.delta"


@dataclass(slots=True)
class LogprobsContentDoneEvent(Shape):
    """The log probabilities of all tokens."""

    content: list[TokenLogprob]
    type: Literal["logprobs.content.done"] = "logprobs.content.done"


ChatCompletionStreamEvent = (
    ChunkEvent
    | ContentDeltaEvent
    | ContentDoneEvent
    | FunctionToolCallArgumentsDeltaEvent
    | FunctionToolCallArgumentsDoneEvent
    | LogprobsContentDeltaEvent
    | LogprobsContentDoneEvent
)
