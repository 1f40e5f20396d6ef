"""Tells thoughts, text and calls of tools apart in what a model generates: vLLM's own parsers, by their names.

The parsers read vLLM's OpenAI request beside the text; it is made here and goes no further.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.parser.parser_manager import ParserManager
from vllm.renderers.chat_utils import make_tool_call_id
from vllm.v1.engine.async_llm import AsyncLLM

from penstock.v1 import generation_pb2 as pb
from penstock_service.configuration import ConfigurationError
from penstock_service.engine.vllm.conversations import template_arguments, template_tools
from penstock_service.engine.vllm.requests import Prepared

_MODES: dict[int, str] = {
    pb.TOOL_CHOICE_MODE_UNSPECIFIED: "auto",
    pb.TOOL_CHOICE_MODE_AUTO: "auto",
    pb.TOOL_CHOICE_MODE_NONE: "none",
    pb.TOOL_CHOICE_MODE_REQUIRED: "required",
}


class AnswerParsers:
    """The parsers of one served model. Raises ConfigurationError for names that vLLM does not know."""

    def __init__(self, llm: AsyncLLM, tool_parser: str, reasoning_parser: str) -> None:
        self.reasoning_parser = reasoning_parser
        self._model_config = llm.model_config
        self._tokenizer = llm.renderer.get_tokenizer()
        try:
            self._parser = ParserManager.get_parser(
                tool_parser_name=tool_parser or None,
                reasoning_parser_name=reasoning_parser or None,
                enable_auto_tools=bool(tool_parser),
                model_name=llm.model_config.model,
            )
        except (KeyError, TypeError, ValueError, ImportError) as error:
            raise ConfigurationError(f"vLLM has no such parser: {error}") from error

    def of(self, request: pb.GenerateRequest) -> "ParsedRequest | None":
        """How to parse the answers to a request; None for one whose answers are text alone."""
        if self._parser is None or request.WhichOneof("input") != "conversation":
            return None
        if not request.tools and not self.reasoning_parser:
            return None
        return ParsedRequest(self._parser, self._tokenizer, self._model_config, request, bool(self.reasoning_parser))


class ParsedRequest:
    """A request whose answers are parsed. `adjusted` is what the parsers made of vLLM's form of it."""

    def __init__(
        self, parser: Any, tokenizer: Any, model_config: Any, request: pb.GenerateRequest, thinks: bool
    ) -> None:
        self._arguments = template_arguments(request)
        self.adjusted: Any = _openai_request(request, self._arguments)
        self.thinks = thinks
        self.includes_reasoning = request.reasoning.include if request.reasoning.HasField("include") else True
        self.parallel = request.tool_choice.parallel if request.tool_choice.HasField("parallel") else True
        self.named = request.tool_choice.WhichOneof("choice") == "name"
        arguments = {"chat_template_kwargs": self._arguments, "model_config": model_config}
        self._make: Callable[[], Any] = partial(parser, tokenizer, self.adjusted.tools, **arguments)
        self._first = self._make()
        self.adjusted = self._first.adjust_request(request=self.adjusted)

    def needed(self, prompt_token_ids: Sequence[int]) -> bool:
        """Whether answers to this prompt can be anything but text."""
        return bool(self.adjusted.tools) or not self._first.is_reasoning_end(list(prompt_token_ids))

    def adjust(self, prepared: Prepared) -> Prepared:
        """What the parsers need: special tokens in the text, and constraints for tools that must be called."""
        params, adjusted = prepared.params, self.adjusted
        params.skip_special_tokens = adjusted.skip_special_tokens
        if params.structured_outputs is None:
            params.structured_outputs = adjusted.extract_structured_outputs()
        if prepared.constrained is None and params.structured_outputs is not None:
            prepared = prepared._replace(constrained="tools")
        arguments = self._engine_arguments(prepared.prompt["prompt_token_ids"])
        return prepared._replace(engine_arguments={**prepared.engine_arguments, **arguments})

    def _engine_arguments(self, prompt_token_ids: Sequence[int]) -> dict[str, Any]:
        # The engine holds back constraints until the thinking is over.
        if self._first.reasoning_parser is None:
            return {}
        return {
            "reasoning_ended": self._first.is_reasoning_end(list(prompt_token_ids)),
            "reasoning_parser_kwargs": {"chat_template_kwargs": self._arguments},
        }

    def parser(self, prompt_token_ids: Sequence[int]) -> "AnswerParser":
        """A parser for one sequence; it remembers what it has seen."""
        return AnswerParser(self, self._make(), list(prompt_token_ids))


class AnswerParser:
    """Parses one sequence."""

    def __init__(self, request: ParsedRequest, parser: Any, prompt_token_ids: list[int]) -> None:
        self._request = request
        self._parser = parser
        self._prompt_token_ids = prompt_token_ids
        self.called_tools = False

    def delta(self, text: str, token_ids: Sequence[int], finished: bool) -> pb.SequenceDelta:
        """What new text and tokens mean."""
        found = self._parser.parse_delta(
            delta_text=text,
            delta_token_ids=list(token_ids),
            request=self._request.adjusted,
            prompt_token_ids=self._prompt_token_ids,
            finished=finished,
        )
        if found is None:
            return pb.SequenceDelta()
        calls = [
            pb.ToolCallDelta(
                index=call.index,
                id=call.id or "",
                name=(call.function and call.function.name) or "",
                arguments=(call.function and call.function.arguments) or "",
            )
            for call in found.tool_calls
        ]
        return self._delta(found.reasoning, found.content, calls)

    def whole(self, text: str, token_ids: Sequence[int]) -> pb.SequenceDelta:
        """What all text and tokens of a sequence mean."""
        self._parser.set_prompt_token_ids(self._prompt_token_ids)
        reasoning, content, calls = self._parser.parse(
            text, self._request.adjusted, enable_auto_tools=True, model_output_token_ids=list(token_ids)
        )
        deltas = [
            pb.ToolCallDelta(index=index, id=call.id or make_tool_call_id(), name=call.name, arguments=call.arguments)
            for index, call in enumerate(calls or ())
        ]
        return self._delta(reasoning, content, deltas)

    def finish(self, finish: pb.Finish) -> pb.Finish:
        """Why the sequence ended, if it called tools: as OpenAI has it, a call of a named tool is an ordinary stop."""
        if self.called_tools and not self._request.named and finish.reason == pb.FINISH_REASON_STOP:
            return pb.Finish(reason=pb.FINISH_REASON_TOOL_CALLS)
        return finish

    def reasoning_tokens(self, token_ids: Sequence[int]) -> int | None:
        """How many of all tokens of the sequence were thoughts; None without a reasoning parser."""
        if not self._request.thinks:
            return None
        # Templates can open the thought in the prompt, where vLLM's count of the output alone does not see it.
        before, count = self._prompt_token_ids, self._parser.count_reasoning_tokens
        return int(count((*before, *token_ids)) - count(tuple(before)))

    def _delta(self, reasoning: str | None, text: str | None, calls: list[pb.ToolCallDelta]) -> pb.SequenceDelta:
        if not self._request.parallel:
            calls = [call for call in calls if call.index == 0]
        self.called_tools = self.called_tools or bool(calls)
        shown = (reasoning or "") if self._request.includes_reasoning else ""
        return pb.SequenceDelta(reasoning=shown, text=text or "", tool_calls=calls)


def _with_strictness(tools: list[dict[str, Any]], request: pb.GenerateRequest) -> list[dict[str, Any]]:
    """Who must call a tool gets arguments that follow its schema; vLLM would take any JSON."""
    must_call = request.tool_choice.name or request.tool_choice.mode == pb.TOOL_CHOICE_MODE_REQUIRED
    for described, tool in zip(tools, request.tools, strict=True):
        if tool.HasField("strict"):
            described["function"]["strict"] = tool.strict
        elif must_call:
            described["function"]["strict"] = True
    return tools


def _openai_request(request: pb.GenerateRequest, arguments: dict[str, Any]) -> ChatCompletionRequest:
    tools = template_tools(request)
    variables = {name: value for name, value in arguments.items() if name != "tools"}
    fields: dict[str, Any] = {"messages": [], "chat_template_kwargs": variables}
    if tools:
        choice = request.tool_choice
        named = choice.WhichOneof("choice") == "name"
        fields["parallel_tool_calls"] = choice.parallel if choice.HasField("parallel") else True
        fields["tools"] = _with_strictness(tools, request)
        fields["tool_choice"] = (
            {"type": "function", "function": {"name": choice.name}} if named else _MODES[choice.mode]
        )
    if request.response.HasField("skip_special_tokens"):
        fields["skip_special_tokens"] = request.response.skip_special_tokens
    return ChatCompletionRequest(**fields)
