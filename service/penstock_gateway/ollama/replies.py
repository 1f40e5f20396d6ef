"""From OpenAI's answers to the objects that Ollama answers with. Pure, but for the clocks.

Times are in nanoseconds, and by the gateway's clock.
"""

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from penstock.errors import InternalServerError
from penstock.openai_shape.embedding_types import CreateEmbeddingResponse
from penstock.openai_shape.errors import error_response
from penstock.openai_shape.tool_call_types import ToolCall
from penstock.openai_shape.types import ChatCompletion, ChatCompletionChunk, CompletionUsage

Clock = Callable[[], int]


class ChatReply:
    """One answer, whole or as the lines of a stream, and how long its parts took."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._started = clock()
        self._first: int | None = None
        self._calls: dict[int, list[str]] = {}  # by index: name, then pieces of the arguments

    def whole(self, answer: ChatCompletion) -> dict[str, Any]:
        """The one object of an answer that is not streamed."""
        choice = answer.choices[0]
        message = _message(choice.message.content or "", choice.message.reasoning)
        if choice.message.tool_calls:
            message["tool_calls"] = [_call(call) for call in choice.message.tool_calls]
        return self._ending(answer.model, message, choice.finish_reason, answer.usage)

    def lines(self, chunk: ChatCompletionChunk) -> list[dict[str, Any]]:
        """The objects for the next chunk of a stream: readers take text from lines before the last one only."""
        self._first = self._first or self._clock()
        if not chunk.choices:
            return []
        choice = chunk.choices[0]
        lines = []
        for call in choice.delta.tool_calls or []:
            name = call.function.name
            self._calls.setdefault(call.index, [name or ""]).append(call.function.arguments or "")
        if choice.delta.content or choice.delta.reasoning:
            lines.append(self._line(chunk.model, _message(choice.delta.content or "", choice.delta.reasoning)))
        if choice.finish_reason is not None:
            if self._calls:
                lines.append(self._line(chunk.model, {**_message("", None), "tool_calls": self._whole_calls()}))
            lines.append(self._ending(chunk.model, _message("", None), choice.finish_reason, chunk.usage))
        return lines

    def _whole_calls(self) -> list[dict[str, Any]]:
        return [_function(name, "".join(pieces)) for _, (name, *pieces) in sorted(self._calls.items())]

    def _line(self, model: str, message: dict[str, Any]) -> dict[str, Any]:
        return {"model": model, "created_at": _now(), "message": message, "done": False}

    def _ending(
        self, model: str, message: dict[str, Any], reason: str, usage: CompletionUsage | None
    ) -> dict[str, Any]:
        now = self._clock()
        first = self._first or now
        return {
            **self._line(model, message),
            "done": True,
            "done_reason": "length" if reason == "length" else "stop",
            "total_duration": now - self._started,
            "load_duration": 0,
            "prompt_eval_count": usage.prompt_tokens if usage else 0,
            "prompt_eval_duration": first - self._started,
            "eval_count": usage.completion_tokens if usage else 0,
            "eval_duration": now - first,
        }


def embed_reply(answer: CreateEmbeddingResponse, nanoseconds: int) -> dict[str, Any]:
    """The one object of /api/embed."""
    return {
        "model": answer.model,
        "embeddings": [each.embedding for each in answer.data],
        "total_duration": nanoseconds,
        "load_duration": 0,
        "prompt_eval_count": answer.usage.prompt_tokens,
    }


def ollama_error(error: Exception) -> dict[str, Any]:
    """The object of an error."""
    return {"error": error_response(error).body["message"]}


def _message(content: str, thinking: str | None) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": content}
    return {**message, "thinking": thinking} if thinking else message


def _call(call: ToolCall) -> dict[str, Any]:
    return _function(call.function.name, call.function.arguments)


def _function(name: str, arguments: str) -> dict[str, Any]:
    """Ollama has the arguments as an object."""
    try:
        parsed = json.loads(arguments)
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict):
        raise InternalServerError(f"the model called {name} with arguments that are no JSON object")
    return {"function": {"name": name, "arguments": parsed}}


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def ndjson(objects: Iterable[dict[str, Any]]) -> bytes:
    """One object a line; no blank lines, which some readers cannot take."""
    return b"".join(json.dumps(each, ensure_ascii=True, separators=(",", ":")).encode() + b"\n" for each in objects)
