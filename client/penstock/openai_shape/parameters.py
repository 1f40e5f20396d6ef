"""OpenAI's request parameters: which the contract has, which say nothing to it, which it must refuse. Pure.

Nothing that would change the answer is dropped in silence: a parameter that the contract does not have is refused by
name unless its value asks for what happens anyway (n=1, logprobs=False, tools=[]).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from penstock import arguments
from penstock.arguments import ArgumentTypeError, ArgumentValueError
from penstock.errors import BadRequestError
from penstock.requests import generate_request
from penstock.v1.generation_pb2 import GenerateRequest

# OpenAI's default for completions; for chat it is what the context leaves.
COMPLETION_MAX_TOKENS = 16
# The asyncio client has a call open for each; one connection carries 1024 of them, and they are not the only ones.
MOST_PROMPTS = 128

# OpenAI's name (or vLLM's, below) -> the name in penstock.requests.
_MAPPED = {
    "model": "model",
    "temperature": "temperature",
    "top_p": "top_p",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "seed": "seed",
    "stop": "stop",
    "max_tokens": "max_tokens",
}

# vLLM's extras, which travel in `extra_body` or, over HTTP, beside the others.
_MAPPED_EXTRAS = {
    "top_k": "top_k",
    "min_p": "min_p",
    "repetition_penalty": "repetition_penalty",
    "min_tokens": "min_tokens",
    "stop_token_ids": "stop_token_ids",
    "ignore_eos": "ignore_eos",
    "include_stop_str_in_output": "include_stop",
    "request_id": "request_id",
}

# They are about billing, storage, routing or speed, or only hint at a style.
_IGNORED = frozenset(
    {
        "metadata", "moderation", "parallel_tool_calls", "prediction", "prompt_cache_key", "prompt_cache_options",
        "prompt_cache_retention", "reasoning_effort", "safety_identifier", "service_tier", "store", "user", "verbosity",
    }
)  # fmt: skip


def _only(*neutral: object) -> Callable[[object], bool]:
    return lambda value: any(value == wanted and type(value) is type(wanted) for wanted in neutral)


def _plain_text(value: object) -> bool:
    return isinstance(value, Mapping) and value.get("type") == "text"


_Neutral = Mapping[str, Callable[[object], bool]]

# The parameters that the contract does not have -> whether a value asks for what happens anyway.
_CHAT_REFUSED: _Neutral = {
    "audio": _only(),
    "function_call": _only("none", "auto"),
    "functions": _only([]),
    "logit_bias": _only({}),
    "logprobs": _only(False),
    "modalities": _only(["text"]),
    "n": _only(1),
    "response_format": _plain_text,
    "tool_choice": _only("none", "auto"),
    "tools": _only([]),
    "top_logprobs": _only(0),
    "web_search_options": _only(),
}
_COMPLETION_REFUSED: _Neutral = {
    "best_of": _only(1),
    "echo": _only(False),
    "logit_bias": _only({}),
    "logprobs": _only(False),
    "n": _only(1),
    "suffix": _only(""),
}
_EXTRAS_REFUSED: _Neutral = {
    "add_generation_prompt": _only(True),
    "allowed_token_ids": _only([]),
    "bad_words": _only([]),
    "chat_template": _only(),
    "chat_template_kwargs": _only({}),
    "continue_final_message": _only(False),
    "documents": _only([]),
    "echo": _only(False),
    "guided_choice": _only([]),
    "guided_grammar": _only(),
    "guided_json": _only(),
    "guided_regex": _only(),
    "logits_processors": _only([]),
    "prompt_embeds": _only(),
    "prompt_logprobs": _only(),
    "structured_outputs": _only(),
    "truncate_prompt_tokens": _only(),
    "use_beam_search": _only(False),
}

_STREAMING = frozenset({"stream", "stream_options"})

CHAT_PARAMETERS = frozenset({*_MAPPED, *_CHAT_REFUSED, *_IGNORED, *_STREAMING, "max_completion_tokens", "messages"})
COMPLETION_PARAMETERS = frozenset({*_MAPPED, *_COMPLETION_REFUSED, *_STREAMING, "prompt", "user"})
EXTRA_PARAMETERS = frozenset({*_MAPPED_EXTRAS, *_EXTRAS_REFUSED})


@dataclass(frozen=True, slots=True)
class OpenAICall:
    """What an OpenAI call asks for: a request for each prompt (one for chat), and how the answer comes."""

    requests: list[GenerateRequest]
    stream: bool
    include_usage: bool


def chat_call(parameters: Mapping[str, Any]) -> OpenAICall:
    """Read chat.completions' parameters, extras among them. Raises BadRequestError with `param`."""
    given = _given(parameters)
    _refuse(given, {**_CHAT_REFUSED, **_EXTRAS_REFUSED})
    options = _options(given)
    if "max_completion_tokens" in given:
        options["max_tokens"] = given["max_completion_tokens"]
    options["messages"] = _messages(given.get("messages"))
    return OpenAICall([_request(options)], *_streaming(given))


def completion_call(parameters: Mapping[str, Any]) -> OpenAICall:
    """Read completions' parameters, extras among them. Raises BadRequestError with `param`."""
    given = _given(parameters)
    _refuse(given, {**_COMPLETION_REFUSED, **_EXTRAS_REFUSED})
    options = {"max_tokens": COMPLETION_MAX_TOKENS, **_options(given)}
    inputs = _prompts(given.get("prompt"))
    return OpenAICall([_request({**options, **each}) for each in inputs], *_streaming(given))


def _given(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if value is not None}


def _refuse(given: Mapping[str, Any], refused: _Neutral) -> None:
    for name in given.keys() & refused.keys():
        if not refused[name](given[name]):
            raise BadRequestError(f"{name} is not supported with this value", param=name)


def _options(given: Mapping[str, Any]) -> dict[str, Any]:
    names = {**_MAPPED, **_MAPPED_EXTRAS}
    return {names[name]: value for name, value in given.items() if name in names}


def _request(options: Mapping[str, Any]) -> GenerateRequest:
    try:
        return generate_request(**options)
    except (ArgumentTypeError, ArgumentValueError) as error:
        param = "prompt" if error.argument.startswith("token_ids") else error.argument
        raise BadRequestError(str(error), param=param) from error


def _messages(value: object) -> list[object]:
    if value is None:
        raise BadRequestError("messages is required", param="messages")
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise BadRequestError(f"messages must be a list, not {type(value).__name__}", param="messages")
    return [_message(f"messages[{i}]", message) for i, message in enumerate(value)]


def _message(place: str, message: object) -> object:
    """OpenAI allows a message without content. Calls of tools in it mean something that the contract does not have."""
    if not isinstance(message, Mapping):
        return message
    for name in ("tool_calls", "function_call", "audio"):
        if message.get(name):
            raise BadRequestError(f"{place}.{name} is not supported", param=f"{place}.{name}")
    return {**message, "content": ""} if message.get("content") is None else message


def _prompts(value: object) -> list[dict[str, object]]:
    """One input for each prompt of str | list[str] | list[int] | list[list[int]]."""
    if value is None:
        raise BadRequestError("prompt is required", param="prompt")
    if isinstance(value, str):
        return [{"prompt": value}]
    if isinstance(value, (bytes, Mapping)) or not isinstance(value, Iterable):
        raise BadRequestError("prompt must be a str, a list of str, or token ids", param="prompt")
    prompts = list(value)
    if not prompts:
        raise BadRequestError("prompt must not be an empty list", param="prompt")
    if any(isinstance(item, (str, list, tuple)) for item in prompts):
        if len(prompts) > MOST_PROMPTS:
            raise BadRequestError(f"prompt must be at most {MOST_PROMPTS} prompts, got {len(prompts)}", param="prompt")
        return [{"prompt": item} if isinstance(item, str) else {"token_ids": item} for item in prompts]
    return [{"token_ids": prompts}]


def _streaming(given: Mapping[str, Any]) -> tuple[bool, bool]:
    options = given.get("stream_options", {})
    if not isinstance(options, Mapping):
        raise BadRequestError(f"stream_options must be an object, not {type(options).__name__}", param="stream_options")
    include_usage = options.get("include_usage")
    try:
        return (
            arguments.flag("stream", given.get("stream", False)),
            arguments.flag("stream_options.include_usage", False if include_usage is None else include_usage),
        )
    except ArgumentTypeError as error:
        raise BadRequestError(str(error), param=error.argument) from error
