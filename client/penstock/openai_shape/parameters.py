"""From OpenAI's request parameters, and vLLM's beside them, to requests of the contract. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from penstock import arguments
from penstock.arguments import ArgumentTypeError, ArgumentValueError
from penstock.openai_shape.answer_forms import FORM_PARAMETERS, take_form
from penstock.openai_shape.chat_messages import chat_messages
from penstock.openai_shape.options import Options, bad_request
from penstock.openai_shape.unsupported import (
    CHAT_EXTRAS_REFUSED,
    CHAT_REFUSED,
    COMPLETION_EXTRAS_REFUSED,
    COMPLETION_REFUSED,
    IGNORED,
    refuse,
)
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

# Ours.
_MAPPED_OWN = {"idempotency_key": "idempotency_key"}

# vLLM's extras, which travel in `extra_body` or, over HTTP, beside the others.
_MAPPED_EXTRAS = {
    "allowed_token_ids": "allowed_token_ids",
    "bad_words": "bad_words",
    "cache_salt": "cache_salt",
    "ignore_eos": "ignore_eos",
    "include_reasoning": "include_reasoning",
    "include_stop_str_in_output": "include_stop",
    "min_p": "min_p",
    "min_tokens": "min_tokens",
    "priority": "priority",
    "repetition_penalty": "repetition_penalty",
    "request_id": "request_id",
    "skip_special_tokens": "skip_special_tokens",
    "spaces_between_special_tokens": "spaces_between_special_tokens",
    "stop_token_ids": "stop_token_ids",
    "thinking_token_budget": "max_reasoning_tokens",
    "top_k": "top_k",
    "truncate_prompt_tokens": "truncate_prompt_tokens",
    "truncation_side": "truncation_side",
}
_MAPPED_CHAT_EXTRAS = {
    "add_generation_prompt": "add_generation_prompt",
    "continue_final_message": "continue_final_message",
}
_MAPPED_COMPLETION_EXTRAS = {"add_special_tokens": "add_special_tokens"}

# OpenAI's words that the contract does not have -> the nearest that it has.
_EFFORTS = {"minimal": "low", "xhigh": "high", "max": "high"}

_SPECIAL = {"logit_bias", "logprobs", "n", "stream", "stream_options"}
_SPECIAL_OF_CHAT = {
    *("max_completion_tokens", "messages", "parallel_tool_calls", "reasoning_effort", "response_format"),
    *("tool_choice", "tools", "top_logprobs"),
}

CHAT_PARAMETERS = frozenset({*_MAPPED, *_MAPPED_OWN, *_SPECIAL, *_SPECIAL_OF_CHAT, *CHAT_REFUSED, *IGNORED})
COMPLETION_PARAMETERS = frozenset({*_MAPPED, *_MAPPED_OWN, *_SPECIAL, *COMPLETION_REFUSED, "prompt", "user"})
EXTRA_PARAMETERS = frozenset(
    {
        *_MAPPED_EXTRAS, *_MAPPED_CHAT_EXTRAS, *_MAPPED_COMPLETION_EXTRAS, *FORM_PARAMETERS, "response_format",
        *CHAT_EXTRAS_REFUSED, *COMPLETION_EXTRAS_REFUSED,
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class OpenAICall:
    """What an OpenAI call asks for: a request for each prompt (one for chat), and how the answer comes."""

    requests: list[GenerateRequest]
    stream: bool
    include_usage: bool


def chat_call(parameters: Mapping[str, Any]) -> OpenAICall:
    """Read chat.completions' parameters, extras among them. Raises BadRequestError with `param`."""
    given = _given(parameters)
    refuse(given, CHAT_REFUSED, CHAT_EXTRAS_REFUSED)
    options = Options()
    options.set("messages", chat_messages(given.get("messages")), "messages")
    try:
        options.take(given, {**_MAPPED, **_MAPPED_OWN, **_MAPPED_EXTRAS, **_MAPPED_CHAT_EXTRAS})
        options.take(given, {"max_completion_tokens": "max_tokens"})
        _take_common(given, options)
        _take_chat_logprobs(given, options)
        _take_tools(given, options)
        _take_reasoning(given, options)
        return OpenAICall([options.request(generate_request)], *_streaming(given))
    except (ArgumentTypeError, ArgumentValueError) as error:
        raise bad_request(error, {}) from error


def completion_call(parameters: Mapping[str, Any]) -> OpenAICall:
    """Read completions' parameters, extras among them. Raises BadRequestError with `param`."""
    given = _given(parameters)
    refuse(given, COMPLETION_REFUSED, COMPLETION_EXTRAS_REFUSED)
    options = Options()
    options.set("max_tokens", COMPLETION_MAX_TOKENS, "max_tokens")
    try:
        options.take(given, {**_MAPPED, **_MAPPED_OWN, **_MAPPED_EXTRAS, **_MAPPED_COMPLETION_EXTRAS})
        _take_common(given, options)
        if given.get("logprobs") is not False:
            options.take(given, {"logprobs": "logprobs"})
        return OpenAICall(_completion_requests(given, options), *_streaming(given))
    except (ArgumentTypeError, ArgumentValueError) as error:
        raise bad_request(error, {}) from error


def _given(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if value is not None}


def _take_common(given: Mapping[str, Any], options: Options) -> None:
    take_form(given, options)
    if "n" in given and arguments.integer("n", given["n"]) != 1:
        options.set("num_sequences", given["n"], "n")
    if "logit_bias" in given:
        biases = arguments.mapping("logit_bias", given["logit_bias"], "an object from token ids to numbers")
        if biases:
            options.set("logit_bias", {_token_id(key): bias for key, bias in biases.items()}, "logit_bias")


def _token_id(key: object) -> object:
    """JSON has texts for keys."""
    return int(key) if isinstance(key, str) and key.isdecimal() and len(key) < 20 else key


def _take_chat_logprobs(given: Mapping[str, Any], options: Options) -> None:
    candidates = arguments.integer("top_logprobs", given.get("top_logprobs", 0))
    if arguments.flag("logprobs", given.get("logprobs", False)):
        options.set("logprobs", candidates, "top_logprobs")
    elif candidates:
        raise ArgumentValueError("top_logprobs", "needs logprobs to be true")


def _take_tools(given: Mapping[str, Any], options: Options) -> None:
    """Without tools, a choice that makes the model call none says nothing."""
    if given.get("tools", []) != []:
        options.take(given, {name: name for name in ("tools", "tool_choice", "parallel_tool_calls")})
    elif given.get("tool_choice") not in ("none", "auto"):
        options.take(given, {"tool_choice": "tool_choice"})


def _take_reasoning(given: Mapping[str, Any], options: Options) -> None:
    if "chat_template_kwargs" in given:
        place = "chat_template_kwargs"
        variables = dict(arguments.mapping(place, given[place], "an object"))
        if variables.get("enable_thinking") is not None:
            options.set("thinking", variables.pop("enable_thinking"), f"{place}.enable_thinking")
        if variables:
            options.set("template_arguments", variables, place)
    if "reasoning_effort" in given:
        effort = arguments.text("reasoning_effort", given["reasoning_effort"])
        options.set("reasoning_effort", _EFFORTS.get(effort, effort), "reasoning_effort")


def _completion_requests(given: Mapping[str, Any], options: Options) -> list[GenerateRequest]:
    requests = []
    for i, (keyword, value) in enumerate(prompts("prompt", given.get("prompt"), MOST_PROMPTS)):
        one = options.copy()
        one.set(keyword, value, "prompt")
        if i and "idempotency_key" in given:  # each generation has its own
            one.set("idempotency_key", f"{given['idempotency_key']}-{i}", "idempotency_key")
        requests.append(one.request(generate_request))
    return requests


def prompts(name: str, value: object, most: int) -> list[tuple[str, object]]:
    """A keyword ("prompt" or "token_ids") and its value for each of str | list[str] | list[int] | list[list[int]]."""
    if value is None:
        raise ArgumentValueError(name, "is required")
    if isinstance(value, str):
        return [("prompt", value)]
    if isinstance(value, (bytes, Mapping)) or not isinstance(value, Iterable):
        raise ArgumentTypeError(name, "a str, a list of str, or token ids", value)
    several = list(value)
    if not several:
        raise ArgumentValueError(name, "must not be an empty list")
    if not any(isinstance(item, (str, list, tuple)) for item in several):
        return [("token_ids", several)]
    if len(several) > most:
        raise ArgumentValueError(name, f"must be at most {most} {name}s, got {len(several)}")
    return [("prompt" if isinstance(item, str) else "token_ids", item) for item in several]


def _streaming(given: Mapping[str, Any]) -> tuple[bool, bool]:
    options = arguments.mapping("stream_options", given.get("stream_options", {}), "an object")
    include_usage = options.get("include_usage")
    return (
        arguments.flag("stream", given.get("stream", False)),
        arguments.flag("stream_options.include_usage", False if include_usage is None else include_usage),
    )
