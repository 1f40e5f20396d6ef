"""OpenAI's types of answers whose text and arguments were parsed, field for field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from penstock.openai_shape.tool_call_types import Function, ToolCall
from penstock.openai_shape.types import ChatCompletion, ChatCompletionMessage, Choice


@dataclass(slots=True)
class ParsedFunction(Function):
    """What is called; `parsed_arguments` are those of a strict tool, None for others."""

    parsed_arguments: Any = None


@dataclass(slots=True)
class ParsedToolCall(ToolCall):
    """A call that the model asks for."""

    function: ParsedFunction


@dataclass(slots=True)
class ParsedChatCompletionMessage(ChatCompletionMessage):
    """The assistant's answer; `parsed` is what its text says, None without a `response_format`."""

    tool_calls: list[ParsedToolCall] | None = None  # type: ignore[assignment]  # as OpenAI has it
    parsed: Any = None

    _OMITTED_IF_NONE = ChatCompletionMessage._OMITTED_IF_NONE - {"tool_calls"}


@dataclass(slots=True)
class ParsedChoice(Choice):
    """One answer."""

    message: ParsedChatCompletionMessage


@dataclass(slots=True)
class ParsedChatCompletion(ChatCompletion):
    """A whole answer to a conversation."""

    choices: list[ParsedChoice]  # type: ignore[assignment]  # as OpenAI has it
