"""OpenAI's result types, field for field, and what Penstock adds: `timings` and `cached`.

A field that Penstock never fills is there all the same, as None: programs written for OpenAI ask for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from penstock.openai_shape.logprob_types import ChoiceLogprobs, CompletionLogprobs
from penstock.openai_shape.shape import Shape
from penstock.openai_shape.tool_call_types import ToolCall, ToolCallDelta
from penstock.v1.generation_pb2 import Timings


@dataclass(slots=True)
class PromptTokensDetails(Shape):
    """Of the prompt's tokens, those that the engine's prefix cache had."""

    cached_tokens: int | None = None


@dataclass(slots=True)
class CompletionTokensDetails(Shape):
    """Of the generated tokens, those that the model thought with."""

    reasoning_tokens: int | None = None


@dataclass(slots=True)
class CompletionUsage(Shape):
    """What was counted."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails | None = None
    completion_tokens_details: CompletionTokensDetails | None = None

    _OMITTED_IF_NONE = frozenset({"prompt_tokens_details", "completion_tokens_details"})


@dataclass(slots=True)
class ChatCompletionMessage(Shape):
    """The assistant's answer. What the model thought is in two fields: programs look for the one or the other."""

    content: str | None
    role: str = "assistant"
    refusal: str | None = None
    annotations: list[Any] | None = None
    audio: Any | None = None
    function_call: Any | None = None
    tool_calls: list[ToolCall] | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None

    _OMITTED_IF_NONE = frozenset(
        {"annotations", "audio", "function_call", "tool_calls", "reasoning", "reasoning_content"}
    )


@dataclass(slots=True)
class Choice(Shape):
    """One answer."""

    index: int
    message: ChatCompletionMessage
    finish_reason: str
    logprobs: ChoiceLogprobs | None = None


@dataclass(slots=True)
class ChatCompletion(Shape):
    """A whole answer to a conversation.

    timings: what the server measured. cached: whether it was made for an earlier call, or for an identical one.
    """

    id: str
    choices: list[Choice]
    created: int
    model: str
    usage: CompletionUsage | None = None
    object: str = "chat.completion"
    service_tier: str | None = None
    system_fingerprint: str | None = None
    timings: Timings | None = field(default=None, compare=False)
    cached: bool = field(default=False, compare=False)
    _request_id: str | None = field(default=None, repr=False, compare=False)

    _OMITTED_IF_NONE = frozenset({"service_tier", "system_fingerprint"})
    _OURS = frozenset({"timings", "cached"})


@dataclass(slots=True)
class ChoiceDelta(Shape):
    """What is new in an answer."""

    content: str | None = None
    role: str | None = None
    refusal: str | None = None
    function_call: Any | None = None
    tool_calls: list[ToolCallDelta] | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None

    _OMITTED_IF_NONE = frozenset(
        {"content", "role", "refusal", "function_call", "tool_calls", "reasoning", "reasoning_content"}
    )


@dataclass(slots=True)
class ChunkChoice(Shape):
    """One answer's part of a chunk."""

    index: int
    delta: ChoiceDelta
    finish_reason: str | None = None
    logprobs: ChoiceLogprobs | None = None


class _UsageMayBeAbsent(Shape):
    """A piece of a stream: usage is null on it if the caller asked for usage, and absent otherwise."""

    __slots__ = ()

    def _left_out(self, key: str, value: object, exclude_unset: bool, exclude_none: bool) -> bool:
        if key == "usage" and value is None and exclude_unset:
            return not self._usage_asked
        return Shape._left_out(self, key, value, exclude_unset, exclude_none)

    _usage_asked: bool


@dataclass(slots=True)
class ChatCompletionChunk(_UsageMayBeAbsent):
    """A piece of a streamed answer to a conversation."""

    id: str
    choices: list[ChunkChoice]
    created: int
    model: str
    usage: CompletionUsage | None = None
    object: str = "chat.completion.chunk"
    service_tier: str | None = None
    system_fingerprint: str | None = None
    _usage_asked: bool = field(default=False, repr=False, compare=False)

    _OMITTED_IF_NONE = frozenset({"service_tier", "system_fingerprint"})


@dataclass(slots=True)
class CompletionChoice(Shape):
    """One continuation, or a piece of it: then `finish_reason` is None on all pieces but its last."""

    index: int
    text: str
    finish_reason: str | None = None
    logprobs: CompletionLogprobs | None = None


@dataclass(slots=True)
class Completion(_UsageMayBeAbsent):
    """Whole continuations, or a piece of a stream of them.

    timings: what the server measured, for one prompt. cached: whether all were made for other calls.
    """

    id: str
    choices: list[CompletionChoice]
    created: int
    model: str
    usage: CompletionUsage | None = None
    object: str = "text_completion"
    system_fingerprint: str | None = None
    timings: Timings | None = field(default=None, compare=False)
    cached: bool = field(default=False, compare=False)
    _request_id: str | None = field(default=None, repr=False, compare=False)
    _usage_asked: bool = field(default=False, repr=False, compare=False)

    _OMITTED_IF_NONE = frozenset({"system_fingerprint"})
    _OURS = frozenset({"timings", "cached"})
