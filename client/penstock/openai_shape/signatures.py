"""The keyword arguments of OpenAI's `create` functions, for type checkers. None is the same as absent.

What each does here is said in `penstock.openai_shape.parameters` and `penstock.openai_shape.unsupported`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypedDict

from penstock.call_options import CacheUse, TimeoutLike
from penstock.retry import Retry
from penstock.timeouts import HasTimeRemaining

Messages = Iterable[Mapping[str, Any]]
Prompt = str | Sequence[str] | Sequence[int] | Sequence[Sequence[int]]


class CallParameters(TypedDict, total=False):
    """What every `create` takes.

    timeout: seconds until the call's deadline, over all prompts; or a Timeout; None for no limits.
    tier, deadline, retry, resume, cache: as for every call of the client (penstock.call_options).
    max_retries: how often a failed call is tried again, 0 for never.
    extra_headers: sent as gRPC metadata, names in small letters.
    extra_query: ignored.
    extra_body: vLLM's further parameters: top_k, min_p, structured_outputs, chat_template_kwargs, cache_salt and so on.
    """

    timeout: TimeoutLike
    tier: str | None
    deadline: HasTimeRemaining | float | None
    retry: Retry | None
    max_retries: int | None
    resume: bool | None
    cache: CacheUse | None
    extra_headers: Mapping[str, str] | None
    extra_query: Mapping[str, Any] | None
    extra_body: Mapping[str, Any] | None

    model: str | None
    user: str | None


class CommonParameters(CallParameters, total=False):
    """What both functions that generate take."""

    frequency_penalty: float | None
    idempotency_key: str | None
    logit_bias: Mapping[str, float] | Mapping[int, float] | None
    max_tokens: int | None
    n: int | None
    presence_penalty: float | None
    seed: int | None
    stop: str | Sequence[str] | None
    stream_options: Mapping[str, Any] | None
    temperature: float | None
    top_p: float | None


class _AnyChatParameters(CommonParameters, total=False):
    audio: Mapping[str, Any] | None
    function_call: str | Mapping[str, Any] | None
    functions: Iterable[Mapping[str, Any]] | None
    logprobs: bool | None
    max_completion_tokens: int | None
    metadata: Mapping[str, str] | None
    modalities: Sequence[str] | None
    moderation: Any
    parallel_tool_calls: bool | None
    prediction: Mapping[str, Any] | None
    prompt_cache_key: str | None
    prompt_cache_options: Mapping[str, Any] | None
    prompt_cache_retention: str | None
    reasoning_effort: str | None
    safety_identifier: str | None
    service_tier: str | None
    store: bool | None
    tool_choice: str | Mapping[str, Any] | None
    tools: Iterable[Mapping[str, Any]] | None
    top_logprobs: int | None
    verbosity: str | None
    web_search_options: Mapping[str, Any] | None


class ChatParameters(_AnyChatParameters, total=False):
    """What chat.completions.create takes beside `messages` and `stream`."""

    response_format: Mapping[str, Any] | None


class ParsedChatParameters(_AnyChatParameters, total=False):
    """What chat.completions.parse and .stream take beside `messages`.

    response_format: what the answer is parsed into: a pydantic model, a dataclass (needs pydantic), or OpenAI's dict,
        whose JSON is parsed as it is.
    """

    response_format: type | Mapping[str, Any] | None


class CompletionParameters(CommonParameters, total=False):
    """What completions.create takes beside `prompt` and `stream`."""

    best_of: int | None
    echo: bool | None
    logprobs: int | None
    suffix: str | None


class EmbeddingParameters(CallParameters, total=False):
    """What embeddings.create takes beside `input`. `encoding_format` is "float" unless given."""

    dimensions: int | None
    encoding_format: Literal["float", "base64"] | None
