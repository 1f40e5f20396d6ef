"""The answer that the pieces of a streamed chat add up to. Pure."""

from __future__ import annotations

from typing import cast

from penstock.openai_shape.logprob_types import ChoiceLogprobs
from penstock.openai_shape.parsed_types import (
    ParsedChatCompletion,
    ParsedChatCompletionMessage,
    ParsedChoice,
    ParsedFunction,
    ParsedToolCall,
)
from penstock.openai_shape.tool_call_types import ToolCallDelta
from penstock.openai_shape.types import ChatCompletionChunk, ChoiceDelta, ChunkChoice

# Until its end a choice has none, as in openai-python's snapshots; the types are those of whole answers.
_UNFINISHED = cast("str", None)


def first_snapshot(chunk: ChatCompletionChunk) -> ParsedChatCompletion:
    """The answer before its first piece, which is not yet added."""
    return ParsedChatCompletion(chunk.id, [], chunk.created, chunk.model)


def add_chunk(snapshot: ParsedChatCompletion, chunk: ChatCompletionChunk) -> None:
    """Add the next piece."""
    snapshot.usage = chunk.usage or snapshot.usage
    for news in chunk.choices:
        while len(snapshot.choices) <= news.index:
            message = ParsedChatCompletionMessage(content=None)
            snapshot.choices.append(ParsedChoice(len(snapshot.choices), message, _UNFINISHED))
        _add_choice(snapshot.choices[news.index], news)


def _add_choice(choice: ParsedChoice, news: ChunkChoice) -> None:
    _add_delta(choice.message, news.delta)
    choice.finish_reason = news.finish_reason or choice.finish_reason
    if news.logprobs is not None:
        choice.logprobs = choice.logprobs or ChoiceLogprobs([])
        choice.logprobs.content.extend(news.logprobs.content)


def _add_delta(message: ParsedChatCompletionMessage, delta: ChoiceDelta) -> None:
    message.content = _more(message.content, delta.content)
    message.reasoning = _more(message.reasoning, delta.reasoning)
    message.reasoning_content = _more(message.reasoning_content, delta.reasoning_content)
    for call in delta.tool_calls or ():
        message.tool_calls = message.tool_calls or []
        _add_tool_call(message.tool_calls, call)


def _add_tool_call(calls: list[ParsedToolCall], delta: ToolCallDelta) -> None:
    while len(calls) <= delta.index:
        calls.append(ParsedToolCall("", ParsedFunction("", "")))
    call = calls[delta.index]
    call.id += delta.id or ""
    call.function.name += delta.function.name or ""
    call.function.arguments += delta.function.arguments or ""


def _more(text: str | None, more: str | None) -> str | None:
    return text if more is None else (text or "") + more
