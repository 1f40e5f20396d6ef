"""From the pieces of a streamed chat to openai-python's events about them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from penstock.openai_shape.answer_types import AnswerType
from penstock.openai_shape.finish_errors import LengthFinishReasonError
from penstock.openai_shape.parsed_answers import AnswerParser
from penstock.openai_shape.parsed_types import ParsedChatCompletion, ParsedChoice
from penstock.openai_shape.snapshots import add_chunk, first_snapshot
from penstock.openai_shape.stream_events import (
    ChatCompletionStreamEvent,
    ChunkEvent,
    ContentDeltaEvent,
    ContentDoneEvent,
    FunctionToolCallArgumentsDeltaEvent,
    FunctionToolCallArgumentsDoneEvent,
    LogprobsContentDeltaEvent,
    LogprobsContentDoneEvent,
)
from penstock.openai_shape.tool_arguments import ToolArguments
from penstock.openai_shape.tool_call_types import ToolCallDelta
from penstock.openai_shape.types import ChatCompletionChunk, ChunkChoice


class ChatCompletionStreamState:
    """Adds pieces up and tells what each means. For pieces of `create(stream=True)` too, as in openai-python."""

    def __init__(
        self,
        *,
        response_format: object = None,
        input_tools: Iterable[Any] | None = None,
        parser: AnswerParser | None = None,
    ) -> None:
        if parser is None:
            parser = AnswerParser(AnswerType(response_format), ToolArguments(input_tools))
        self._parser = parser
        self._snapshot: ParsedChatCompletion | None = None
        self._choices: dict[int, _ChoiceEvents] = {}

    @property
    def current_completion_snapshot(self) -> ParsedChatCompletion:
        """The answer so far; it goes on growing. RuntimeError before the first piece."""
        if self._snapshot is None:
            raise RuntimeError("nothing of the answer has come yet")
        return self._snapshot

    def get_final_completion(self) -> ParsedChatCompletion:
        """The answer, parsed, after its last piece. LengthFinishReasonError if a limit cut it."""
        return self._parser.completion(self.current_completion_snapshot)

    def handle_chunk(self, chunk: ChatCompletionChunk) -> list[ChatCompletionStreamEvent]:
        """The events for the next piece. LengthFinishReasonError if a limit cut what was to be parsed."""
        if self._snapshot is None:
            self._snapshot = first_snapshot(chunk)
        add_chunk(self._snapshot, chunk)
        if self._parser and any(choice.finish_reason == "length" for choice in chunk.choices):
            raise LengthFinishReasonError(self._snapshot)
        events: list[ChatCompletionStreamEvent] = [ChunkEvent(chunk, self._snapshot)]
        for news in chunk.choices:
            choice = self._choices.setdefault(news.index, _ChoiceEvents(self._parser))
            events.extend(choice.events(news, self._snapshot.choices[news.index]))
        return events


class _ChoiceEvents:
    """What was told of one choice."""

    def __init__(self, parser: AnswerParser) -> None:
        self._parser = parser
        self._content_told = self._logprobs_told = False
        self._call: int | None = None  # the tool call whose arguments come at present

    def events(self, news: ChunkChoice, choice: ParsedChoice) -> Iterator[ChatCompletionStreamEvent]:
        if news.delta.content is not None:
            yield self._more_content(news.delta.content, choice)
        for delta in news.delta.tool_calls or ():
            yield self._more_arguments(delta, choice)
        if news.logprobs is not None and choice.logprobs is not None:
            yield LogprobsContentDeltaEvent(news.logprobs.content, choice.logprobs.content)
        for delta in news.delta.tool_calls or ():
            if delta.index != self._call:
                yield from self._done(choice)
                self._call = delta.index
        if news.finish_reason:
            yield from self._done(choice)

    def _more_content(self, delta: str, choice: ParsedChoice) -> ContentDeltaEvent:
        text = choice.message.content or ""
        if text.strip():
            choice.message.parsed = self._parser.answer_type.partial(text)
        return ContentDeltaEvent(delta, text, choice.message.parsed)

    def _more_arguments(self, delta: ToolCallDelta, choice: ParsedChoice) -> FunctionToolCallArgumentsDeltaEvent:
        function = (choice.message.tool_calls or [])[delta.index].function
        function.parsed_arguments = self._parser.arguments.partial(function.name, function.arguments)
        return FunctionToolCallArgumentsDeltaEvent(
            function.name, delta.index, function.arguments, function.parsed_arguments, delta.function.arguments or ""
        )

    def _done(self, choice: ParsedChoice) -> Iterator[ChatCompletionStreamEvent]:
        """A choice ends, or its next tool call begins: the text is whole, and so are the call's arguments."""
        yield from self._content_events(choice)
        if self._call is not None:
            yield self._arguments_event(self._call, choice)
            self._call = None

    def _content_events(self, choice: ParsedChoice) -> Iterator[ChatCompletionStreamEvent]:
        content = choice.message.content
        if content and not self._content_told:
            self._content_told = True
            choice.message.parsed = self._parser.text(content)
            yield ContentDoneEvent(content, choice.message.parsed)
        if choice.logprobs is not None and not self._logprobs_told:
            self._logprobs_told = True
            yield LogprobsContentDoneEvent(choice.logprobs.content)

    def _arguments_event(self, call: int, choice: ParsedChoice) -> FunctionToolCallArgumentsDoneEvent:
        function = (choice.message.tool_calls or [])[call].function
        function.parsed_arguments = self._parser.arguments.parse(function.name, function.arguments)
        return FunctionToolCallArgumentsDoneEvent(function.name, call, function.arguments, function.parsed_arguments)
