"""The keyword arguments of the calls that generate, for type checkers and readers.

None is the same as absent. Ranges and defaults are those of `penstock/v1/generation.proto`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, TypedDict

from penstock.call_options import CallOptions
from penstock.conversations import MessageLike
from penstock.tools import ToolLike

JsonLike = str | Mapping[str, object]  # JSON as text, or a dict that is written as JSON


class PromptOptions(TypedDict, total=False):
    """How an input becomes tokens; the last three are for `messages` only."""

    truncate_prompt_tokens: int | None
    truncation_side: Literal["left", "right"] | None
    add_special_tokens: bool | None
    parse_special_tokens: bool | None
    add_generation_prompt: bool | None
    continue_final_message: bool | None
    template_arguments: Mapping[str, bool | int | float | str] | None


class BatchOptions(PromptOptions, total=False):
    """The keyword arguments of `generate_batch`, which are those of `generate` without its input.

    At most one of json_schema, json_object, regex, choice, grammar and structural_tag says what form the answer has.
    """

    model: str | None
    request_id: str | None
    idempotency_key: str | None
    priority: int | None
    on_deadline: Literal["fail", "return_partial"] | None
    num_sequences: int | None
    cache_salt: str | None
    bypass_prefix_cache: bool | None

    temperature: float | None
    top_p: float | None
    top_k: int | None
    min_p: float | None
    frequency_penalty: float | None
    presence_penalty: float | None
    repetition_penalty: float | None
    seed: int | None
    logit_bias: Mapping[int, float] | None
    bad_words: str | Sequence[str] | None
    allowed_token_ids: Iterable[int] | None

    max_tokens: int | None
    min_tokens: int | None
    stop: str | Sequence[str] | None
    stop_token_ids: Iterable[int] | None
    include_stop: bool | None
    ignore_eos: bool | None

    return_text: bool | None  # ResponseOptions.text
    return_token_ids: bool | None  # ResponseOptions.token_ids
    return_settings: bool | None  # ResponseOptions.settings
    max_delay_ms: int | None
    logprobs: int | None
    prompt_logprobs: int | None
    skip_special_tokens: bool | None
    spaces_between_special_tokens: bool | None

    json_schema: JsonLike | None
    json_object: bool | None
    regex: str | None
    choice: Sequence[str] | None
    grammar: str | None
    structural_tag: JsonLike | None

    tools: Iterable[ToolLike] | None  # {"name", "description", "parameters", "strict"}, or OpenAI's form of it
    tool_choice: str | Mapping[str, object] | None  # "auto", "none", "required", a tool's name, or OpenAI's form
    parallel_tool_calls: bool | None

    thinking: bool | None  # ReasoningOptions.enabled
    reasoning_effort: Literal["none", "low", "medium", "high"] | None
    max_reasoning_tokens: int | None
    include_reasoning: bool | None


class GenerateOptions(BatchOptions, total=False):
    """The keyword arguments of `generate` and `stream`.

    Exactly one of the prompt, `messages` and `token_ids` is needed. A message is {"role": ..., "content": text or
    parts} and, by its role, "tool_calls", "tool_call_id", "name" and "reasoning". A part is {"type": "text", "text":
    ...}, {"type": "image", "image": bytes or a URL}, the same of audio, or OpenAI's image_url or input_audio.
    """

    messages: Iterable[MessageLike] | None
    token_ids: Iterable[int] | None


class TokenizeOptions(PromptOptions, total=False):
    """The keyword arguments of `tokenize`."""

    messages: Iterable[MessageLike] | None
    tools: Iterable[ToolLike] | None
    model: str | None


class BatchCall(BatchOptions, CallOptions, total=False):
    """Those of `generate_batch`, and of every call."""


class GenerateCall(GenerateOptions, CallOptions, total=False):
    """Those of `generate` and `stream`, and of every call."""


class TokenizeCall(TokenizeOptions, CallOptions, total=False):
    """Those of `tokenize`, and of every call."""
