"""Between the contract's messages and vLLM's objects: pure functions, both ways."""

from collections.abc import Mapping
from typing import Any

from vllm.sampling_params import RequestOutputKind, SamplingParams
from vllm.v1.metrics.stats import RequestStateStats

from penstock.v1 import generation_pb2 as pb
from penstock_service.engine.timings import measured
from penstock_service.engine.vllm.structured_outputs import structured_outputs_params
from penstock_service.errors import InvalidRequest, Unavailable, Violation

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


def sampling_params(
    request: pb.GenerateRequest, defaults: Mapping[str, Any], streamed: bool, room: int
) -> SamplingParams:
    """vLLM's parameters for a checked request.

    `defaults` are those of the model's generation_config; `room` is how many tokens the context has left, at least 1.
    """
    sampling, stopping, response = request.sampling, request.stopping, request.response
    given = {name: getattr(sampling, name) for name in _SAMPLING_FIELDS if sampling.HasField(name)}
    if "seed" in given:
        given["seed"] = seed_for_vllm(given["seed"])
    asked = asked_tokens(request, defaults) or room
    return SamplingParams(
        **{
            **defaults,
            **given,
            **_choosing(request),
            **_showing(response),
            "max_tokens": min(asked, room),
            "min_tokens": min(stopping.min_tokens, room),
            "stop": list(stopping.stop),
            "stop_token_ids": [*dict.fromkeys((*stopping.stop_token_ids, *defaults.get("stop_token_ids", ())))],
            "include_stop_str_in_output": stopping.include_stop,
            "ignore_eos": stopping.ignore_eos,
            "output_kind": RequestOutputKind.DELTA if streamed else RequestOutputKind.FINAL_ONLY,
            "skip_clone": True,  # these are this request's own; vLLM would copy them deeply
        }
    )


def settings(request: pb.GenerateRequest, params: SamplingParams) -> pb.Settings:
    """What applies to a request: vLLM's parameters in the contract's words."""
    sampling = pb.SamplingOptions()
    sampling.CopyFrom(request.sampling)
    for name in _SAMPLING_FIELDS:
        if name != "seed" and (value := getattr(params, name)) is not None:
            setattr(sampling, name, max(value, 0) if name == "top_k" else value)
    stopping = pb.StoppingOptions()
    stopping.CopyFrom(request.stopping)
    stopping.max_tokens, stopping.min_tokens = params.max_tokens or 0, params.min_tokens
    stopping.include_stop, stopping.ignore_eos = params.include_stop_str_in_output, params.ignore_eos
    stopping.stop_token_ids[:] = params.stop_token_ids or ()
    return pb.Settings(sampling=sampling, stopping=stopping, num_sequences=request.num_sequences or 1)


def seed_for_vllm(seed: int) -> int:
    """vLLM takes -1 for "no seed"; to our callers it is a seed like any other."""
    return -(2**63) if seed == -1 else seed


def _choosing(request: pb.GenerateRequest) -> dict[str, Any]:
    """What most requests do without: SamplingParams looks at each of them."""
    sampling, chosen = request.sampling, dict[str, Any]()
    if sampling.logit_bias:
        chosen["logit_bias"] = dict(sampling.logit_bias)
    if sampling.bad_words:
        chosen["bad_words"] = list(sampling.bad_words)
    if sampling.allowed_token_ids:
        chosen["allowed_token_ids"] = list(sampling.allowed_token_ids)
    if request.bypass_prefix_cache:
        chosen["skip_reading_prefix_cache"] = True
    if request.reasoning.HasField("max_tokens"):
        chosen["thinking_token_budget"] = request.reasoning.max_tokens
    if request.HasField("structured_output"):
        chosen["structured_outputs"] = structured_outputs_params(request.structured_output)
    return chosen


def _showing(response: pb.ResponseOptions) -> dict[str, Any]:
    shown: dict[str, Any] = {"detokenize": response.text if response.HasField("text") else True}
    for name in ("logprobs", "prompt_logprobs", "skip_special_tokens", "spaces_between_special_tokens"):
        if response.HasField(name):
            shown[name] = getattr(response, name)
    return shown


def asked_tokens(request: pb.GenerateRequest, defaults: Mapping[str, Any]) -> int | None:
    """The most tokens that the caller, or the model's generation_config, asks for; None for all that fit."""
    if request.stopping.HasField("max_tokens"):
        return request.stopping.max_tokens
    default: int | None = defaults.get("max_tokens")
    return default and max(default, request.stopping.min_tokens)


def finish(
    reason: str, stop: int | str | None, asked: int | None, tokens: int, constrained: str | None = None
) -> pb.Finish:
    """Why a sequence of `tokens` ended; `constrained` is the field that constrains it, if one does.

    Raises Unavailable for an abort, which nobody asked for if we see it here.
    """
    if reason == "abort":
        raise Unavailable("ENGINE_DEAD")
    if reason == "error" and constrained is not None:
        raise InvalidRequest([Violation(constrained, "allows no next token that the sampling options allow as well")])
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
