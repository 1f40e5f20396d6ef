"""Between the contract's messages and vLLM's objects: pure functions, both ways."""

from collections.abc import Mapping
from typing import Any

from vllm.sampling_params import RequestOutputKind, SamplingParams
from vllm.v1.metrics.stats import RequestStateStats

from penstock.v1 import generation_pb2 as pb
from penstock_service.engine.timings import measured
from penstock_service.errors import Unavailable

_SAMPLING_FIELDS = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "frequency_penalty",
    "presence_penalty",
    "repetition_penalty",
    "seed",
)
# vLLM takes -1 for "no seed"; to our callers it is a seed like any other.
_SEED_FOR_MINUS_ONE = -(2**63)
_ROLES = {
    pb.ROLE_SYSTEM: "system",
    pb.ROLE_DEVELOPER: "developer",
    pb.ROLE_USER: "user",
    pb.ROLE_ASSISTANT: "assistant",
}


def sampling_params(
    request: pb.GenerateRequest, defaults: Mapping[str, Any], streamed: bool, room: int
) -> SamplingParams:
    """vLLM's parameters for a checked request.

    `defaults` are those of the model's generation_config; `room` is how many tokens the context has left, at least 1.
    """
    sampling, stopping = request.sampling, request.stopping
    given = {name: getattr(sampling, name) for name in _SAMPLING_FIELDS if sampling.HasField(name)}
    if given.get("seed") == -1:
        given["seed"] = _SEED_FOR_MINUS_ONE
    asked = asked_tokens(request, defaults) or room
    return SamplingParams(
        **{
            **defaults,
            **given,
            "max_tokens": min(asked, room),
            "min_tokens": min(stopping.min_tokens, room),
            "stop": list(stopping.stop),
            "stop_token_ids": list(stopping.stop_token_ids),
            "include_stop_str_in_output": stopping.include_stop,
            "ignore_eos": stopping.ignore_eos,
            "detokenize": request.response.text if request.response.HasField("text") else True,
            "output_kind": RequestOutputKind.DELTA if streamed else RequestOutputKind.FINAL_ONLY,
            "skip_clone": True,  # these are this request's own; vLLM would copy them deeply
        }
    )


def asked_tokens(request: pb.GenerateRequest, defaults: Mapping[str, Any]) -> int | None:
    """The most tokens that the caller, or the model's generation_config, asks for; None for all that fit."""
    if request.stopping.HasField("max_tokens"):
        return request.stopping.max_tokens
    default: int | None = defaults.get("max_tokens")
    return default and max(default, request.stopping.min_tokens)


def chat_messages(conversation: pb.Conversation) -> list[Any]:
    """The conversation as chat templates know it."""
    return [{"role": _ROLES[message.role], "content": _content(message)} for message in conversation.messages]


def finish(reason: str, stop: int | str | None, asked: int | None, tokens: int) -> pb.Finish:
    """Why a sequence of `tokens` ended. Raises Unavailable for an abort, which nobody asked for if we see it here."""
    if reason == "abort":
        raise Unavailable("ENGINE_DEAD")
    if reason == "error":
        raise RuntimeError("vLLM ended a request with an error")
    if reason == "length":
        full = asked is None or tokens < asked
        return pb.Finish(reason=pb.FINISH_REASON_CONTEXT_LENGTH if full else pb.FINISH_REASON_LENGTH)
    match stop:
        case int(token):
            return pb.Finish(reason=pb.FINISH_REASON_STOP, stop_token_id=token)
        case str(text):
            return pb.Finish(reason=pb.FINISH_REASON_STOP, stop_text=text)
    return pb.Finish(reason=pb.FINISH_REASON_STOP)


def usage(prompt_tokens: int, tokens: int, cached: int | None) -> pb.Usage:
    """What was counted for a request."""
    return pb.Usage(prompt_tokens=prompt_tokens, completion_tokens=tokens, cached_prompt_tokens=cached)


def timings(
    stats: RequestStateStats | None, received: float, first_seen: float | None, last_seen: float | None, tokens: int
) -> pb.Timings:
    """What was measured for a request.

    vLLM's own moments are exact and on the same clock: the engine process stamps tokens with time.monotonic(), which
    all processes of a Linux machine share. Without them (--disable-log-stats) the moments when we saw tokens serve.
    """
    if stats is None or not stats.first_token_ts:
        return measured(received, first_seen, last_seen, tokens, queue_seconds=None)
    queued = stats.scheduled_ts - stats.queued_ts
    return measured(received, stats.first_token_ts, stats.last_token_ts, tokens, max(queued, 0.0))


def _content(message: pb.Message) -> str | list[dict[str, str]]:
    if len(message.content) == 1:
        return message.content[0].text
    return [{"type": "text", "text": part.text} for part in message.content]
