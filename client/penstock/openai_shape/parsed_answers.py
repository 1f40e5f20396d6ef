"""From a whole answer to one with its text and its tools' arguments parsed. Pure."""

from __future__ import annotations

from typing import Any

from penstock.openai_shape.answer_types import AnswerType
from penstock.openai_shape.finish_errors import LengthFinishReasonError
from penstock.openai_shape.parsed_types import (
    ParsedChatCompletion,
    ParsedChatCompletionMessage,
    ParsedChoice,
    ParsedFunction,
    ParsedToolCall,
)
from penstock.openai_shape.shape import fields_of
from penstock.openai_shape.tool_arguments import ToolArguments
from penstock.openai_shape.tool_call_types import ToolCall
from penstock.openai_shape.types import ChatCompletion, Choice


class AnswerParser:
    """Parses what one call's answers say."""

    def __init__(self, answer_type: AnswerType, arguments: ToolArguments) -> None:
        self.answer_type = answer_type
        self.arguments = arguments

    def __bool__(self) -> bool:
        """Whether there is anything to parse."""
        return self.answer_type.parse is not None or bool(self.arguments)

    def completion(self, whole: ChatCompletion) -> ParsedChatCompletion:
        """The answer, parsed. LengthFinishReasonError if a limit cut it, else what the type's own parser raises."""
        if any(choice.finish_reason == "length" for choice in whole.choices):
            raise LengthFinishReasonError(whole)
        return ParsedChatCompletion(**{**fields_of(whole), "choices": [self._choice(each) for each in whole.choices]})

    def text(self, text: str | None) -> Any:
        """The whole text of an answer, parsed; None if it is not to be, or there is none."""
        return self.answer_type.parse(text) if text and self.answer_type.parse else None

    def _choice(self, choice: Choice) -> ParsedChoice:
        message = choice.message
        calls = [self._tool_call(call) for call in message.tool_calls or ()] or None
        parsed = {**fields_of(message), "tool_calls": calls, "parsed": self.text(message.content)}
        return ParsedChoice(**{**fields_of(choice), "message": ParsedChatCompletionMessage(**parsed)})

    def _tool_call(self, call: ToolCall) -> ParsedToolCall:
        name, arguments = call.function.name, call.function.arguments
        return ParsedToolCall(
            call.id, ParsedFunction(name, arguments, self.arguments.parse(name, arguments)), call.type
        )
